"""Networks that embed segments of recordings: a tagger's, published backbones, and VGGish.

Shapes: T samples, S segments, N rows of a front-end, R rows of an embedding over time, P patches,
D dims.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from earmark.checksums import sha256_of
from earmark.ensemble.rules import Windows
from earmark.ensemble.segments import Segment, in_chunks, segments_of
from earmark.errors import UserError, WrongUse
from earmark.features import build
from earmark.features.backbone import WINDOW_SECONDS, Backbone
from earmark.features.pretrained import Pretrained, names_a_backbone, pretrained_of
from earmark.inference.embed import PATCH_SECONDS, Embedder
from earmark.inference.recording_tagger import RecordingTagger
from earmark.inference.segment_embeddings import CHUNK_SECONDS, embed_segments
from earmark.networks import Network
from earmark.sound.decoding import decode
from earmark.sound.recordings import name_of
from earmark.sound.samples import Int16, as_float
from earmark.sound.unusable import UnusableAudio
from earmark.spool import Scratch, release
from earmark.taggers.tagger import Tagger

# As long as those of Perch, which search was built for first; no network here needs another.
DEFAULT = Windows(window_seconds=5.0, hop_seconds=5.0)
_LONGEST_SECONDS = 1.5 * WINDOW_SECONDS  # that a backbone embeds at once
_LEAST_SHIFT = 0.1  # of a hop
_RATES = {"mn": 32_000, "ced": 16_000, "yamnet": 16_000}


class Embedded(NamedTuple):
    """Some segments of a recording: `(S, D)`, and when each begins and ends, in seconds `(S,)`."""

    values: NDArray[np.float32]
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SegmentEmbedder(ABC):
    """What turns a recording into one vector a segment.

    Attributes:
        sample_rate: of the waveforms that it reads, in Hz.
        dims: D.
        identity: what its vectors depend on; those of equal identity may be compared.
        scratch_folder: for recordings that are too long for memory.
    """

    sample_rate: int
    dims: int
    identity: dict[str, Any]
    scratch_folder: Path

    @abstractmethod
    def blocks(self, waveform: Int16) -> Iterator[Embedded]:
        """The segments of a waveform `(T,)` in the order of time, some at once."""

    def embed(
        self, path: Path, *, start: float | None = None, end: float | None = None
    ) -> Iterator[Embedded]:
        """The segments of a recording, or of a part of it; times count from its begin.

        Args:
            start, end: of the part, in seconds.

        Raises:
            UnusableAudio: it cannot be used, or has nothing from `start` to `end`.
        """
        scratch = Scratch(self.scratch_folder)
        decoded = decode(path, sample_rate=self.sample_rate, scratch=scratch)
        waveform = np.asarray(decoded.waveform)
        first = round((start or 0.0) * self.sample_rate)
        last = len(waveform) if end is None else round(end * self.sample_rate)
        part = waveform[first:last]
        if not len(part):
            seconds = len(waveform) / self.sample_rate
            raise UnusableAudio(
                path, "beyond_end", f"has only {seconds:.2f} s", "correct --start and --end"
            )
        for values, starts, ends in self.blocks(part):
            shift = first / self.sample_rate
            yield Embedded(values, starts + shift, ends + shift)
            release(waveform)


@dataclass(frozen=True, kw_only=True)
class TaggerEmbedder(SegmentEmbedder):
    """What the head of a trained network reads of each segment, prepared as clips are."""

    tagger: Tagger
    extractor: Tagger | None
    windows: Windows
    of: RecordingTagger

    def blocks(self, waveform: Int16) -> Iterator[Embedded]:
        preparation = self.of.rules.preparation
        for some in _cut_in_chunks(len(waveform), self.windows, self.sample_rate):
            values = embed_segments(
                self.tagger, self.extractor, waveform, some, preparation, self.of.device
            )
            yield Embedded(values, *_times(some, self.sample_rate))


@dataclass(frozen=True, kw_only=True)
class BackboneEmbedder(SegmentEmbedder):
    """The mean over time of what a published network makes of a segment, nothing done to it."""

    backbone: Backbone
    network: Network
    device: str
    windows: Windows

    @torch.inference_mode()
    def _vectors(self, waveform: Int16, segments: Sequence[Segment]) -> NDArray[np.float32]:
        rows = [self.backbone.front_end(as_float(waveform[a:b])) for a, b in segments]
        stacked = torch.from_numpy(np.stack(rows)).to(self.device)  # (S, N, ...)
        over_time = self.network.features_over_time(stacked)  # (S, R, D)
        values: NDArray[np.float32] = over_time.mean(dim=1).cpu().numpy()
        return values

    def blocks(self, waveform: Int16) -> Iterator[Embedded]:
        for some in _cut_in_chunks(len(waveform), self.windows, self.sample_rate):
            yield Embedded(self._vectors(waveform, some), *_times(some, self.sample_rate))


@dataclass(frozen=True, kw_only=True)
class VggishEmbedder(SegmentEmbedder):
    """VGGish's embedding of each 0.96 s; what is left over after the last one has none."""

    embedder: Embedder

    def blocks(self, waveform: Int16) -> Iterator[Embedded]:
        n_done = 0
        for values in self.embedder.blocks(waveform):
            starts = np.arange(n_done, n_done + len(values), dtype=np.float64) * PATCH_SECONDS
            yield Embedded(values.astype(np.float32), starts, starts + PATCH_SECONDS)
            n_done += len(values)


def cut(n_samples: int, windows: Windows, *, sample_rate: int) -> list[Segment]:
    """The segments of a recording, as of a timeline, without a last one that is nearly another.

    A clip of 5.001 s would else be two segments of 5 s with the same sound. What is left over, less
    than a tenth of a hop, is in none.

    >>> windows = Windows(window_seconds=50.0, hop_seconds=50.0)
    >>> [[tuple(one) for one in cut(n, windows, sample_rate=1)] for n in (54, 55)]
    [[(0, 50)], [(0, 50), (5, 55)]]
    """
    segments = segments_of(n_samples, windows, sample_rate=sample_rate)
    _, hop = windows.samples(sample_rate)
    if len(segments) > 1 and segments[-1].start - segments[-2].start < _LEAST_SHIFT * hop:
        segments.pop()
    return segments


def _cut_in_chunks(
    n_samples: int, windows: Windows, sample_rate: int
) -> Iterator[Sequence[Segment]]:
    segments = cut(n_samples, windows, sample_rate=sample_rate)
    return in_chunks(segments, sample_rate=sample_rate, seconds=CHUNK_SECONDS)


def _times(
    segments: Sequence[Segment], sample_rate: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    starts, ends = np.array(segments, dtype=np.float64).T / sample_rate
    return starts, ends


def of_tagger(
    tagger: RecordingTagger, *, member: str = "", window: float | None, hop: float | None
) -> TaggerEmbedder:
    """The embedder of one network of a tagger.

    Args:
        member: whose first fold's network it is; by default the one of the largest weight whose
            features are vectors.
        window, hop: of segments, in seconds; by default those of the tagger's timeline, else
            DEFAULT.

    Raises:
        UserError: there is no such member, or its features are no vectors.
        WrongUse: the window or hop is not positive.
    """
    name, fold, network, extractor = tagger.embedding_network(member)
    windows = _windows(window, hop, tagger.rules.windows or DEFAULT)
    input_, trim = network.input, tagger.rules.preparation["trim"]
    options = {key: value for key, value in input_.options.items() if key != "weights"}
    identity = {
        "network": network.network_name,
        "weights_sha256": network.metadata["weights_sha256"],
        "extractor_sha256": extractor.metadata["weights_sha256"] if extractor else "",
        "feature": {"type": input_.type_name, **options},
        "normalise": trim["normalise"],
        "member": name,
        "fold": fold,
    }
    return TaggerEmbedder(
        sample_rate=tagger.sample_rate,
        dims=network.embedding_dim,
        identity=identity | _lengths(windows, tagger.sample_rate, network.embedding_dim),
        scratch_folder=tagger.scratch_folder,
        tagger=network,
        extractor=extractor,
        windows=windows,
        of=tagger,
    )


def of_weights(
    path: Path,
    scratch_folder: Path,
    *,
    window: float | None = None,
    hop: float | None = None,
    pca: Path | None = None,
    activation: str = "",
) -> SegmentEmbedder:
    """The embedder of published weights: mn, ced, cnn14, yamnet, or VGGish.

    Args:
        path: as `earmark convert` wrote them.
        window, hop: of segments, in seconds; VGGish has its own.
        pca, activation: of VGGish alone, see `Embedder.load`; "relu" by default.

    Raises:
        UserError: a file is missing, or holds something else.
        WrongUse: an option is not of this network.
    """
    if not names_a_backbone(path):
        if window is not None or hop is not None:
            raise WrongUse("--window, --hop: VGGish embeds 0.96 s at a time; leave them out")
        return _of_vggish(path, scratch_folder, pca=pca, activation=activation or "relu")
    found = pretrained_of(path)
    for option, value in (("--pca", pca), ("--activation", activation)):
        if value:
            raise WrongUse(f"{option}: is for VGGish; {path.name} is of {found.network}")
    return _of_backbone(found, path, scratch_folder, _windows(window, hop, DEFAULT))


def _of_backbone(
    found: Pretrained, path: Path, scratch_folder: Path, windows: Windows
) -> BackboneEmbedder:
    if windows.window_seconds > _LONGEST_SECONDS:
        raise WrongUse(f"--window {windows.window_seconds}: at most {_LONGEST_SECONDS:g} s")
    rate = found.options["target_hz"] if found.type == "cnn14" else _RATES[found.type]
    sha256 = sha256_of(path)
    options = {**found.options, "weights": str(path), "weights_sha256": sha256}
    backbone = build(found.type, options, sample_rate=rate)
    assert isinstance(backbone, Backbone), "pretrained_of finds no others"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    (dims,) = backbone.row_shape
    identity = {
        "network": found.network,
        "weights_sha256": sha256,
        "feature": {"type": found.type, **found.options},
    }
    return BackboneEmbedder(
        sample_rate=rate,
        dims=dims,
        identity=identity | _lengths(windows, rate, dims),
        scratch_folder=scratch_folder,
        backbone=backbone,
        network=deepcopy(backbone.load()).to(device),
        device=device,
        windows=windows,
    )


def _of_vggish(
    path: Path, scratch_folder: Path, *, pca: Path | None, activation: str
) -> VggishEmbedder:
    if activation not in ("relu", "none"):
        raise WrongUse(f"--activation {activation}: there are relu and none")
    embedder = Embedder.load(path, activation=activation, pca=pca)
    dims = embedder.network.feature_dim
    assert dims is not None, "VGGish's features are vectors"
    identity = {
        "network": "vggish",
        "weights_sha256": sha256_of(path),
        "pca_sha256": sha256_of(pca) if pca else "",
        "activation": activation,
    }
    windows = Windows(window_seconds=PATCH_SECONDS, hop_seconds=PATCH_SECONDS)
    return VggishEmbedder(
        sample_rate=embedder.sample_rate,
        dims=dims,
        identity=identity | _lengths(windows, embedder.sample_rate, dims),
        scratch_folder=scratch_folder,
        embedder=embedder,
    )


def _windows(window: float | None, hop: float | None, usual: Windows) -> Windows:
    """Those that are given, else the usual; a window that is given alone is its own hop."""
    for option, value in (("--window", window), ("--hop", hop)):
        if value is not None and not 0 < value < float("inf"):
            raise WrongUse(f"{option} {value}: give a positive number of seconds")
    if window is None:
        return Windows(
            window_seconds=usual.window_seconds,
            hop_seconds=usual.hop_seconds if hop is None else hop,
        )
    return Windows(window_seconds=window, hop_seconds=window if hop is None else hop)


def _lengths(windows: Windows, sample_rate: int, dims: int) -> dict[str, Any]:
    return {
        "sample_rate": sample_rate,
        "window_seconds": windows.window_seconds,
        "hop_seconds": windows.hop_seconds,
        "dims": dims,
    }


def mean_embedding(embedder: SegmentEmbedder, path: Path, **part: float | None) -> NDArray[Any]:
    """The mean `(D,)` of a recording's segments, or of those of a part of it (start, end).

    Raises:
        UnusableAudio: it cannot be used.
    """
    total, n_segments = np.zeros(embedder.dims), 0
    for values, _, _ in embedder.embed(path, **part):
        total += values.sum(axis=0, dtype=np.float64)
        n_segments += len(values)
    if not n_segments:  # no whole patch
        raise UserError(f"{name_of(path)}: too short for one segment")
    mean: NDArray[np.float64] = total / n_segments
    return mean
