"""A folder of recordings without labels, beside the corpus: what is in it, and what must not be."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from earmark.errors import UserError
from earmark.sound.recordings import AUDIO_SUFFIXES, files_below, is_recording, name_of


def unlabelled_recordings(folder: Path) -> list[Path]:
    """All recordings in a folder and below it, in one order; none where it is a file.

    Raises:
        UserError: it is not there, cannot be read, or nothing in it is a recording.
    """
    key = f"unlabelled: {name_of(folder)}"
    if folder.is_file():
        return []
    if not folder.is_dir():
        raise UserError(f"{key}: is not there; correct params.yaml")
    unreadable: list[Path] = []
    below = sorted(files_below(folder, unreadable=unreadable))
    if unreadable:
        raise UserError(f"unlabelled: {name_of(unreadable[0])}: cannot be read; `chmod -R u+rX` it")
    if found := [path for path in below if is_recording(path.relative_to(folder))]:
        return found
    suffixes = " ".join(sorted(AUDIO_SUFFIXES))
    raise UserError(f"{key}: no audio in it ({suffixes}); name a folder of recordings")


def copies_of(clips: Iterable[Path], recordings: Sequence[Path]) -> list[Path]:
    """The recordings whose files are equal to that of a clip, byte for byte.

    Files of other sizes are not read. Sound that is equal in another container shows when it is
    decoded.
    """
    by_size: dict[int, list[Path]] = {}
    for path in recordings:
        if path.is_file():
            by_size.setdefault(path.stat().st_size, []).append(path)
    alike = [path for path in clips if path.is_file() and path.stat().st_size in by_size]
    digests = {_digest(path) for path in alike}
    sizes = {path.stat().st_size for path in alike}
    suspects = [path for size in sorted(sizes) for path in by_size[size]]
    return [path for path in suspects if _digest(path) in digests]


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
