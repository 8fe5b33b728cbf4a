"""Which unfinished runs of this repository are whose: a killed training finds its run again.

A claim is a file named by a random token, beside the checkpoint of the training; the run has the
token as a tag. The process that follows the run holds a lock on the file, which the system drops
with it: a claim that is not locked belongs to the dead. It is written before the run is made, so
that no kill falls between them, and removed once the run is recorded as finished.
"""

from contextlib import suppress
from pathlib import Path
from typing import TextIO
from uuid import uuid4

from earmark.file_locks import lock_now

TOKEN_TAG = "earmark.token"
PREFIX = "run-"


class Claim:
    """The claim of this process on one run, for as long as it lives."""

    def __init__(self, work: Path) -> None:
        """Take over what a dead process left in the folder of this very work, or make a new one."""
        for path in sorted(work.glob(f"{PREFIX}*")):
            if file := _locked(path):
                break
        else:
            path = work / f"{PREFIX}{uuid4().hex}"
            path.touch()
            file = _locked(path)
        self._path, self._file = path, file
        self.token = path.name.removeprefix(PREFIX)

    def dead_tokens(self) -> set[str]:
        """The tokens of other works whose processes are dead, killed or stopped."""
        found = set()
        for path in self._path.parent.parent.glob(f"*/{PREFIX}*"):
            if path != self._path and (file := _locked(path)):
                file.close()
                found.add(path.name.removeprefix(PREFIX))
        return found

    def drop(self) -> None:
        """The run is finished: nobody will continue it."""
        self._path.unlink(missing_ok=True)
        with suppress(OSError):  # others work there
            self._path.parent.rmdir()

    def release(self) -> None:
        """The run is as good as dead, for this process follows it no longer."""
        if self._file:
            self._file.close()


def _locked(path: Path) -> TextIO | None:
    """The file with a lock that nobody else holds; None if somebody does, or if it is gone."""
    try:
        file = path.open("r+")
    except FileNotFoundError:
        return None
    if lock_now(file) and path.exists():  # it may be finished, and dropped, in between
        return file
    file.close()
    return None
