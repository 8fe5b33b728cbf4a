"""Embeddings of a user's own recordings by VGGish, as its published code computes them.

Shapes: T samples, P patches, D dims (128).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from earmark.errors import UserError
from earmark.features.vggish import HOP_LENGTH, PATCH_FRAMES, SAMPLE_RATE, VggishPatches
from earmark.layout import Layout
from earmark.networks import Network, build
from earmark.published.weights import vggish
from earmark.sound.decoding import decode
from earmark.sound.samples import Int16
from earmark.spool import Scratch

Floats = NDArray[np.floating[Any]]
Embeddings = NDArray[np.float32] | NDArray[np.uint8]

PATCH_SECONDS = PATCH_FRAMES * HOP_LENGTH / SAMPLE_RATE
_CLIP_AT = 2.0
_BATCH = 64
_CONVERT = "make one with `python -m earmark convert`"


def postprocess(
    embeddings: Floats, *, pca_eigen_vectors: Floats, pca_means: Floats
) -> NDArray[np.uint8]:
    """Whiten embeddings (P, D) and quantise them to uint8, as those of AudioSet were published.

    [-2, 2] becomes 0 to 255; the fraction is cut off, as in TensorFlow's vggish_postprocess.py,
    where torchvggish rounds.

    Args:
        embeddings: (P, D), before any activation.
        pca_eigen_vectors: (D, D), one per row.
        pca_means: (D,).
    """
    whitened = (embeddings - pca_means) @ pca_eigen_vectors.T  # (P, D)
    clipped = np.clip(whitened, -_CLIP_AT, _CLIP_AT)
    scaled = (clipped + _CLIP_AT) * (255 / (2 * _CLIP_AT))
    quantised: NDArray[np.uint8] = scaled.astype(np.uint8)
    return quantised


@dataclass(frozen=True, eq=False)
class Embedder:
    """A VGGish ready to embed recordings.

    Attributes:
        network: in evaluation mode, on the device.
        device: "cpu" or "cuda".
        pca: the arrays of the post-processor; None to leave embeddings as they are.
    """

    network: Network
    device: str
    pca: Mapping[str, Floats] | None

    @classmethod
    def load(cls, weights: Path, *, activation: str, pca: Path | None = None) -> "Embedder":
        """Read a VGGish from weight files that `earmark convert` wrote.

        Args:
            weights: of the network; the weights.safetensors of a trained extractor will do, too.
            activation: "relu" to end embeddings in a ReLU, as in 2017; "none", as in later code.
            pca: of the post-processor; None for none.

        Raises:
            UserError: a file is missing or holds something else.
        """
        network = _network(weights, activation)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        arrays = None if pca is None else _postprocessor(pca, network.feature_dim)
        return cls(network.to(device).eval(), device, arrays)

    @property
    def sample_rate(self) -> int:
        return SAMPLE_RATE

    def embed(self, path: Path) -> Embeddings:
        """Return the embeddings of a recording's patches, (P, D) float32, or uint8 with `pca`.

        A patch is 0.96 s. Nothing is trimmed. A recording under 0.975 s is repeated to fill one
        patch, and what is left over after the last whole patch is not embedded.

        Raises:
            UnusableAudio: the file cannot be used.
        """
        scratch = Scratch(Layout.here().scratch_folder)
        waveform = decode(path, sample_rate=SAMPLE_RATE, scratch=scratch).waveform
        return np.concatenate(list(self.blocks(np.asarray(waveform))))

    def blocks(self, waveform: Int16) -> Iterator[Embeddings]:
        """The same of a waveform (T,) at 16 kHz, some patches at a time."""
        for patches in VggishPatches(sample_rate=SAMPLE_RATE).blocks(waveform):
            for i in range(0, len(patches), _BATCH):  # (P, 96, 64)
                embeddings = self._embedded(patches[i : i + _BATCH])
                yield embeddings if self.pca is None else postprocess(embeddings, **self.pca)

    @torch.inference_mode()
    def _embedded(self, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        batch = torch.from_numpy(patches).to(self.device)
        embeddings: NDArray[np.float32] = self.network.forward_features(batch).cpu().numpy()
        return embeddings


def _network(path: Path, activation: str) -> Network:
    tensors = _tensors(path)
    try:
        options = vggish.options_of(tensors)
        network = build("vggish", 1, options | {"embedding_activation": activation})
        keys = [key for key in network.state_dict() if not key.startswith("head.")]
        backbone = {key: torch.from_numpy(tensors[key]) for key in keys}
        network.load_state_dict(backbone, strict=False)
    except KeyError as error:
        raise UserError(f"{path}: no weights of VGGish, {error} is missing; {_CONVERT}") from error
    except RuntimeError as error:
        problem = "no weights of VGGish, their sizes do not fit together"
        raise UserError(f"{path}: {problem}; {_CONVERT}") from error
    return network


def _postprocessor(path: Path, n_dims: int | None) -> Mapping[str, Floats]:
    try:
        arrays = vggish.pca(_tensors(path)).tensors
    except ValueError as error:
        raise UserError(f"{path}: no post-processor of VGGish, {error}; {_CONVERT}") from error
    n_means = len(arrays["pca_means"])
    if n_means != n_dims:
        problem = f"made for embeddings of {n_means} values, these have {n_dims}"
        raise UserError(f"{path}: {problem}; leave --pca out, or take the weights that it is for")
    return arrays


def _tensors(path: Path) -> dict[str, NDArray[Any]]:
    if not path.is_file():
        raise UserError(f"{path}: there is no such file; {_CONVERT}")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path}: no safetensors file ({error}); {_CONVERT}") from error
