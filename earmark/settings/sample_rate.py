"""The working rate that fits the recordings of a user's folder."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from earmark.sound.headers import header_of
from earmark.sound.recordings import path_of

LOWEST_HZ = 8000  # of decode.sample_rate
_N_HEADERS = 500  # so many tell, however large the corpus is


def fit_sample_rate(document: Any, root: Path, recordings: Sequence[str]) -> list[str]:
    """Set the working rate to that of most recordings, and features to what the rate allows.

    Above half of its own rate a recording has nothing: a higher working rate would leave bands of
    a mel spectrogram empty and cost time. The rate of the profile is the highest.

    Args:
        document: params.yaml in the making, with its corpus read by the adapter folder.
        root: the folder of the recordings.
        recordings: their paths, relative to it.

    Returns:
        One line with the rate and what was counted; none where no header can be read.
    """
    some = recordings[:: 1 + len(recordings) // _N_HEADERS]
    counts = native_rates([path_of(root, path) for path in some])
    if not counts:
        return []
    native = max(counts, key=lambda rate: (counts[rate], rate))
    usual = document["decode"]["sample_rate"]
    rate = max(LOWEST_HZ, min(native, usual))
    document["decode"]["sample_rate"] = rate
    for feature in document["features"].values():
        for key, highest in (("f_max_hz", rate / 2), ("target_hz", rate)):
            if key in feature:
                feature[key] = min(feature[key], highest)
        if "hop_length" in feature:  # as many frames a second, since networks are sized by these
            feature["hop_length"] = round(feature["hop_length"] * rate / usual)
    centres = document["class_mixing"]["same_class"]["center_hz"]
    centres[:] = [min(centre, rate / 2) for centre in centres]
    listed = ", ".join(f"{n} at {hertz} Hz" for hertz, n in counts.most_common())
    return [f"decode.sample_rate is {rate} Hz, since of the recordings looked at are {listed}"]


def native_rates(paths: list[Path]) -> Counter[int]:
    """How many recordings have which sample rate, by their headers; others are left out."""
    headers = map(header_of, paths)
    return Counter(header.samplerate for header in headers if header is not None)
