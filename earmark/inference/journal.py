"""What has been tagged so far, file by file, so that a run that was broken off goes on."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from earmark.errors import UserError
from earmark.file_locks import lock_now

_FIRST = b'{"settings": '  # how the first line begins


class Journal:
    """A file of json lines: the settings, then what came of each recording.

    It is another run's where its settings differ, and then refused. A line that a kill or a full
    disk cut short does not count. A recording that changed since counts as not done.

    Args:
        path: of the file, which is made if it is not there.
        settings: on which answers depend.

    Raises:
        UserError: it is of other settings or is no journal, or another program writes to it.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self._done: set[str] = set()
        self._file = path.open("a", encoding="utf-8")
        try:
            self._lock()
            if not self._go_on(settings):
                self._append({"settings": settings})
        except BaseException:
            self._file.close()
            raise

    def _lock(self) -> None:
        """Two programs that write the same output would mix their lines."""
        try:
            is_ours = lock_now(self._file)
        except OSError:  # a file system without locks
            return
        # The other one may have ended and removed the file meanwhile.
        if not (is_ours and self.path.exists() and _is_same(self.path, self._file)):
            raise UserError(f"{self.path}: another program writes to it; wait until it ends")

    def _go_on(self, settings: dict[str, Any]) -> bool:
        """Read what is there, and cut off what is not whole; whether there is anything."""
        whole, start = 0, b""
        with self.path.open("rb") as file:
            for number, line in enumerate(file):
                start = start or line
                try:
                    entry = json.loads(line) if line.endswith(b"\n") else None
                except ValueError:
                    entry = None
                if not isinstance(entry, dict) or (number and "key" not in entry):
                    break
                if number == 0 and entry.get("settings") != settings:
                    fix = "repeat that run, or delete the file to start anew"
                    raise UserError(f"{self.path}: is of a run with other settings; {fix}")
                if number:
                    self._done.add(entry["key"])
                whole += len(line)
        if not whole and not _FIRST.startswith(start[: len(_FIRST)]):
            raise UserError(f"{self.path}: is no journal; delete it to start anew")
        os.truncate(self.path, whole)
        return whole > 0

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def is_done(self, path: Path) -> bool:
        return _key(path) in self._done

    def add(self, path: Path, entry: dict[str, Any]) -> None:
        """Note what came of a recording, to the disk."""
        key = _key(path)
        self._append({"key": key, "path": str(path), **entry})
        self._done.add(key)

    def _append(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()

    def entries(self, paths: list[Path]) -> Iterator[dict[str, Any]]:
        """What came of these recordings, each once, in the order in which they were done."""
        wanted = {_key(path) for path in paths}
        for entry in self.all_entries():
            if entry["key"] in wanted:
                wanted.discard(entry["key"])
                yield entry

    def all_entries(self) -> Iterator[dict[str, Any]]:
        """What came of every recording, in the order in which they were done."""
        with self.path.open(encoding="utf-8") as file:
            next(file)
            for line in file:
                yield json.loads(line)


def _key(path: Path) -> str:
    """Of a file as it is now; one that is not there has its name."""
    try:
        state = path.stat()
    except OSError:
        return str(path.absolute())
    return f"{path.absolute()} {state.st_size} {state.st_mtime_ns}"


def _is_same(path: Path, file: TextIO) -> bool:
    """Whether an open file is still the one at its path."""
    return os.path.samestat(path.stat(), os.fstat(file.fileno()))
