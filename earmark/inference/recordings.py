"""The audio files that a user names, and the messages about those that cannot be used."""

import os
import re
from pathlib import Path

from earmark.sound.recordings import AUDIO_SUFFIXES, files_below, is_recording, name_of
from earmark.sound.unusable import UnusableAudio
from earmark.wording import counted, printable, shortened

_ADDRESS = r"[a-z][a-z0-9+.-]+:/"  # https://, of which a path keeps one slash
_LONGEST_NAME = 255  # that a file can have
_NOT_DECODED = frozenset({".m4a", ".mp4", ".aac", ".wma", ".amr", ".webm", ".wv", ".ape"})


def recordings(paths: list[Path]) -> tuple[list[Path], list[str]]:
    """The audio files that some paths name, and a line for each path that names none.

    Args:
        paths: files, which are taken as they are, and folders, which are searched.
    """
    files: list[Path] = []
    problems: list[str] = []
    for path in paths:
        if re.match(_ADDRESS, str(path)) and not os.path.lexists(path):
            problems.append(f"{name_of(path)}: is an address; download it first")
        elif not os.path.isdir(path):  # noqa: PTH112 -- Path's fails where a name is too long
            files.append(path)
        else:
            unreadable: list[Path] = []
            below = sorted(files_below(path, unreadable=unreadable))
            inside = [file for file in below if is_recording(file.relative_to(path))]
            fix = "cannot be read; run `chmod -R u+rX` on it"
            problems += [f"{name_of(folder)}: {fix}" for folder in unreadable]
            shown = [file for file in below if not file.name.startswith(".")]
            foreign = [file for file in shown if file.suffix.lower() in _NOT_DECODED]
            if foreign:
                what = f"{counted(len(foreign), 'file')} of {_suffixes(foreign)}"
                fix = "convert them (`ffmpeg -i FILE NEW.wav`)"
                problems.append(f"{name_of(path)}: {what} cannot be decoded; {fix}")
            elif not inside and not unreadable:
                suffixes = " ".join(sorted(AUDIO_SUFFIXES))
                fix = "name a folder of recordings"
                problems.append(f"{name_of(path)}: no audio in it ({suffixes}); {fix}")
            files += inside
    return files, problems


def _suffixes(files: list[Path]) -> str:
    return " ".join(sorted({file.suffix.lower() for file in files}))


def unusable_line(path: Path, error: UnusableAudio) -> str:
    """One line on a recording that cannot be used; a name that is endless is shortened."""
    name = name_of(path.name)
    finding = str(error).removeprefix(f"{name}: ")
    shown = name_of(path.parent / (name if len(name) <= _LONGEST_NAME else shortened(name)))
    return printable(f"{shown}: {error.reason}: {finding}")
