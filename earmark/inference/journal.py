"""What has been tagged so far, file by file, so that a run that was broken off goes on."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from earmark.errors import UserError


class Journal:
    """A file of json lines: the settings, then what came of each recording.

    It is another run's where its settings differ, and then refused. A line that a kill cut short
    does not count. A recording that changed since counts as not done.

    Args:
        path: of the file, which is made if it is not there.
        settings: on which answers depend.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self._done: set[str] = set()
        if path.exists():
            self._go_on(settings)
            self._file = path.open("a", encoding="utf-8")
        else:
            self._file = path.open("w", encoding="utf-8")
            self._append({"settings": settings})

    def _go_on(self, settings: dict[str, Any]) -> None:
        whole = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file):
                try:
                    entry = json.loads(line) if line.endswith(b"\n") else None
                except ValueError:
                    entry = None
                if entry is None:
                    break
                if number == 0 and entry.get("settings") != settings:
                    fix = "repeat that run, or delete the file to start anew"
                    raise UserError(f"{self.path}: is of a run with other settings; {fix}")
                if number:
                    self._done.add(entry["key"])
                whole += len(line)
        if not whole:
            raise UserError(f"{self.path}: is no journal; delete it to start anew")
        os.truncate(self.path, whole)

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
