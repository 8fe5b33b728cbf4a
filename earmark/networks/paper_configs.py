"""The networks as their papers configure them, with what each costs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from earmark.networks import Option, build, find


@dataclass(frozen=True)
class PaperConfig:
    """A network as a paper has it: options that differ from the defaults, and one input's shape."""

    paper: str
    network: str
    n_tags: int
    shape: tuple[Any, ...]  # of one input, or of each of a pair
    options: Mapping[str, Option] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The network and the options that are not its defaults, as in `cbir branches=1`."""
        return " ".join([self.network, *(f"{key}={value}" for key, value in self.options.items())])


class Cost(NamedTuple):
    """What a network holds, and what it computes for one input."""

    n_parameters: int
    n_multiply_adds: int  # of convolutions and matrix products


SHAN, LEDERLE, XU = "Shan & Ren", "Lederle & Wilhelm", "Xu et al."
CHEN, LEE = "Chen & Gupta", "Lee et al."
SCHMID, DINKEL, KONG, PLAKAL = "Schmid et al.", "Dinkel et al.", "Kong et al.", "Plakal & Ellis"

PAPER_CONFIGS = (
    PaperConfig(SHAN, "densenet", 41, (173, 80)),
    PaperConfig(SHAN, "cnn2d", 41, (173, 80)),
    PaperConfig(SHAN, "resnet2d", 41, (173, 80)),
    PaperConfig(SHAN, "resnet1d", 41, (88_200,)),
    PaperConfig(SHAN, "soundnet", 41, (88_200,)),
    PaperConfig(f"{LEDERLE}, 1 s", "cnn_audio", 41, (44_100,), {"n_samples": 44_100}),
    PaperConfig(f"{LEDERLE}, 2 s", "cnn_audio", 41, (88_200,)),
    PaperConfig(f"{LEDERLE}, 3 s", "cnn_audio", 41, (132_300,), {"n_samples": 132_300}),
    PaperConfig(f"{LEDERLE}, 1 s", "cnn_spec", 41, (87, 128), {"n_frames": 87}),
    PaperConfig(f"{LEDERLE}, 2 s", "cnn_spec", 41, (173, 128)),
    PaperConfig(f"{LEDERLE}, 3 s", "cnn_spec", 41, (259, 128), {"n_frames": 259}),
    PaperConfig(
        f"{LEDERLE}, 1 s",
        "cnn_comb",
        41,
        ((44_100,), (87, 128)),
        {"n_samples": 44_100, "n_frames": 87},
    ),
    PaperConfig(f"{LEDERLE}, 2 s", "cnn_comb", 41, ((88_200,), (173, 128))),
    PaperConfig(
        f"{LEDERLE}, 3 s",
        "cnn_comb",
        41,
        ((132_300,), (259, 128)),
        {"n_samples": 132_300, "n_frames": 259},
    ),
    PaperConfig(XU, "vggish", 41, (96, 64)),
    PaperConfig(f"{XU}, A", "segment_dnn", 41, (1, 128)),
    PaperConfig(f"{XU}, B", "lstm", 41, (6, 128)),
    PaperConfig(f"{XU}, C to H", "multilevel_attention", 41, (6, 128)),
    PaperConfig(f"{CHEN}, CBIR_1", "cbir", 5, (480, 64), {"branches": 1}),
    PaperConfig(f"{CHEN}, CBIR_2", "cbir", 5, (480, 64)),
    PaperConfig(f"{CHEN}, CBIR_2 and aux labels", "cbir", 96, (480, 64)),
    PaperConfig(f"{CHEN}, CBIR_4", "cbir", 5, (480, 64), {"branches": 1, "attention": False}),
    PaperConfig(LEE, "samplecnn", 50, (59_049,), {"n_samples": 59_049}),
    PaperConfig(LEE, "samplecnn", 50, (39_366,)),
    PaperConfig(LEE, "samplecnn", 17, (19_683,), {"n_samples": 19_683}),
    PaperConfig(LEE, "samplecnn", 31, (16_000,), {"n_samples": 16_000}),
    PaperConfig(LEE, "rese2multi", 50, (59_049,), {"n_samples": 59_049}),
    PaperConfig(LEE, "rese2multi", 50, (39_366,)),
    PaperConfig(LEE, "rese2multi", 17, (19_683,), {"n_samples": 19_683}),
    PaperConfig(LEE, "rese2multi", 31, (16_000,), {"n_samples": 16_000}),
    PaperConfig(f"{SCHMID}, mn04", "mobilenet", 527, (1000, 128)),
    PaperConfig(f"{SCHMID}, mn10", "mobilenet", 527, (1000, 128), {"width": 1.0}),
    PaperConfig(DINKEL, "ced", 527, (1001, 64)),
    PaperConfig(DINKEL, "ced", 527, (1001, 64), {"size": "mini"}),
    PaperConfig(DINKEL, "ced", 527, (1001, 64), {"size": "small"}),
    PaperConfig(DINKEL, "ced", 527, (1001, 64), {"size": "base"}),
    PaperConfig(KONG, "cnn14", 527, (1001, 64)),
    PaperConfig(PLAKAL, "yamnet", 521, (96, 64)),
)


def cost(config: PaperConfig) -> Cost:
    """Count parameters, and multiply-adds for one input; nothing is computed or allocated."""
    # On a processor an LSTM is one operation, which the counter does not know.
    lstm_flops = {torch.ops.aten.mkldnn_rnn_layer: _lstm_flops}
    with FakeTensorMode(), FlopCounterMode(display=False, custom_mapping=lstm_flops) as counter:
        network = build(config.network, config.n_tags, config.options).eval()
        network(zeros(config.shape))
    n_parameters = sum(p.numel() for p in network.parameters())
    return Cost(n_parameters, counter.get_total_flops() // 2)


def zeros(shape: tuple[Any, ...]) -> Any:
    """Return one input of a configuration's shape, or a pair of them."""
    if isinstance(shape[0], tuple):
        return tuple(torch.zeros(1, *part) for part in shape)
    return torch.zeros(1, *shape)


def _lstm_flops(
    steps: torch.Size, inner: torch.Size, recurrent: torch.Size, *_: Any, **__: Any
) -> int:
    """Two operations for each weight and step; the shapes are (P, B, D), (4 H, D), (4 H, H)."""
    return 2 * steps[:2].numel() * (inner.numel() + recurrent.numel())


def table() -> list[str]:
    """Return the configurations as lines of aligned text, a header first."""
    rows = [("network", "paper", "reads", "input", "tags", "parameters", "multiply-adds")]
    for config in PAPER_CONFIGS:
        types = ", ".join(sorted(find(config.network).feature_types))
        n_parameters, n_multiply_adds = cost(config)
        sizes = f"{config.n_tags}", f"{n_parameters:,}", f"{n_multiply_adds / 1e6:,.1f} M"
        rows.append((config.name, config.paper, types, _text(config.shape), *sizes))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_aligned(row, widths)) for row in rows]


def _text(shape: tuple[Any, ...]) -> str:
    if isinstance(shape[0], tuple):
        return " and ".join(map(_text, shape))
    return " x ".join(f"{size:,}" for size in shape)


def _aligned(row: tuple[str, ...], widths: list[int]) -> list[str]:
    """Words to the left, the last three columns to the right."""
    n_words = len(row) - 3
    return [
        cell.ljust(width) if column < n_words else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
