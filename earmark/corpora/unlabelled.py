"""A folder of recordings without labels, beside the corpus: what is in it, and what must not be."""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from earmark.checksums import sha256_of
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

    Only files of equal size and beginning are read whole: in many corpora all are of one size.
    Sound that is equal in another container shows when it is decoded.
    """
    sizes = {path.stat().st_size for path in recordings if path.is_file()}
    alike: dict[tuple[int, bytes], list[Path]] = {}
    for clip in clips:
        if clip.is_file() and clip.stat().st_size in sizes:
            alike.setdefault(_beginning(clip), []).append(clip)
    digest, sizes = cache(sha256_of), {size for size, _ in alike}
    return [
        path
        for path in recordings
        if path.is_file()
        and path.stat().st_size in sizes
        and any(digest(path) == digest(clip) for clip in alike.get(_beginning(path), ()))
    ]


def _beginning(path: Path) -> tuple[int, bytes]:
    """The size of a file, and its first bytes, beyond any header of a recording."""
    with path.open("rb") as file:
        return path.stat().st_size, file.read(4096)
