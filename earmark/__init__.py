"""earmark: from a labelled pile of recordings to an audio tagger that says how sure it is.

>>> import earmark
>>> tagger = earmark.load("tagger/")  # that `earmark export` wrote  # doctest: +SKIP
>>> tagger.tag("dog.wav").answer  # doctest: +SKIP
['dog']
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from earmark.inference.recording_tagger import RecordingTagger

__all__ = ["__version__", "load"]
__version__ = "0.1.0"


def load(path: Path | str, *, device: str = "") -> "RecordingTagger":
    """Load a tagger that `earmark export` wrote; every byte of it is checked.

    Args:
        path: its folder.
        device: auto, cpu or cuda; by default as it was trained, if that is here.

    Raises:
        earmark.errors.UserError: there is no bundle, a newer earmark wrote it, a file of it is
            missing or another one than was written, or the device is not there.
    """
    from earmark.inference.bundle import load as load_bundle
    from earmark.inference.bundle_files import open_bundle

    return load_bundle(open_bundle(Path(path)), device=device)
