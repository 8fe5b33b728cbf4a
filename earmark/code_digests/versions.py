"""Versions of what is not ours, and reaches outputs all the same."""

import importlib.metadata
import shutil
import subprocess

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
