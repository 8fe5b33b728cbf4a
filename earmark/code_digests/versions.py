"""Versions of what is not ours, and reaches outputs all the same."""

import importlib.metadata
import subprocess
import sys

# Imported name -> distribution of the libraries whose arithmetic reaches outputs.
LIBRARIES = {
    "librosa": "librosa",
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "soundfile": "soundfile",
    "soxr": "soxr",
    "torch": "torch",
}


def installed_version(name: str) -> str:
    """The version of `python`, of the `sox` program or of a distribution; "absent" without it."""
    if name == "python":
        return ".".join(map(str, sys.version_info[:2]))
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
        return "absent"
