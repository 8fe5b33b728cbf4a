"""The trimmed clips: where each lies among the decoded samples, and how loud it was.

Samples are made of the decoded ones whenever they are read, so that they are on the disk once.
Shapes: T samples.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from earmark.errors import DamagedError, reading
from earmark.records import read_json, read_table, write_json, write_table
from earmark.sound.samples import Int16
from earmark.sound.trimming import Part
from earmark.spool import IN_MEMORY, Scratch, Spool, release
from earmark.store import Store, index_digest
from earmark.whole_files import whole_folder

_COLUMNS = ("clip", "split", "trimmed_start", "length", "peak", "kept_whole", "sha256")


@dataclass(frozen=True, eq=False)
class TrimmedClips:
    """Opened trimmed clips.

    Attributes:
        index: one row per clip, in the order of `decoded`: clip, split, trimmed_start and length in
            samples, peak (see `Part`), kept_whole, and sha256 of the samples.
        metadata: the entries of store.json, such as sample_rate.
        decoded: the store of the samples.
    """

    index: pd.DataFrame
    metadata: dict[str, Any]
    decoded: Store

    @classmethod
    def open(cls, folder: Path, decoded: Path) -> "TrimmedClips":
        """Open data/trimmed with data/decoded.

        Raises:
            UserError: one of them does not exist.
            DamagedError: one of them is damaged, or they do not fit each other.
        """
        store, metadata = Store.open(decoded), read_json(folder / "store.json")
        index = read_table(folder / "index.parquet", *_COLUMNS)
        clips = cls(index, metadata, store)
        with reading(folder / "index.parquet"):
            ends = index["trimmed_start"] + index["length"]
            is_inside = (index["trimmed_start"] >= 0) & (ends <= store.index["length"])
        if metadata["decoded"] != store.digest or not is_inside.all():
            raise DamagedError(folder, f"it was not made of the clips in {decoded.name}")
        return clips

    def __len__(self) -> int:
        return len(self.index)

    def waveform(self, position: int, *, scratch: Scratch = IN_MEMORY) -> Int16:
        """The samples (T,) of a clip, as `earmark.sound.trimming.trim` gives them.

        Args:
            position: in the index.
            scratch: where they go if they are too many for memory; not to be shared.
        """
        return self._samples(position, self._part(position), scratch)

    def beginning(self, position: int, n_samples: int) -> Int16:
        """The first samples (T,) of a clip, `n_samples` at most."""
        part = self._part(position)
        end = min(part.end, part.start + n_samples)
        return self._samples(position, Part(part.start, end, part.peak, part.kept_whole), IN_MEMORY)

    def _samples(self, position: int, part: Part, scratch: Scratch) -> Int16:
        decoded = self.decoded.rows(position)
        if not part.peak:
            view: Int16 = decoded[part.start : part.end]
            return view
        spool = Spool(decoded.dtype, scratch=scratch)
        for block in part.blocks(decoded):
            spool.append(block)
        release(decoded)
        return np.asarray(spool.rows())

    def _part(self, position: int) -> Part:
        row = self.index.iloc[position]
        start, length = int(row["trimmed_start"]), int(row["length"])
        return Part(start, start + length, int(row["peak"]), bool(row["kept_whole"]))

    @property
    def digest(self) -> str:
        """A hash of the samples of all clips and of the index, known without reading them."""
        return index_digest(self.index, self.metadata)


def write_trimmed(folder: Path, rows: Iterable[dict[str, Any]], decoded: Store) -> pd.DataFrame:
    """Write data/trimmed; returns its index.

    Args:
        folder: is made, or replaced.
        rows: of the index, one per clip of the store, in its order.
        decoded: the clips that they are parts of.
    """
    index = pd.DataFrame(list(rows), columns=list(_COLUMNS))
    with whole_folder(folder) as part:
        write_table(part / "index.parquet", index)
        rate = decoded.metadata["sample_rate"]
        write_json(part / "store.json", {"sample_rate": rate, "decoded": decoded.digest})
    return index
