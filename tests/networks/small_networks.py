"""Every network, made small for tests, and explicit computations of their layers."""

from typing import Any

import torch
from torch import Tensor, nn

from earmark.networks import build

N_TAGS = 5
Shape = tuple[Any, ...]  # of one input, or of each of a pair

# Options that make each network small, the shape of one input, one that is too short for it, and
# what the refusal must name. A network without a line here fails the tests.
SMALL: dict[str, tuple[dict[str, Any], Shape, Shape, str]] = {
    "densenet": ({"growth": 4, "stem_channels": 8, "units": 2}, (33, 20), (15, 20), "16 frames"),
    "cnn2d": ({"base_width": 4}, (33, 20), (15, 20), "16 frames"),
    "compact_cnn": ({"base_width": 4}, (33, 20), (15, 20), "16 frames"),
    "resnet2d": ({"base_width": 4}, (33, 20), (15, 20), "16 frames"),
    "resnet1d": ({"base_width": 4}, (200,), (15,), "16 samples"),
    "soundnet": ({"head": "max", "width": 0.125}, (4600,), (4573,), "4574 samples"),
    "cnn_audio": ({"n_samples": 8192, "width": 0.125, "hidden": 16}, (8192,), (8191,), "8192"),
    "cnn_spec": (
        {"n_frames": 67, "n_mels": 64, "width": 0.125, "hidden": 16},
        (67, 64),
        (66, 64),
        "67 frames, 64 mels",
    ),
    "cnn_comb": (
        {
            "n_samples": 8192,
            "audio_width": 0.125,
            "n_frames": 64,
            "n_mels": 64,
            "spec_width": 0.125,
        },
        ((8192,), (64, 64)),
        ((8192,), (63, 64)),
        "64 frames, 64 mels",
    ),
    "vggish": ({"width": 0.0625, "fc": 512}, (96, 64), (95, 64), "96 frames"),
    "segment_dnn": ({"n_units": 24}, (3, 128), (0, 128), "at least 1 patch"),
    "lstm": ({"n_units": 24}, (3, 128), (0, 128), "at least 1 patch"),
    "multilevel_attention": ({"n_units": 24}, (3, 128), (0, 128), "at least 1 patch"),
    "linear": ({"n_inputs": 20, "pooling": "statistics"}, (9, 20), (0, 20), "at least 1 row"),
    "mlp": ({"n_inputs": 20, "n_units": 24}, (9, 20), (0, 20), "at least 1 row"),
    "cbir": ({"width": 0.0625, "hidden": 16}, (96, 64), (31, 64), "at least 32 frames"),
    "samplecnn": ({"n_samples": 486, "width": 0.125}, (486,), (485,), "486"),
    "mobilenet": ({"width": 0.1}, (33, 20), (0, 20), "at least 1 frames"),
    "ced": ({"depth": 2}, (33, 64), (15, 64), "at least 16 frames"),
    "cnn14": ({"width": 0.0625}, (33, 64), (31, 64), "at least 32 frames"),
    "yamnet": ({"width": 0.125}, (96, 64), (95, 64), "at least 96 frames"),
    "rese2multi": ({"n_samples": 486, "width": 0.125}, (486,), (485,), "486"),
}


def random_input(*batch: int, shape: Shape) -> Any:
    """Random inputs of a shape, or a pair of them."""
    if isinstance(shape[0], tuple):
        return tuple(torch.randn(*batch, *part) for part in shape)
    return torch.randn(*batch, *shape)


def split_clips(x: Any) -> list[Any]:
    """Each input of a batch as a batch of its own."""
    if isinstance(x, tuple):
        return list(zip(*(part.split(1) for part in x), strict=True))
    return list(x.split(1))


def built(name: str, options: dict[str, Any], *, n_tags: int = N_TAGS) -> Any:
    """A network, as Any: tests look into its parts."""
    return build(name, n_tags, options)


def small(name: str, **options: Any) -> tuple[Any, Shape]:
    """The small network, with other options instead of some, and the shape of one input."""
    torch.manual_seed(0)
    given, shape, _, _ = SMALL[name]
    return built(name, given | options), shape


def settle(network: nn.Module, x: Any) -> Any:
    """The network in evaluation, its batch norms with the statistics of a batch.

    With those of the start a deep network without training shrinks all to zero.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        network.train()(x)
    return network.eval()


def batch_norm(norm: Any, x: Tensor) -> Tensor:
    """Compute what a batch norm layer does in evaluation."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    shape = (-1, *[1] * (x.ndim - 2))
    y: Tensor = scale.view(shape) * (x - norm.running_mean.view(shape)) + norm.bias.view(shape)
    return y


def conv1d(conv: Any, x: Tensor) -> Tensor:
    """Convolve (B, C, T) in one dimension, "same", with the odd zero at the right."""
    kernel, stride = conv.kernel_size[1], conv.stride[1]
    x = nn.functional.pad(x, ((kernel - 1) // 2, kernel // 2))
    return nn.functional.conv1d(x, conv.weight.squeeze(2), conv.bias, stride=stride)
