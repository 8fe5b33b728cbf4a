"""Faults of recording and coding, from the measurements of a clip's sound."""

from typing import Any, NamedTuple

import pandas as pd

from earmark.audit.findings import Finding
from earmark.sound.excerpts import QUIETEST_PEAK
from earmark.wording import first_of

TOPIC = "sound"
MAX_CLIPPED_SHARE, MAX_DC_OFFSET, MAX_SILENT_SHARE, MIN_BANDWIDTH_SHARE = 1e-4, 0.01, 0.5, 0.9


class _Text(NamedTuple):
    """How a finding names a fault, after "3 of 100 clips"."""

    one: str
    many: str
    meaning: str
    fix: str


_TEXTS = {
    "clipped": _Text(
        "is clipped",
        "are clipped",
        "Clipping adds harmonics that do not belong to the sound",
        "Replace them by recordings of a lower level, or keep them.",
    ),
    "over_full_scale": _Text(
        "exceeds full scale",
        "exceed full scale",
        "Their floats are on another scale, such as that of integers, and were divided",
        "Export them again, with samples from -1 to 1, if their levels matter.",
    ),
    "very_quiet": _Text(
        "peaks below -72 dB",
        "peak below -72 dB",
        "A gain was lost, or nothing was recorded; those of more than 16 bits were amplified",
        "Listen to them, and leave out those that hold noise alone.",
    ),
    "dc_offset": _Text(
        f"has a DC offset of {MAX_DC_OFFSET:.0%} of full scale or more",
        f"have a DC offset of {MAX_DC_OFFSET:.0%} of full scale or more",
        "Their lowest frequency bins describe the recorder instead of the sound",
        "Apply a high-pass filter at 20 Hz to them.",
    ),
    "mostly_silent": _Text(
        "is silent for at least half of its length",
        "are silent for at least half of their length",
        "Many crops of them hold no sound to learn from",
        "Remove the silence. The trim stage (trim.top_db) only removes it at both ends.",
    ),
    "band_limited": _Text(
        "uses less than 90 % of its possible bandwidth",
        "use less than 90 % of their possible bandwidth",
        "They come from a lower sample rate or a codec of a low bit rate",
        "If some classes are affected more than others, lower f_max_hz of the features to a "
        "frequency that most clips reach (see the section Sound of the page).",
    ),
}


def metrics(sound: pd.DataFrame) -> dict[str, Any]:
    """Counts for metrics/audit.json; `sound` is what `measure_clips` returns."""
    return {
        **{fault: int(has_fault.sum()) for fault, has_fault in _faults(sound).items()},
        "native_sample_rates": _counts(sound["native_sample_rate"]),
        "channels": _counts(sound["channels"]),
        "median_bandwidth_hz": round(float(sound["bandwidth_hz"].median()), 1),
    }


def findings(sound: pd.DataFrame) -> list[Finding]:
    """A finding for each fault that occurs; `sound` is what `measure_clips` returns."""
    result = []
    for fault, has_fault in _faults(sound).items():
        if n := int(has_fault.sum()):
            text = _TEXTS[fault]
            title = f"{n} of {len(sound)} clips {text.one if n == 1 else text.many}"
            clips = first_of(list(sound.loc[has_fault, "clip"]))
            result.append(Finding("minor", TOPIC, title, f"{text.meaning}: {clips}.", text.fix))
    return result


def _faults(sound: pd.DataFrame) -> dict[str, "pd.Series[bool]"]:
    return {
        "clipped": sound["clipped_share"] >= MAX_CLIPPED_SHARE,
        "over_full_scale": sound["peak"] > 1,
        "very_quiet": sound["peak"] < QUIETEST_PEAK,
        "dc_offset": sound["dc_offset"].abs() >= MAX_DC_OFFSET,
        "mostly_silent": sound["silent_share"] >= MAX_SILENT_SHARE,
        "band_limited": sound["bandwidth_share"] < MIN_BANDWIDTH_SHARE,
    }


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(value): int(n) for value, n in values.value_counts().sort_index().items()}
