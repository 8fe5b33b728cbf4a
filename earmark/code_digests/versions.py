"""Versions of what is not ours, and reaches outputs all the same; and of all modules together."""

import hashlib
import importlib.metadata
import shutil
import subprocess
from pathlib import Path

# Imported name -> distribution of the libraries whose arithmetic reaches outputs. Python is none of
# them: one lock gives each Python from 3.11 to 3.14 the same versions of these, and what our code
# computes by itself is the same on each (no sum() of floats, which rounds otherwise since 3.12). If
# Python counted, a clone on another one than the author's would find all results stale.
LIBRARIES = {
    "librosa": "librosa",
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "soundfile": "soundfile",
    "soxr": "soxr",
    "torch": "torch",
}


ABSENT = "absent"


def not_installed(name: str) -> str:
    """How to get the `sox` program or a distribution that is absent."""
    if name == "sox":
        return "the program sox is not installed; install it: apt-get install sox"
    return f"{name} is not installed; install it: run `make setup`"


def sox_path() -> str:
    """Where the program is; "" without it."""
    return shutil.which("sox") or ""


def installed_version(name: str) -> str:
    """The version of the `sox` program or of a distribution; ABSENT without it."""
    try:
        if name == "sox":
            done = subprocess.run(["sox", "--version"], capture_output=True, text=True, check=True)
            return done.stdout.split()[-1].removeprefix("v")
        return importlib.metadata.version(name).split("+")[0]  # without +cu128
    except (
        OSError,
        IndexError,
        subprocess.SubprocessError,
        importlib.metadata.PackageNotFoundError,
    ):
        return ABSENT


def sources_version(root: Path, extensions: str) -> str:
    """A digest of all modules that a network may come from: the library's, and the user's own."""
    version = hashlib.blake2b(digest_size=16)
    for folder in ("earmark", extensions):
        for path in sorted((root / folder).rglob("*.py")):
            version.update(path.name.encode() + b"\0" + path.read_bytes())
    return version.hexdigest()
