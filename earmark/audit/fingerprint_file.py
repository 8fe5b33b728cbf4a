"""The fingerprints of a corpus, in a file without a name where they are too many for memory."""

from array import array
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from earmark.audit.fingerprints import N_WEAKEST, Fingerprint
from earmark.spool import Scratch, Spool, release

_FRAME = np.dtype([("code", "<u4"), ("reliable", "<u4"), ("weakest", "u1", N_WEAKEST)])
_READS = 1024  # clips between two moments at which mapped memory is given back


class FingerprintFile(Sequence[Fingerprint]):
    """Fingerprints by number, of which a few are in memory at a time.

    Args:
        folder: where the file goes; None keeps all in memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._spool = Spool(_FRAME, scratch=Scratch(folder))
        self._ends, self._steps = array("q", [0]), array("b")
        self._n_reads = 0

    def append(self, fingerprint: Fingerprint) -> None:
        """Add a fingerprint, before any is read."""
        rows = np.empty(len(fingerprint), _FRAME)
        rows["code"], rows["reliable"] = fingerprint.codes, fingerprint.reliable
        rows["weakest"] = fingerprint.weakest
        self._spool.append(rows)
        self._ends.append(len(self._spool))
        self._steps.append(fingerprint.step)

    @cached_property
    def _rows(self) -> NDArray[Any]:
        return np.asarray(self._spool.rows())

    def __len__(self) -> int:
        return len(self._steps)

    @overload
    def __getitem__(self, number: int) -> Fingerprint: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Fingerprint]: ...
    def __getitem__(self, number: int | slice) -> Fingerprint | Sequence[Fingerprint]:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        self._n_reads += 1
        if self._n_reads % _READS == 0:
            release(self._rows)
        rows = self._rows[self._ends[number] : self._ends[number + 1]]
        return Fingerprint(
            codes=rows["code"].copy(),
            reliable=rows["reliable"].copy(),
            weakest=rows["weakest"].copy(),
            step=self._steps[number],
        )
