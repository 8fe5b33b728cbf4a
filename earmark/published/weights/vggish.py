"""VGGish's published weights under our names, and its post-processor's.

Shapes: H, W kernel height (time) and width (frequency), I and O channels read and made, D dims.
"""

from collections.abc import Mapping
from typing import Any

from earmark.networks import Option
from earmark.networks.vggish import STAGES
from earmark.published.weights.backbones import (
    Array,
    Arrays,
    Backbone,
    check_finite,
    checked,
    named,
)

# TensorFlow's layers, and the numbers of torchvggish, which are those of our VGGish.
LAYERS = {
    "conv1": "features.0",
    "conv2": "features.3",
    "conv3/conv3_1": "features.6",
    "conv3/conv3_2": "features.8",
    "conv4/conv4_1": "features.11",
    "conv4/conv4_2": "features.13",
    "fc1/fc1_1": "embeddings.0",
    "fc1/fc1_2": "embeddings.2",
    "fc2": "embeddings.4",
}
_TORCHAUDIO = {"features": "features_network", "embeddings": "embedding_network"}
PCA_ARRAYS = ("pca_eigen_vectors", "pca_means")


def from_tensorflow(variables: Mapping[str, Array]) -> Backbone:
    """Kernels (H, W, I, O) become (O, I, H, W), dense matrices (I, O) become (O, I).

    The first dense layer goes on reading the map as TensorFlow flattens it, by time, frequency and
    channel: our VGGish flattens it so, too.
    """
    tensors: Arrays = {}
    for theirs, ours in LAYERS.items():
        is_convolution = ours.startswith("features")
        weight = named(variables, f"vggish/{theirs}/weights", n_axes=4 if is_convolution else 2)
        tensors[f"{ours}.weight"] = weight.transpose((3, 2, 0, 1) if is_convolution else (1, 0))
        tensors[f"{ours}.bias"] = named(variables, f"vggish/{theirs}/biases", n_axes=1)
    return checked("vggish", options_of(tensors), tensors)


def from_torch(arrays: Mapping[str, Array]) -> Backbone:
    """The names of torchvggish, which are ours, or those of torchaudio; the axes are the same."""
    tensors: Arrays = {}
    for layer in LAYERS.values():
        half, number = layer.split(".")
        for part in ("weight", "bias"):
            theirs = f"{_TORCHAUDIO[half]}.{number}.{part}"
            tensors[f"{layer}.{part}"] = named(
                arrays, theirs if theirs in arrays else f"{layer}.{part}"
            )
    return checked("vggish", options_of(tensors), tensors)


def pca(arrays: Mapping[str, Any]) -> Backbone:
    """The post-processor: eigenvectors (D, D), one a row, and means (D,)."""
    vectors, means = (named(arrays, name) for name in PCA_ARRAYS)
    means = means.reshape(-1)  # in some files a column
    if vectors.shape != (len(means), len(means)):
        raise ValueError(f"eigenvectors {vectors.shape} do not fit {len(means)} means")
    tensors = dict(zip(PCA_ARRAYS, (vectors, means), strict=True))
    check_finite(tensors)
    return Backbone("pca", {}, tensors)


def options_of(tensors: Mapping[str, Array]) -> dict[str, Option]:
    """The options of the VGGish that these tensors belong to, from the sizes of its biases."""
    width = len(tensors["features.0.bias"]) / STAGES[0][0]
    if not width:
        raise ValueError("features.0.bias is empty")
    return {
        "width": width,
        "fc": round(len(tensors["embeddings.0.bias"]) / width),
        "embedding_dim": len(tensors["embeddings.4.bias"]),
    }
