"""Features that lie on the device as a whole, so that batches are gathered there.

A GPU that is fed from the memory of the host waits for it: each batch is cut by the processor and
copied. A corpus of features is a few GB and most GPUs have more; then only the numbers of clips and
the starts of crops are copied. Shapes: R rows of a store, B segments, S rows of a segment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earmark.features.segments import Crop
from earmark.store import Store
from earmark.taggers.device import on_device
from earmark.taggers.input import FusionInput, FusionStore, Input, Pair

SHARE_OF_FREE = 0.5  # of a GPU's memory; the rest is the network's


class Cut(NamedTuple):
    """A segment that a batch holds: where it is cut, and out of which entry of the store."""

    entry: int
    crop: Crop


@dataclass(frozen=True)
class ResidentStore:
    """The rows of a store on a device.

    Attributes:
        rows: `(R, ...)`, those of all shards.
        firsts: the row that each entry begins with.
        lengths: how many rows each entry has.
        silence: one row, or one value.
    """

    rows: Tensor
    firsts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    silence: Tensor

    @classmethod
    def of(cls, store: Store, input_: Input, device: str) -> "ResidentStore":
        """Copy the rows of a store, unless another training of this process has them there."""
        key = _key(store, input_, device)
        held = _HELD.get(key)
        if held is None:
            held = _HELD[key] = cls._copied(store, input_, device)
            if device == "cuda":
                torch.cuda.synchronize()  # other trainings read it in other streams
        return held

    @classmethod
    def _copied(cls, store: Store, input_: Input, device: str) -> "ResidentStore":
        shards = [torch.from_numpy(shard).to(device) for shard in store.shards]
        rows = shards[0] if len(shards) == 1 else torch.cat(shards)
        before = np.cumsum([0, *(len(shard) for shard in store.shards)])
        shard, start, length = store.index[["shard", "start", "length"]].to_numpy(np.int64).T
        silence = np.asarray(input_.silence, dtype=store.shards[0].dtype)
        silence = silence.reshape(()) if rows.ndim == 1 else silence
        return cls(rows, before[shard] + start, length, torch.from_numpy(silence).to(device))

    def segments(self, cuts: Sequence[Cut], n_rows: int) -> Tensor:
        """The segments `(B, S, ...)` that `earmark.features.segments.cut` gives, to the last bit.

        Args:
            cuts: of the B segments.
            n_rows: S.
        """
        entries = [entry for entry, _ in cuts]
        table = np.column_stack(
            [self.firsts[entries], self.lengths[entries], [crop for _, crop in cuts]]
        )
        device = self.rows.device
        places = on_device(table.T.astype(np.int64, order="C"), device.type)  # at once
        first, length, start, period, rotation = places[:, :, None]  # each (B, 1)
        positions = start + torch.arange(n_rows, device=device)  # (B, S)
        positions = torch.where(period > 0, positions % period.clamp(min=1), positions)
        is_clip = (positions >= 0) & (positions < length)
        rows = self.rows[first + (positions + rotation) % length]
        is_clip = is_clip.view(*is_clip.shape, *[1] * (rows.ndim - 2))
        return torch.where(is_clip, rows, self.silence)


# By store and device: one copy for all folds of a corpus, for as long as any of them trains.
_HELD: WeakValueDictionary[tuple[str, ...], ResidentStore] = WeakValueDictionary()


def _key(store: Store, input_: Input, device: str) -> tuple[str, ...]:
    return store.digest, repr(np.asarray(input_.silence).tolist()), device


@dataclass(frozen=True)
class ResidentPair:
    """Both stores of a network that reads a waveform and its frames, cut at the same moment."""

    audio: ResidentStore
    spec: ResidentStore
    input: FusionInput

    def segments(self, cuts: Sequence[Cut], n_rows: int) -> Pair:
        hop = self.input.hop_length
        of_audio = [Cut(entry, crop.scaled(hop)) for entry, crop in cuts]
        audio: Any = self.audio.segments(of_audio, self.input.audio.segment_rows)
        spec: Any = self.spec.segments(cuts, n_rows)
        return Pair(audio, spec)


Resident = ResidentStore | ResidentPair


def resident(store: Store | FusionStore, input_: Input, device: str) -> Resident:
    """The rows of a store on a device."""
    stores = [ResidentStore.of(*part, device) for part in _parts(store, input_)]
    if isinstance(input_, FusionInput):
        return ResidentPair(stores[0], stores[1], input_)
    return stores[0]


def _parts(store: Store | FusionStore, input_: Input) -> list[tuple[Store, Input]]:
    if isinstance(store, FusionStore):
        assert isinstance(input_, FusionInput)
        return [(store.audio, input_.audio), (store.spec, input_)]
    return [(store, input_)]


def resident_if_it_fits(store: Store | FusionStore, input_: Input, device: str) -> Resident | None:
    """The rows on a GPU where they fit; None on the CPU, whose memory they are in already.

    None too for a network that reads whole clips: a batch of them is as long as the longest, and
    what they read are embeddings, a few rows a clip.
    """
    if device == "cpu" or 0 in input_.lengths:
        return None
    missing = [part for part, of in _parts(store, input_) if _key(part, of, device) not in _HELD]
    needed = sum(shard.nbytes for part in missing for shard in part.shards)
    free, _ = torch.cuda.mem_get_info()
    return resident(store, input_, device) if needed < SHARE_OF_FREE * free else None
