"""Networks that learned other sound and learn no more, as types of feature: their embeddings.

Since nothing of them is trained, one embedding of a clip serves every fold and every model.
Shapes: T samples, N rows of the front-end, R rows of an embedding over time, D dims.
"""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from earmark.errors import UserError
from earmark.features.feature_type import FeatureType
from earmark.networks.base import Network
from earmark.sound.samples import Float32, Int16, as_float
from earmark.weights import load_weights

GET_WEIGHTS = "`python -m earmark download` lists those that are published"

# Networks of AudioSet learned clips of 10 s. A recording of up to half as much more is embedded as
# a whole, a longer one in equal windows.
WINDOW_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Backbone(FeatureType):
    """The embeddings (R, D) that a network with published weights makes of a clip, over time.

    Their mean over time is the clip's embedding. What reads embeddings reads these.

    Attributes:
        weights: a safetensors file, relative to the folder that holds dvc.yaml.
        weights_sha256: of the file.
        network: its class; `network_options` are those that it is built with.
    """

    sample_rate: int
    weights: str
    weights_sha256: str

    network: ClassVar[type[Network]]
    kind = "embedding"
    segment_key = "segment_patches"
    padding = "tile"
    dtype = np.dtype(np.float16)

    @property
    @abstractmethod
    def network_options(self) -> dict[str, Any]: ...

    @property
    @abstractmethod
    def front_end(self) -> FeatureType:
        """What the network reads, of waveforms at the working rate."""

    @property
    def row_shape(self) -> tuple[int, ...]:
        return (_feature_dim(self.network, **self.network_options),)

    @property
    def silence(self) -> NDArray[np.float16]:
        return np.zeros(self.row_shape, self.dtype)

    @torch.inference_mode()
    def __call__(self, waveform: Float32) -> Float32:
        """Embeddings (R, D) float32 of a waveform (T,) at the working rate, as one window."""
        rows = torch.from_numpy(self.front_end(waveform))  # (N, ...)
        embeddings: Float32 = self.load().features_over_time(rows.unsqueeze(0))[0].numpy()
        return embeddings

    def load(self) -> Network:
        """The network with its weights, read once in a process.

        Raises:
            UserError: there is no such file, it is not the pinned one, or of another network.
        """
        if not self.weights:
            raise UserError(f"a network that is not trained needs its weights; {GET_WEIGHTS}")
        return _loaded(self.network, self.weights, self.weights_sha256, **self.network_options)

    def blocks(self, waveform: Int16) -> Iterator[Float32]:
        n_windows = max(1, round(len(waveform) / self.sample_rate / WINDOW_SECONDS))
        ends = np.linspace(0, len(waveform), n_windows + 1).round().astype(int).tolist()
        for start, end in pairwise(ends):
            yield self(as_float(waveform[start:end]))


@cache
def _feature_dim(network: type[Network], **options: Any) -> int:
    with torch.device("meta"):
        feature_dim = network(1, **options).feature_dim
    assert feature_dim is not None, "a backbone's features are vectors"
    return feature_dim


@cache
def _loaded(network: type[Network], weights: str, sha256: str, **options: Any) -> Network:
    built = network(1, **options)
    fresh = load_weights(built, Path(weights), sha256, fresh=_head(built))
    if missing := sorted(set(fresh) - _head(built)):
        fix = "take the weights of this very network"
        raise UserError(f"weights {weights}: {missing[0]} is not in it; {fix}")
    return built.eval()


def _head(network: Network) -> set[str]:
    """What no embedding depends on: the head, and how many batches the batch norm has seen."""
    return {
        key for key in network.state_dict() if key.startswith("head.") or key.endswith("_tracked")
    }
