"""SoundNet's published weights, conv1 to conv7, under our names; conv8's heads are left out.

Shapes: k taps in time, I and O channels read and made.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from earmark.networks.soundnet import LAYERS
from earmark.published.weights.backbones import Array, Arrays, Backbone, checked, listing, named
from earmark.published.weights.torch7_archives import Torch7Object

NAMES = tuple(f"conv{number}" for number in range(1, len(LAYERS) + 1))
# What PyTorch, Torch7 and the TensorFlow port call the values of a batch norm.
_NORM = (
    ("weight", "weight", "gamma"),
    ("bias", "bias", "beta"),
    ("running_mean", "running_mean", "mean"),
    ("running_var", "running_var", "var"),
)


def from_numpy(layers: Any) -> Backbone:
    """The TensorFlow port's dictionary of layers, each a dictionary, with kernels (k, 1, I, O)."""
    if not isinstance(layers, dict):
        raise ValueError(f"it holds a {type(layers).__name__}, not a dictionary of layers")
    tensors: Arrays = {}
    for name in NAMES:
        layer = layers.get(name)
        if not isinstance(layer, dict):
            raise ValueError(f"it has no layer {name!r}; it has {listing(layers)}")
        kernel = named(layer, "weights", n_axes=4).transpose(3, 2, 0, 1)  # (O, I, k, 1)
        tensors[f"{name}.0.weight"] = _along_last_axis(kernel)
        tensors[f"{name}.0.bias"] = named(layer, "biases")
        tensors |= {f"{name}.1.{ours}": named(layer, theirs) for ours, _, theirs in _NORM}
    return _checked(tensors)


def from_torch(arrays: Mapping[str, Array]) -> Backbone:
    """The names of smallflyingpig/SoundNet_Pytorch, which are ours, with kernels (O, I, k, 1)."""
    tensors: Arrays = {}
    for name in NAMES:
        kernel = named(arrays, f"{name}.0.weight", n_axes=4)
        tensors[f"{name}.0.weight"] = _along_last_axis(kernel)
        for key in (f"{name}.0.bias", *(f"{name}.1.{ours}" for ours, _, _ in _NORM)):
            tensors[key] = named(arrays, key)
    return _checked(tensors)


def from_torch7(network: Any) -> Backbone:
    """The authors' nn.Sequential: convolutions, kernels (O, I, k, 1), each with its batch norm."""
    layers = list(_layers(network))[: 2 * len(NAMES)]
    kinds = [layer.class_name.split(".")[-1] for layer in layers]
    if kinds != ["SpatialConvolution", "SpatialBatchNormalization"] * len(NAMES):
        raise ValueError("it is not the eight-layer SoundNet: seven convolutions with batch norm")
    tensors: Arrays = {}
    for name, conv, norm in zip(NAMES, layers[0::2], layers[1::2], strict=True):
        kernel = named(conv.fields, "weight", n_axes=4)
        tensors[f"{name}.0.weight"] = _along_last_axis(kernel)
        tensors[f"{name}.0.bias"] = named(conv.fields, "bias")
        tensors |= {f"{name}.1.{ours}": named(norm.fields, theirs) for ours, theirs, _ in _NORM}
    return _checked(tensors)


def _layers(module: Any) -> Iterator[Torch7Object]:
    """Convolutions and batch norms in the order in which they compute."""
    if not isinstance(module, Torch7Object):
        return
    if module.class_name.endswith(("SpatialConvolution", "SpatialBatchNormalization")):
        yield module
    inner = module.fields.get("modules")
    if isinstance(inner, dict):
        for number in range(1, len(inner) + 1):
            yield from _layers(inner.get(number))


def _along_last_axis(kernel: Array) -> Array:
    """(O, I, k, 1) -> (O, I, 1, k), as our waveforms lie."""
    return kernel.swapaxes(2, 3)


def _checked(tensors: Arrays) -> Backbone:
    width = len(tensors["conv1.0.bias"]) / LAYERS[0][0]
    if not width:
        raise ValueError("conv1.0.bias is empty")
    return checked("soundnet", {"width": width}, tensors)
