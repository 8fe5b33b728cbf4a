"""What every network offers, whatever its architecture: features, head, logits.

Shapes: B segments, D values of a feature vector, L levels, S steps in time, K tags.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn


class Published(NamedTuple):
    """Published weights that a paper starts its network from.

    `layers` are the beginnings of the names of the parameters that they hold; `is_fixed` where the
    paper does not train them any further.
    """

    name: str  # whose weights, as `python -m earmark download` calls them
    paper: str  # and its section
    layers: tuple[str, ...]
    is_fixed: bool = False


class Network(nn.Module, ABC):
    """A backbone that turns segments into features, and a head that turns features into logits.

    A network depends on its constructor's arguments alone: the number of tags, and keyword-only
    options with defaults, which are plain integers, floats, strings and booleans. A new network
    sets `feature_types` and `head`, and implements `forward_features`.

    Attributes:
        feature_types: the types of features that it reads: "logmel", "mfcc", "waveform",
            "patches", "embedding", "fusion" (a waveform and its log-mel), or the type that a
            published network was trained on, such as "mn_logmel".
        head: the module whose output are the logits. All tensors whose shape depends on the number
            of tags are in it.
        published: the weights that its paper starts from; None for random values.
        reads_whole_clips: whether it skips rows of NaN, which stand after the shorter clips of a
            batch; with `segment_patches: all`, or `segment_seconds: all`.
        is_fitted_at_once: whether `head` is a linear layer that is fitted at once, as logistic
            regression of the features, whose `mean` and `deviation` are buffers; not by epochs.
        feature_dim: D where the features are one vector for each segment, (B, D); else None.
    """

    feature_types: ClassVar[frozenset[str]]
    published: ClassVar[Published | None] = None
    reads_whole_clips: ClassVar[bool] = False
    is_fitted_at_once: ClassVar[bool] = False
    head: nn.Module
    feature_dim: int | None = None

    @abstractmethod
    def forward_features(self, x: Any) -> Tensor:
        """Return the features of a batch of segments, as the head reads them.

        Raises:
            ValueError: the segments have another shape than the network reads.
        """

    def features_over_time(self, x: Any) -> Tensor:
        """Return the features one after another in time, (B, R, D): here those of the whole.

        Networks that can tell moments apart override this; the mean over R is `forward_features`.
        """
        return self.forward_features(x).unsqueeze(1)

    def forward_head(self, features: Tensor) -> Tensor:
        """Return the logits (B, K) of what `forward_features` returned."""
        logits: Tensor = self.head(features)  # (B, K)
        return logits

    def forward(self, x: Any) -> Tensor:
        """Return the logits (B, K) of a batch of segments."""
        return self.forward_head(self.forward_features(x))

    def attention(self, x: Any) -> Tensor:  # noqa: ARG002
        """Return how much each step in time counts for each tag, (L, B, S, K); sums to 1 over S.

        Networks with attention over time override this and `attention_levels`.

        Raises:
            ValueError: the network has no attention over time.
        """
        raise ValueError(f"{type(self).__name__} has no attention over time; choose another model")

    @property
    def attention_levels(self) -> list[str]:
        """What the L levels of `attention` are called; none if it has no attention over time."""
        return []

    def tag_tensors(self) -> frozenset[str]:
        """Return the names of the tensors that belong to the tags: transfer starts them afresh.

        They are those of the last layer of a head that is an `nn.Sequential`, else the whole head.
        A network whose number of tags shapes any other tensor overrides this.
        """
        is_sequential = isinstance(self.head, nn.Sequential)
        prefix = f"head.{len(self.head) - 1}." if is_sequential else "head."  # type: ignore[arg-type]
        return frozenset(key for key in self.state_dict() if key.startswith(prefix))

    def stages(self) -> list[list[str]]:
        """Return the names of all parameters in stages, from the input to the head.

        A stage is a child of the network that has a kernel, or a child of a container among them,
        in the order in which they were made. What has no kernel, such as a batch norm, belongs to
        the stage before it; what stands before all kernels, and parameters of the network's own,
        such as positions, to the first. A network that computes in another order, or whose stages
        are made of several children, overrides this.
        """
        stages = [[name for name, _ in self.named_parameters(recurse=False)]]
        has_kernel = False
        for prefix, block in _blocks(self):
            named = dict(block.named_parameters(prefix))
            if any(parameter.ndim > 1 for parameter in named.values()):
                if has_kernel:
                    stages.append([])
                has_kernel = True
            stages[-1] += named
        return stages

    def published_parameters(self) -> dict[str, nn.Parameter]:
        """Return the parameters that the published weights are of, by name; {} if none are."""
        layers = self.published.layers if self.published else ()
        return {name: p for name, p in self.named_parameters() if name.startswith(layers)}

    def channels_last(self) -> Self:
        """Lay the kernels out channels last, and so everything that is computed with them.

        The results are the same up to rounding; `python -m benchmarks.train_step` measures how much
        faster a training step is then, under bfloat16.
        """
        for parameter in self.parameters():
            if parameter.ndim == 4:
                # `to` leaves kernels of one channel as they are, since they look the same in both
                # layouts; what a convolution makes of them would then have the default layout.
                parameter.data = parameter.data.clone(memory_format=torch.channels_last)
        return self


def _blocks(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The children of a network by name, and those of a container instead of itself."""
    for name, child in network.named_children():
        if isinstance(child, nn.Sequential | nn.ModuleList):
            yield from ((f"{name}.{key}", block) for key, block in child.named_children())
        else:
            yield name, child
