"""What networks read: features cut into segments, padded, stacked and standardised.

Shapes: B segments, S rows of a segment, N rows of a clip, T samples, M mel bins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earmark.features import segments
from earmark.features.segments import Crop, Padding
from earmark.seeding import rng_for
from earmark.store import Store

Rows = NDArray[Any]


def default_padding(kind: str) -> Padding:
    """How a short clip of a kind is filled unless its model says otherwise.

    Shan & Ren, section 2.1: zeros. Xu et al., section 3.1: a short bag is repeated.
    """
    return "tile" if kind in ("embedding", "patches") else "right"


@dataclass(frozen=True, kw_only=True)
class Input:
    """Features of one kind, as one network reads them.

    `lengths` are those of its segments in rows, the first its own; networks that read several take
    one of them a batch in training, and all of them in turn when they tag. `mean` and `std` hold
    one value, or one a column of the features.
    """

    kind: str
    options: dict[str, Any]
    sample_rate: int
    lengths: list[int]
    aggregation: Literal["confident_crop", "mean"]
    padding: Padding
    silence: list[float]
    mean: list[float]
    std: list[float]

    @property
    def segment_rows(self) -> int:
        return self.lengths[0]

    def cut(self, rows: Rows, place: Crop, n_rows: int | None = None) -> Rows:
        """The segment `(S, ...)` at a place, of this input's own length unless another is given."""
        silence = np.asarray(self.silence, dtype=rows.dtype)
        silence = silence[0] if rows.ndim == 1 else silence
        return segments.cut(rows, place, n_rows or self.segment_rows, silence=silence)

    def draw_length(self, rng: np.random.Generator) -> int:
        return self.lengths[int(rng.integers(len(self.lengths)))]

    def covering_crops(self, n_rows: int, length: int) -> list[Crop]:
        """The places of the segments that together are the clip."""
        if self.padding == "tile":
            starts = segments.chunk_starts(n_rows, length)
        else:
            starts = segments.covering_starts(n_rows, length)
        return [self._fixed(n_rows, length, start) for start in starts.tolist()]

    def even_crops(self, rows: Any, count: int) -> list[Any]:
        """A few segments of each length, spread evenly over a clip."""
        return [
            self.cut(rows, self._fixed(len(rows), length, start), length)
            for length in self.lengths
            for start in segments.even_starts(len(rows), length, count).tolist()
        ]

    def crops(self, rows: Any, *, n_crops: int, seed: int, clip: str) -> list[Any]:
        """The segments of a held-out clip: random for the re-crop rule, else such as cover it.

        With several lengths they come in turn, so that a clip that stays doubtful is tried at each.
        A clip that is not longer than a segment has one crop of that length.
        """
        rng = rng_for(seed, "crop", clip)
        by_length = [
            [
                self.cut(rows, place, length)
                for place in self._places(len(rows), length, n_crops, rng)
            ]
            for length in self.lengths
        ]
        return [crop for crop in chain(*zip_longest(*by_length)) if crop is not None]

    def _places(
        self, n_rows: int, length: int, n_crops: int, rng: np.random.Generator
    ) -> list[Crop]:
        if self.aggregation == "mean":
            return self.covering_crops(n_rows, length)
        n_drawn = n_crops if n_rows > length else 1
        starts = [segments.random_start(n_rows, length, rng) for _ in range(n_drawn)]
        return [self._fixed(n_rows, length, start) for start in starts]

    def _fixed(self, n_rows: int, length: int, start: int) -> Crop:
        return segments.fixed_crop(n_rows, length, self.padding, start)

    def stack(self, crops: Sequence[Any]) -> Any:
        return np.stack(crops)

    def raw(self, batch: Any, device: str) -> Tensor:
        """Segments as stored `(B, S, ...)` -> float32, never in the memory of `batch`."""
        return torch.from_numpy(batch).to(device, torch.float32, copy=True)

    def standardise(self, x: Tensor) -> Tensor:
        """What the network reads, in place; patches are stacked in time to `(B, S * 96, 64)`."""
        mean, std = (torch.tensor(v, device=x.device) for v in (self.mean, self.std))
        x = x.sub_(mean).div_(std)
        return x.flatten(1, 2) if self.kind == "patches" else x

    def tensor(self, batch: Any, device: str) -> Any:
        return self.standardise(self.raw(batch, device))


@dataclass(frozen=True)
class Pair:
    """The waveform `(T,)` and the frames `(N, M)` of one clip, or of one segment of it."""

    audio: Rows
    spec: Rows

    def __len__(self) -> int:
        """How many frames, the coarser of the two rows."""
        return len(self.spec)


@dataclass(frozen=True, kw_only=True)
class JointInput(Input):
    """A waveform and its frames, cut at the same place (Lederle & Wilhelm, section 2).

    What Input holds is that of the frames.
    """

    audio: Input
    hop_length: int

    def cut(self, rows: Any, place: Crop, n_rows: int | None = None) -> Any:
        audio = self.audio.cut(rows.audio, place.scaled(self.hop_length))
        return Pair(audio, super().cut(rows.spec, place, n_rows))

    def stack(self, crops: Sequence[Any]) -> Any:
        return Pair(np.stack([c.audio for c in crops]), np.stack([c.spec for c in crops]))

    def raw(self, batch: Any, device: str) -> Any:
        return self.audio.raw(batch.audio, device), super().raw(batch.spec, device)

    def standardise(self, x: Any) -> Any:
        return self.audio.standardise(x[0]), super().standardise(x[1])


@dataclass(frozen=True)
class JointStore:
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

    def rows(self, line: int) -> Pair:
        return Pair(self.audio.rows(line), self.spec.rows(line))
