"""Tell recordings from other files by their names."""

from pathlib import Path

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff"})


def is_recording(path: Path) -> bool:
    """Whether a relative path names an audio file.

    Hidden files and files in hidden folders are none: a Mac leaves ._name.wav beside name.wav.
    """
    is_hidden = any(part.startswith(".") for part in path.parts)
    return path.suffix.lower() in AUDIO_SUFFIXES and not is_hidden
