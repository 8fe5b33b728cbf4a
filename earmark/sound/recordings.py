"""Find recordings: tell them from other files, walk folders, and write their names as text."""

import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff"})
# Control characters, separators of lines, and the bytes of a name that is not UTF-8, which Python
# keeps as surrogates: no table, json or line of text can hold them.
_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\udc80-\udcff]")
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


def is_recording(path: Path) -> bool:
    """Whether a relative path names an audio file.

    Hidden files and files in hidden folders are none: a Mac leaves ._name.wav beside name.wav.
    """
    is_hidden = any(part.startswith(".") for part in path.parts)
    return path.suffix.lower() in AUDIO_SUFFIXES and not is_hidden


def files_below(root: Path, *, unreadable: list[Path] | None = None) -> Iterator[Path]:
    """All in a folder that is no folder, and in those below it, also behind links, in any order.

    A link that leads back to a folder above it is not followed. Pipes, devices and links to nothing
    are among them: decoding says what they are.

    Args:
        unreadable: where folders go that cannot be read; without it they raise an OSError.
    """
    yield from _walk(root, frozenset(), unreadable)


def _walk(folder: Path, above: frozenset[str], unreadable: list[Path] | None) -> Iterator[Path]:
    real = os.path.realpath(folder)
    if real in above or any(Path(one).is_relative_to(real) for one in above):
        return
    try:
        entries = os.scandir(folder)
    except OSError:
        if unreadable is None:
            raise
        unreadable.append(folder)
        return
    with entries:
        for entry in entries:
            path = folder / entry.name
            if entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and path.is_dir()):
                yield from _walk(path, above | {real}, unreadable)
            else:
                yield path


def name_of(path: Path | str) -> str:
    r"""A path as text that every table and page can hold: `caf\xe9.wav` if it is not UTF-8.

    >>> name_of("caf\udce9.wav")
    'caf\\xe9.wav'
    """
    return _UNWRITABLE.sub(_escape, str(path))


def _escape(match: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(match[0]))


def path_of(root: Path, name: str) -> Path:
    r"""The file in `root` that a name of a table means.

    It is found in spite of escapes that `name_of` wrote, and of the two forms in which Unicode
    writes an accent: a Mac's archives hold the decomposed one, spreadsheets write the composed.
    """
    path = root / name
    if (name.isascii() and "\\" not in name) or os.path.lexists(path):
        return path
    raw = os.fsdecode(_ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), os.fsencode(name)))
    others = [raw, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))]
    return next((root / other for other in others if os.path.lexists(root / other)), path)
