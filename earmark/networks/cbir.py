"""Two convolutional branches with attention on stacked patches (Chen and Gupta, "Attention-based
convolutional neural network for audio event classification with feature transfer learning", 2018,
section 1.3 and Figure 1).

Shapes: B clips, N frames, M mel bins (64), C channels, S steps, H values of a step, D dims, K tags.
"""

import torch
from torch import Tensor, nn

from earmark.networks.base import Network, Published
from earmark.networks.layers import Float32Linear, check_choice, glorot, he, scaled
from earmark.networks.vggish import N_FRAMES, N_MELS, STAGES, convolutions

BLOCKS = (*STAGES, (512, 512))
ADAPTERS = {"all": 0, "last": len(BLOCKS) - 1, "none": len(BLOCKS)}  # the first block with one
MIN_FRAMES = 2 ** len(BLOCKS)  # every block halves time


class Attention(nn.Module):
    """Weigh the steps of a map, each of D dims by itself, and add them up.

    The paper takes Kong et al.'s (2018), who weigh classifications; here dims are weighed, so that
    the two branches can be put together before anything is classified. The soft-max is over time.
    """

    def __init__(self, n_inputs: int, dims: int) -> None:
        super().__init__()
        self.value = glorot(nn.Linear(n_inputs, dims))
        self.weight = glorot(Float32Linear(n_inputs, dims))

    def weights(self, steps: Tensor) -> Tensor:
        """Return the weight of each of the steps (B, S, H), (B, S, D); they sum to 1 over S."""
        return torch.softmax(self.weight(steps), 1)

    def forward(self, steps: Tensor) -> Tensor:
        return (self.weights(steps) * torch.relu(self.value(steps))).sum(1)  # (B, D)


class CBIR(Network):
    """CBIR_2: a branch from VGGish and one from random values, adapters, attention, a dense layer.

    Both branches have VGG's eight convolutions in five blocks. The first six of branch P are
    VGGish's and bear its names, so that its weights load with `load_state_dict(..., strict=False)`;
    with `frozen` they are not trained, unless training starts from random values. The fifth block
    has no published weights and is trained. An adapter, a 1x1 convolution with a ReLU, turns the
    map that a block of P ends in into something to be added to that of the random branch R. After
    which blocks the paper does not say: `adapters` is "all", "last" or "none".

    CBIR_1, CNN + attention, is `branches=1`: P, and no adapters. CBIR_4, CNN + FC, is also
    `attention=False`: the map of exactly `n_patches` patches is flattened. CBIR_3 is CBIR_1 with
    augmented clips. After the dense layer come ReLU, batch norm and dropout; `branch_bn` puts batch
    norm into R too, where the paper names none.

    The paper's auxiliary task, 91 sound events beside the five classes, is a second soft-max on the
    same dense layer: one output layer of 96 values, of which training and tagger know which are
    tags. So any other network has it too.
    Parameters: 9,219,328 a branch, adapters 611,776, attention 1,049,600 a branch; CBIR_2 for five
    tags 21,678,021, of which 4,499,712 are frozen.
    """

    feature_types = frozenset({"patches"})
    published = Published(
        "vggish",
        "Chen & Gupta, section 1.3",
        tuple(f"features.{number}." for number in (0, 3, 6, 8, 11, 13)),
        is_fixed=True,
    )

    def __init__(
        self,
        n_tags: int,
        *,
        branches: int = 2,
        attention: bool = True,
        adapters: str = "all",
        frozen: bool = True,
        branch_bn: bool = False,
        n_patches: int = 5,
        width: float = 1.0,
        hidden: int = 512,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        check_choice("adapters", adapters, tuple(ADAPTERS))
        if branches not in (1, 2):
            raise ValueError(f"branches must be 1 or 2, got {branches}")
        self.first_adapter = ADAPTERS[adapters]
        self.n_frames = N_FRAMES * n_patches
        outs = [scaled(block[-1], width) for block in BLOCKS]
        self.features = convolutions(STAGES, width)
        self.features.requires_grad_(not frozen)
        self.features.extend(convolutions(BLOCKS[-1:], width, channels=outs[-2]))
        self.random, self.adapters = nn.ModuleList(), nn.ModuleList()
        if branches == 2:
            for block, channels in zip(BLOCKS, [1, *outs], strict=False):
                layers = convolutions((block,), width, channels=channels, batch_norm=branch_bn)
                self.random.append(layers)
            for out in outs[self.first_adapter :]:
                self.adapters.append(nn.Sequential(nn.Conv2d(out, out, 1), nn.ReLU()))
        n_values = outs[-1] * (N_MELS // MIN_FRAMES)  # of a step
        n_pooled = outs[-1] if attention else n_values * (self.n_frames // MIN_FRAMES)
        pools = (Attention(n_values, outs[-1]) for _ in range(branches if attention else 0))
        self.pools = nn.ModuleList(pools)
        self.feature_dim = branches * n_pooled
        self.head = nn.Sequential(
            glorot(nn.Linear(self.feature_dim, hidden)),
            nn.ReLU(),
            nn.BatchNorm1d(hidden),
            nn.Dropout(dropout),
            glorot(Float32Linear(hidden, n_tags)),
        )
        he(self)

    def stages(self) -> list[list[str]]:
        """Return the names of all parameters in stages; a block of both branches is one."""
        blocks: list[list[str]] = [[] for _ in (*BLOCKS, "pools")]
        above = []
        for names in super().stages():
            part, number = names[0].split(".")[:2]
            if part == "head":
                above.append(names)
            else:
                blocks[self._block_of(part, int(number))] += names
        return [*filter(None, blocks), *above]

    def _block_of(self, part: str, number: int) -> int:
        """The block that a layer of a part belongs to, counted from 0; the pools are above all."""
        if part == "features":
            return sum(isinstance(layer, nn.MaxPool2d) for layer in list(self.features)[:number])
        if part == "pools":
            return len(BLOCKS)
        return number + (self.first_adapter if part == "adapters" else 0)

    def steps(self, patches: Tensor) -> list[Tensor]:
        """Return each branch's last map, step by step, (B, S, H)."""
        n_frames = patches.shape[1] if patches.ndim == 3 else 0
        fits = n_frames >= MIN_FRAMES if self.pools else n_frames == self.n_frames
        if not fits or patches.shape[2] != N_MELS:
            needed = f"at least {MIN_FRAMES}" if self.pools else f"{self.n_frames}"
            raise ValueError(
                f"expected (clips, {needed} frames, {N_MELS} mels), got {tuple(patches.shape)}"
            )
        maps = _pooled_maps(self.features, patches.unsqueeze(1))  # 5 x (B, C, N / 2^i, M / 2^i)
        lasts = [maps[-1]]
        if self.random:
            lasts.append(self._random_map(patches.unsqueeze(1), maps))
        return [x.permute(0, 2, 3, 1).flatten(2) for x in lasts]  # (B, N / 32, 2 * C)

    def _random_map(self, x: Tensor, hints: list[Tensor]) -> Tensor:
        """Return branch R's last map; its adapters read the maps of P."""
        for index, (block, hint) in enumerate(zip(self.random, hints, strict=True)):
            x = block(x)
            if index >= self.first_adapter:
                x = x + self.adapters[index - self.first_adapter](hint)
        return x

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the branches' pooled steps side by side (B, D), from stacked patches (B, N, 64).

        N is any from 32 up with attention, else exactly that of `n_patches`.
        """
        branches = self.steps(x)
        if self.pools:
            branches = [pool(steps) for pool, steps in zip(self.pools, branches, strict=True)]
        return torch.cat([values.flatten(1) for values in branches], 1)  # (B, D)

    def step_weights(self, patches: Tensor) -> Tensor:
        """Return each branch's weight of each step, a third of a second, (branches, B, S, D)."""
        steps = zip(self.pools, self.steps(patches), strict=True)
        return torch.stack([pool.weights(x) for pool, x in steps])  # type: ignore[operator]

    def attention(self, x: Tensor) -> Tensor:
        """Return each branch's weight of each step for each tag, (branches, B, S, K).

        CBIR weighs each of its D dims over time by itself, for no tag in particular. A tag's
        attention is here the mean of the dims' weights, each dim counting by how much it moves the
        tag's logit: the magnitude of gradient times value. The paper draws no attention; this is
        our reading. It needs gradients, so it does not work under `torch.inference_mode`.

        Raises:
            ValueError: the network was built with `attention=False`.
        """
        if not self.pools:
            return super().attention(x)
        with torch.no_grad():
            weights = self.step_weights(x)  # (branches, B, S, D)
            features = self.forward_features(x)  # (B, branches * D)
        n_branches, n_clips, _, n_dims = weights.shape
        effects = self._effects(features).view(n_clips, n_branches, n_dims, -1)
        shares = (effects / effects.sum(2, keepdim=True)).transpose(0, 1)  # (branches, B, D, K)
        return weights @ shares  # (branches, B, S, K)

    @property
    def attention_levels(self) -> list[str]:
        """The branches, if they have attention."""
        return ["branch P", "branch R"][: len(self.pools)]

    def _effects(self, features: Tensor) -> Tensor:
        """How much each value of the features (B, D) moves each logit, (B, D, K), above zero."""
        with torch.enable_grad():
            features = features.detach().requires_grad_()
            logits = self.forward_head(features).sum(0)  # (K,); clips do not mix in evaluation mode
            gradients = [torch.autograd.grad(y, features, retain_graph=True)[0] for y in logits]
        effects = torch.stack(gradients, 2) * features.detach()[..., None]
        return effects.abs() + torch.finfo().tiny


def _pooled_maps(features: nn.Sequential, x: Tensor) -> list[Tensor]:
    """Return what each block ends in."""
    maps = []
    for layer in features:
        x = layer(x)
        if isinstance(layer, nn.MaxPool2d):
            maps.append(x)
    return maps
