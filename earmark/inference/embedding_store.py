"""A folder of embeddings: an array that numpy maps into memory, and what each row of it is of.

embeddings/
  embeddings.npy   float32 (N, D), one row a segment
  index.parquet    file, start_seconds and end_seconds of each row
  embeddings.json  what made them: network, checksum of its weights, segments, and from where
  files.jsonl      which recordings are in it; a run that was broken off goes on after them
  errors.csv       recordings that could not be used, if any

Rows are appended behind what the header of the array counts, and the header is written last, so
that the folder can be read at any time. Shapes: N rows, S segments of a recording, D dims.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.csv_files import write_csv
from earmark.errors import DamagedError, UserError, WrongUse, reading
from earmark.file_locks import lock_now
from earmark.inference.embedders import Embedded
from earmark.inference.journal import Journal
from earmark.inference.output_paths import refuse_without_folder
from earmark.records import read_json, read_table, write_json, write_table
from earmark.sound.recordings import name_of
from earmark.whole_files import whole_file

FORMAT = 1
ARRAY, INDEX, ABOUT = "embeddings.npy", "index.parquet", "embeddings.json"
FILES, ERRORS = "files.jsonl", "errors.csv"
_TYPE = np.dtype("<f4")


class EmbeddingWriter:
    """Adds recordings to a folder of embeddings, which is made if it is not there.

    Args:
        folder: of the embeddings.
        identity: what embeddings depend on; the folder may hold no others.
        origin: where the network was read from, to find it again.

    Raises:
        WrongUse: the folder holds something else, or embeddings of another identity.
        UserError: another program writes into it, or it is damaged.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], origin: dict[str, str]) -> None:
        self.folder, self.dims = folder, identity["dims"]
        _prepare(folder, identity, origin)
        self._file = _locked(folder / ARRAY)
        try:
            self._journal = Journal(folder / FILES, {"format": FORMAT, **identity})
            self.n_rows = self._go_on()
        except BaseException:
            self._file.close()
            raise

    def _go_on(self) -> int:
        """Cut off what is of no finished recording; returns how many rows are left."""
        self._refuse_changed()
        n_rows = sum(len(entry.get("starts", ())) for entry in self._journal.all_entries())
        self._file.seek(0, os.SEEK_END)
        if not self._file.tell():
            self._write_header(0)
        begin = _first_byte(self._file)
        wanted = begin + n_rows * self.dims * _TYPE.itemsize
        if self._file.seek(0, os.SEEK_END) < wanted:
            fix = "delete the folder and embed again"
            raise UserError(f"{self.folder / ARRAY}: has fewer rows than {FILES} says; {fix}")
        self._file.truncate(wanted)
        self._file.seek(wanted)
        return n_rows

    def _refuse_changed(self) -> None:
        for entry in self._journal.all_entries():
            path = Path(entry["key"].rsplit(" ", 2)[0])
            if "starts" in entry and path.exists() and not self._journal.is_done(path):
                fix = "embed into another folder, or restore the recording"
                raise UserError(f"{name_of(path)}: changed since it was embedded here; {fix}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._file.close()
            self._journal.__exit__()

    def is_done(self, path: Path) -> bool:
        """Whether a recording, as it is now, was embedded or found unusable."""
        return self._journal.is_done(path)

    def add(self, path: Path, blocks: Iterable[Embedded]) -> int:
        """Embed a recording block by block; returns S, its segments.

        Raises:
            UnusableAudio: as `blocks` does; nothing of the recording is kept then.
        """
        begin = self._file.tell()
        starts: list[float] = []
        ends: list[float] = []
        try:
            for values, first, last in blocks:
                self._file.write(np.ascontiguousarray(values, _TYPE).data)
                starts += first.round(6).tolist()
                ends += last.round(6).tolist()
        except BaseException:
            self._file.seek(begin)
            self._file.truncate()
            raise
        self._file.flush()
        os.fsync(self._file.fileno())  # the rows before the line that counts them
        self._journal.add(path, {"starts": starts, "ends": ends})
        self.n_rows += len(starts)
        return len(starts)

    def fail(self, path: Path, *, reason: str, message: str) -> None:
        """Note that a recording cannot be used."""
        self._journal.add(path, {"error": {"reason": reason, "message": message}})

    def n_failed(self, paths: list[Path]) -> int:
        return sum("error" in entry for entry in self._journal.entries(paths))

    def _finish(self) -> None:
        entries = list(self._journal.all_entries())
        write_table(self.folder / INDEX, _index_of(entries))
        self._file.seek(0)
        self._write_header(self.n_rows)
        self._file.flush()
        os.fsync(self._file.fileno())
        latest = {entry["path"]: entry for entry in entries}
        errors = [{"file": name_of(p), **e["error"]} for p, e in latest.items() if "error" in e]
        if errors:
            with whole_file(self.folder / ERRORS) as part:
                write_csv(part, pd.DataFrame(errors))
        else:
            (self.folder / ERRORS).unlink(missing_ok=True)

    def _write_header(self, n_rows: int) -> None:
        # numpy pads the header, so that it can be overwritten with a larger first axis.
        header = {"descr": _TYPE.str, "fortran_order": False, "shape": (n_rows, self.dims)}
        np.lib.format.write_array_header_1_0(self._file, header)


def _prepare(folder: Path, identity: dict[str, Any], origin: dict[str, str]) -> None:
    if folder.exists() and not folder.is_dir():
        raise WrongUse(f"{folder}: is a file; name a folder")
    refuse_without_folder(folder)
    about = folder / ABOUT
    if not about.exists():
        if folder.is_dir() and any(folder.iterdir()):
            raise WrongUse(f"{folder}: is there and holds no embeddings; name another folder")
        folder.mkdir(exist_ok=True)
        write_json(about, {"format": FORMAT, "identity": identity, "origin": origin})
    elif (differs := difference(read_about(folder)["identity"], identity)) is not None:
        raise WrongUse(f"{folder}: holds embeddings of another {differs}; name another folder")


def _locked(path: Path) -> BinaryIO:
    file = path.open("r+b" if path.exists() else "w+b")
    if not lock_now(file):
        file.close()
        raise UserError(f"{path}: another program writes to it; wait until it ends")
    return file


def _first_byte(file: BinaryIO) -> int:
    """Where the rows begin."""
    file.seek(0)
    np.lib.format.read_magic(file)
    np.lib.format.read_array_header_1_0(file)
    return file.tell()


def _index_of(entries: Iterable[dict[str, Any]]) -> pd.DataFrame:
    done = [entry for entry in entries if "starts" in entry]
    files = [name_of(entry["path"]) for entry in done]
    return pd.DataFrame(
        {
            "file": np.repeat(np.array(files, object), [len(entry["starts"]) for entry in done]),
            "start_seconds": np.array([t for one in done for t in one["starts"]], np.float64),
            "end_seconds": np.array([t for one in done for t in one["ends"]], np.float64),
        }
    ).astype({"file": "str"})


def difference(first: dict[str, Any], second: dict[str, Any]) -> str | None:
    """In what two identities of embeddings differ, in words; None where they are equal."""
    words = {"weights_sha256": "network (other weights)", "window_seconds": "window"}
    for key in first | second:
        if first.get(key) != second.get(key):
            return words.get(key, key.removesuffix("_seconds"))
    return None


def read_about(folder: Path) -> dict[str, Any]:
    """What embeddings.json says.

    Raises:
        WrongUse: there is none, or another earmark wrote it.
    """
    if not (folder / ABOUT).is_file():
        fix = "make them with `python -m earmark embed RECORDINGS -o FOLDER`"
        raise WrongUse(f"{folder}: no embeddings in it ({ABOUT} is missing); {fix}")
    try:
        about = read_json(folder / ABOUT)
    except DamagedError as error:  # which no pipeline made: there is nothing to restore it from
        fix = "delete the folder and embed again"
        raise UserError(f"{folder / ABOUT}: damaged ({error.reason}); {fix}") from None
    if about["format"] != FORMAT:
        raise WrongUse(f"{folder}: embeddings of format {about['format']}, not {FORMAT}")
    return about


@dataclass(frozen=True, eq=False)
class EmbeddingStore:
    """Embeddings that are read from a folder.

    Attributes:
        values: `(N, D)` float32, mapped into memory.
        index: file, start_seconds and end_seconds of each row.
        identity: what they depend on.
        origin: where their network was read from.
    """

    values: NDArray[np.float32]
    index: pd.DataFrame
    identity: dict[str, Any]
    origin: dict[str, str]

    @classmethod
    def open(cls, folder: Path) -> "EmbeddingStore":
        """Raises WrongUse or UserError: there are none, or they are not finished."""
        about = read_about(folder)
        if not (folder / INDEX).exists():
            raise UserError(f"{folder}: not finished; run the same `embed` again, it goes on")
        index = read_table(folder / INDEX, "file", "start_seconds", "end_seconds")
        with reading(folder / ARRAY):
            values = np.load(folder / ARRAY, mmap_mode="r")
        if len(values) != len(index):
            raise UserError(f"{folder}: not finished; run the same `embed` again, it goes on")
        if values.shape[1:] != (about["identity"]["dims"],) or values.dtype != _TYPE:
            raise DamagedError(folder / ARRAY, f"shape {values.shape} of {values.dtype}")
        return cls(values, index, about["identity"], about["origin"])
