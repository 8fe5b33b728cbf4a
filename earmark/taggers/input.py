"""What networks read: features cut into segments, padded, stacked and standardised.

Shapes: B segments, S rows of a segment, N rows of a clip, T samples, M mel bins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, zip_longest
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earmark.errors import UserError
from earmark.features import FeatureType, find, segments
from earmark.features.feature_type import Mix
from earmark.features.segments import Crop
from earmark.params import AggregationKey, Crops, MixupAt, Padding
from earmark.seeding import rng_for
from earmark.spool import release
from earmark.store import Store
from earmark.taggers.device import on_device

Rows = NDArray[Any]

_LARGEST_WHOLE_BYTES = 1 << 28  # of a clip that a network reads at once; three hours of patches


def crops_of(aggregation: AggregationKey) -> list[Crops]:
    """The crops that an aggregation is made of."""
    if aggregation == "best_out_of_fold":
        return ["cover", "random"]
    return ["cover" if aggregation == "mean" else "random"]


def crop_rng(seed: int, *, member: str, fold: str, sha256: str) -> np.random.Generator:
    """The generator of a clip's random crops: others for every network, the same for equal sound.

    Networks that see different parts of a clip err less alike, so their mean gains more.

    Args:
        seed: that of params.yaml.
        member: name of the model, with its extractor.
        fold: of the network.
        sha256: of the trimmed waveform, see `trimming.Trimmed`; no name of a file, so that a
            renamed copy has the same probabilities.
    """
    return rng_for(seed, "crop", member, fold, sha256)


@dataclass(frozen=True, kw_only=True)
class Input:
    """A feature as one network reads it.

    Attributes:
        feature: its name in params.yaml.
        type_name: of its type, a key of FEATURE_TYPES.
        options: those of the type.
        sample_rate: of the waveforms that it is made of, in Hz.
        lengths: of segments, in rows, the first its own; 0 is that of the clip. Networks that read
            several take one of them for each batch in training, and all in turn when they tag.
        padding: how a clip that is shorter than its segment is filled.
        silence: one row of silence, or one value.
        mean, std: one value, or one for each column of the feature.

    >>> logmel = {"n_fft": 2048, "hop_length": 512, "n_mels": 80, "f_min_hz": 0.0, "f_max_hz": 8e3}
    >>> input_ = Input(
    ...     feature="logmel", type_name="logmel", options=logmel, sample_rate=44_100, lengths=[173],
    ...     padding="right", silence=[-100.0], mean=[-40.0], std=[20.0],
    ... )  # fmt: skip
    >>> clip = np.zeros((400, 80), np.float16)  # 4.6 s: (frames, mels)
    >>> segments = input_.even_segments(clip, 3)
    >>> [segment.shape for segment in segments]
    [(173, 80), (173, 80), (173, 80)]
    >>> input_.tensor(input_.stack(segments), "cpu").shape
    torch.Size([3, 173, 80])
    """

    feature: str
    type_name: str
    options: dict[str, Any]
    sample_rate: int
    lengths: list[int]
    padding: Padding
    silence: list[float]
    mean: list[float]
    std: list[float]

    @property
    def feature_type(self) -> type[FeatureType]:
        return find(self.type_name)

    @property
    def segment_rows(self) -> int:
        return self.lengths[0]

    def cut(self, rows: Rows, crop: Crop, n_rows: int | None = None) -> Rows:
        """The segment `(S, ...)` of a crop, of this input's own length unless another is given."""
        length = n_rows or self.segment_rows or len(rows)
        silence = np.asarray(self.silence, dtype=rows.dtype)
        silence = silence[0] if rows.ndim == 1 else silence
        return segments.cut(rows, crop, length, silence=silence)

    def draw_length(self, rng: np.random.Generator) -> int:
        return self.lengths[int(rng.integers(len(self.lengths)))]

    def covering_crops(self, n_rows: int, length: int) -> list[Crop]:
        """The crops that together are the clip."""
        length = length or n_rows
        if self.padding == "tile":
            starts = segments.chunk_starts(n_rows, length)
        else:
            starts = segments.covering_starts(n_rows, length)
        return [self._fixed(n_rows, length, start) for start in starts.tolist()]

    def covering_segments(self, rows: Any) -> list[Any]:
        """The segments of each length that together are the clip: one where it is read whole."""
        return [
            self.cut(rows, crop, length)
            for length in self.lengths
            for crop in self.covering_crops(len(rows), length)
        ]

    def even_segments(self, rows: Any, count: int) -> list[Any]:
        """A few segments of each length, spread evenly over a clip."""
        return [
            self.cut(rows, self._fixed(len(rows), length, start), length)
            for length in self.lengths
            for start in segments.even_starts(len(rows), length or len(rows), count).tolist()
        ]

    def prediction_segments(
        self,
        rows: Any,
        *,
        crops: Crops,
        n_crops: int,
        rng: np.random.Generator | None,
    ) -> list[Any]:
        """The segments of a clip that is predicted.

        With several lengths they come in turn, so that a clip without a confident crop is tried at
        each. A clip that is not longer than a segment has one crop of that length.

        Args:
            rows: of the clip, `(N, ...)`.
            crops: those that cover the clip, or random ones.
            n_crops: how many random ones of each length.
            rng: that of the clip, see `crop_rng`; crops that cover it need none.
        """
        by_length = []
        for length in self.lengths:
            if crops == "cover":
                chosen = self.covering_crops(len(rows), length)
            else:
                assert rng is not None, "who asks for random crops gives the generator"
                chosen = self._random_crops(len(rows), length, n_crops, rng)
            by_length.append([self.cut(rows, crop, length) for crop in chosen])
        return [segment for segment in chain(*zip_longest(*by_length)) if segment is not None]

    def _random_crops(
        self, n_rows: int, length: int, n_crops: int, rng: np.random.Generator
    ) -> list[Crop]:
        length = length or n_rows
        n_drawn = n_crops if n_rows > length else 1
        starts = [segments.random_start(n_rows, length, rng) for _ in range(n_drawn)]
        return [self._fixed(n_rows, length, start) for start in starts]

    def _fixed(self, n_rows: int, length: int, start: int) -> Crop:
        return segments.fixed_crop(n_rows, length, self.padding, start)

    def stack(self, batch: Sequence[Any]) -> Any:
        """One array of all segments; whole clips are as long as the longest, NaN at their ends."""
        if self.segment_rows == 0:
            longest = max(len(segment) for segment in batch)
            self._check_whole(longest, batch[0])
            batch = [_filled(segment, longest) for segment in batch]
        return np.stack(batch)

    def _check_whole(self, n_rows: int, segment: Rows) -> None:
        n_bytes = n_rows * segment[:1].size * np.dtype(np.float32).itemsize
        if n_bytes > _LARGEST_WHOLE_BYTES:
            most = _LARGEST_WHOLE_BYTES * n_rows // n_bytes
            raise UserError(
                f"a clip has {n_rows} rows of feature {self.feature}, and a network that reads "
                f"whole clips can read {most}; cut the recording, or give the model's input a "
                f"{self.feature_type.segment_key} that is a number"
            )

    def release(self, segment: Any) -> None:
        """Give the memory back of a mapped file that a segment is a view of."""
        release(segment)

    def raw(self, batch: Any, device: str) -> Tensor:
        """Segments as stored `(B, S, ...)` -> float32, never in the memory of `batch`."""
        if not isinstance(batch, Tensor):
            writable = batch if batch.flags.writeable else batch.copy()  # or torch warns
            batch = on_device(writable, device)
        raw: Tensor = batch.to(torch.float32, copy=True)
        return raw

    def mix(self, raw: Any, mix: Mix, at: MixupAt) -> Any:
        """Mixup of raw segments, as they are or as if their waveforms had been mixed."""
        if at == "features":
            return mix(raw)
        if at == "equal_loudness":
            mix = mix.at_equal_loudness(self.feature_type.amplitudes(raw))
        return self.feature_type.mix_as_waveforms(raw, mix.like(raw))

    def standardise(self, x: Tensor) -> Tensor:
        """What the network reads, in place."""
        mean, std = (_constants(tuple(v), x.device) for v in (self.mean, self.std))
        view: Tensor = self.feature_type.network_view(x.sub_(mean).div_(std))
        return view

    def tensor(self, batch: Any, device: str) -> Any:
        return self.standardise(self.raw(batch, device))


@lru_cache(maxsize=64)
def _constants(values: tuple[float, ...], device: torch.device) -> Tensor:
    """One tensor for all clips."""
    with torch.inference_mode(mode=False):  # or gradients could not go through it
        return torch.tensor(values, device=device)


def _filled(rows: Rows, length: int) -> Rows:
    ends = [(0, length - len(rows)), *[(0, 0)] * (rows.ndim - 1)]
    return np.pad(rows, ends, constant_values=np.nan)


@dataclass(frozen=True)
class Pair:
    """The waveform `(T,)` and the frames `(N, M)` of one clip, or of one segment of it."""

    audio: Rows
    spec: Rows

    def __len__(self) -> int:
        """How many frames, the coarser of the two rows."""
        return len(self.spec)


@dataclass(frozen=True, kw_only=True)
class FusionInput(Input):
    """A waveform and its frames, cut at the same moment (Lederle & Wilhelm, figure 2).

    What Input holds is that of the frames.
    """

    audio: Input
    hop_length: int

    def cut(self, rows: Any, crop: Crop, n_rows: int | None = None) -> Any:
        audio = self.audio.cut(rows.audio, crop.scaled(self.hop_length))
        return Pair(audio, super().cut(rows.spec, crop, n_rows))

    def stack(self, batch: Sequence[Any]) -> Any:
        return Pair(np.stack([c.audio for c in batch]), np.stack([c.spec for c in batch]))

    def release(self, segment: Any) -> None:
        self.audio.release(segment.audio)
        super().release(segment.spec)

    def raw(self, batch: Any, device: str) -> Any:
        return self.audio.raw(batch.audio, device), super().raw(batch.spec, device)

    def mix(self, raw: Any, mix: Mix, at: MixupAt) -> Any:
        if at == "equal_loudness":  # of the waveforms, for both
            amplitudes = self.audio.feature_type.amplitudes(raw[0])
            mix, at = mix.at_equal_loudness(amplitudes), "waveform"
        return self.audio.mix(raw[0], mix, at), super().mix(raw[1], mix, at)

    def standardise(self, x: Any) -> Any:
        return self.audio.standardise(x[0]), super().standardise(x[1])


@dataclass(frozen=True)
class FusionStore:
    """Two stores of the same clips and variants, read as one."""

    audio: Store
    spec: Store

    def __post_init__(self) -> None:
        ours, theirs = (store.index[["clip", "variant"]] for store in (self.audio, self.spec))
        assert ours.equals(theirs), "both features are made of the same clips in the same order"

    @property
    def index(self) -> Any:
        return self.spec.index

    @property
    def metadata(self) -> dict[str, Any]:
        return self.spec.metadata

    @property
    def digest(self) -> str:
        return self.audio.digest + self.spec.digest

    def __len__(self) -> int:
        return len(self.spec)

    def rows(self, position: int) -> Pair:
        return Pair(self.audio.rows(position), self.spec.rows(position))
