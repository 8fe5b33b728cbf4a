"""Facts of a clip's sound that a recorder, a codec or an editor left in it.

Shapes: T samples, F bins.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.audit.findings import Finding, some
from earmark.processes import map_ordered
from earmark.sound.decoding import FULL_SCALE, Int16
from earmark.store import Store

_RUN = 3  # samples at the top of their clip, one after another: a flat top
_LOUD_TOP = 0.1  # of full scale; below it a top of three equal samples is nothing
_N_FFT = 2048
_FRAME_SECONDS = 0.02
_SILENT_DB = -60.0  # under the clip's loudest frame
_EDGE_DB = 20.0  # a spectrum that falls by so much within a kilohertz was cut
_LOWEST_EDGE_HZ = 2000.0

CLIPPED, OFF_CENTRE, SILENT, CUT = 1e-4, 0.01, 0.5, 0.9  # where a clip is worth naming


class Facts:
    """Measures clips of a decoded store by line: the facts of `measure`."""

    def __init__(self, store: Store) -> None:
        self.store, self.rate = store, int(store.metadata["sample_rate"])

    def __call__(self, line: int) -> dict[str, float]:
        return measure(self.store.rows(line), sample_rate=self.rate)


def table_of(store: Store, labels: Sequence[str], *, workers: int) -> pd.DataFrame:
    """One row a clip: what its file was (index of the store), and what `measure` finds."""
    found = map_ordered(
        Facts(store), range(len(store)), workers=workers, description="sound", chunk=16
    )
    index = store.index[["clip", "split", "seconds", "native_sample_rate", "channels", "peak"]]
    table = index.assign(label=list(labels)).join(pd.DataFrame(list(found), index=index.index))
    nominal = np.minimum(table["native_sample_rate"], int(store.metadata["sample_rate"])) / 2
    table["bandwidth_hz"] = np.minimum(table["bandwidth_hz"], nominal)
    table["bandwidth_share"] = table["bandwidth_hz"] / nominal
    return table


def measure(waveform: Int16, *, sample_rate: int) -> dict[str, float]:
    """Measure int16 (T,): level, clipping, offset, silence and bandwidth.

    level_db: of the mean power, full scale is 0. clipped_share: of samples in flat tops.
    dc_offset: the mean, full scale is 1. silent_share: of frames 60 dB under the loudest.
    """
    scaled = waveform.astype(np.float32) * np.float32(1 / FULL_SCALE)
    power = float(np.square(scaled, dtype=np.float64).mean())
    return {
        "level_db": 10 * float(np.log10(max(power, 1e-12))),
        "clipped_share": clipped_share(waveform),
        "dc_offset": float(scaled.mean(dtype=np.float64)),
        "silent_share": silent_share(scaled, sample_rate=sample_rate),
        "bandwidth_hz": bandwidth_hz(scaled, sample_rate=sample_rate),
    }


def clipped_share(waveform: Int16) -> float:
    """The share of samples within flat tops: three or more in a row at the clip's own limit.

    The limit is the largest magnitude of its sign, so that a clipped take is still found after
    somebody turned it down; one flat top alone may be chance, and counts as none.
    """
    total = runs = 0
    for limit in (int(waveform.max()), int(waveform.min())):
        if abs(limit) < _LOUD_TOP * FULL_SCALE:
            continue
        at_top = np.concatenate([[0], (waveform == limit).astype(np.int8), [0]])
        edges = np.flatnonzero(np.diff(at_top))
        lengths = edges[1::2] - edges[::2]
        total += int(lengths[lengths >= _RUN].sum())
        runs += int((lengths >= _RUN).sum())
    return total / len(waveform) if runs > 1 else 0.0


def silent_share(scaled: NDArray[np.float32], *, sample_rate: int) -> float:
    """The share of 20 ms frames that lie 60 dB or more under the loudest of them."""
    length = round(_FRAME_SECONDS * sample_rate)
    frames = scaled[: max(len(scaled) // length, 1) * length].reshape(-1, min(length, len(scaled)))
    energy = np.square(frames - frames.mean(axis=1, keepdims=True)).mean(axis=1)
    return float((energy <= energy.max() * 10 ** (_SILENT_DB / 10)).mean())


def bandwidth_hz(scaled: NDArray[np.float32], *, sample_rate: int) -> float:
    """The frequency above which the long-term spectrum was cut off, or half the sample rate.

    A codec or an earlier lower rate leaves an edge: the level falls by 20 dB within a kilohertz
    and does not come back. A sound that fades towards high frequencies has none.
    """
    nyquist = sample_rate / 2
    if len(scaled) < _N_FFT:
        return nyquist
    level = _long_term_db(scaled)  # (F,)
    per_khz = round(1000 * _N_FFT / sample_rate)
    width, gap = round(0.7 * per_khz), round(0.15 * per_khz)
    bands = np.lib.stride_tricks.sliding_window_view(level, width)  # of bins i to i + width
    # Below the edge most bins must sound: the last harmonic of a tone is no edge.
    full, smooth = np.quantile(bands, 0.25, axis=1), bands.mean(axis=1)
    edges = np.arange(width + gap, len(level) - width - gap)
    below, above = full[edges - gap - width], smooth[edges + gap]
    # The most that comes after: an edge with sound beyond it is a notch, not the end.
    rest = np.maximum.accumulate(smooth[::-1])[::-1][edges + gap]
    is_edge = (below - np.maximum(above, rest) >= _EDGE_DB) & (
        edges * sample_rate / _N_FFT >= _LOWEST_EDGE_HZ
    )
    if not is_edge.any():
        return nyquist
    fall = np.where(is_edge, below - above, -np.inf)
    return float(edges[fall.argmax()] * sample_rate / _N_FFT)


def _long_term_db(scaled: NDArray[np.float32]) -> NDArray[np.float64]:
    """The mean power spectrum (F,) in dB; the louder half of the frames counts, not silence."""
    frames = np.lib.stride_tricks.sliding_window_view(scaled, _N_FFT)[:: _N_FFT // 2]
    spectra = np.fft.rfft(frames * np.blackman(_N_FFT).astype(np.float32))
    power = spectra.real**2 + spectra.imag**2
    loudest = np.argsort(power.sum(axis=1))[-max(1, len(power) // 2) :]
    found: NDArray[np.float64] = 10 * np.log10(power[loudest].mean(axis=0) + 1e-12)
    return found


def metrics(table: pd.DataFrame) -> dict[str, Any]:
    faulty = _faulty(table)
    return {
        **{name: int(rows.sum()) for name, rows in faulty.items()},
        "native_sample_rates": _counts(table["native_sample_rate"]),
        "channels": _counts(table["channels"]),
        "median_bandwidth_hz": round(float(table["bandwidth_hz"].median()), 1),
    }


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(value): int(n) for value, n in values.value_counts().sort_index().items()}


def _faulty(table: pd.DataFrame) -> dict[str, "pd.Series[bool]"]:
    return {
        "clipped": table["clipped_share"] >= CLIPPED,
        "dc_offset": table["dc_offset"].abs() >= OFF_CENTRE,
        "mostly_silent": table["silent_share"] >= SILENT,
        "band_limited": table["bandwidth_share"] < CUT,
    }


def findings(table: pd.DataFrame) -> list[Finding]:
    said = {
        "clipped": (
            "are clipped",
            "Flat tops add harmonics that are not of the sound",
            "Fetch the original at a lower level, or leave them.",
        ),
        "dc_offset": (
            f"have an offset of {OFF_CENTRE:.0%} of full scale or more",
            "The lowest bins then tell of the recorder",
            "Run a high-pass filter at 20 Hz over them.",
        ),
        "mostly_silent": (
            "are silent for half of their length or more",
            "Crops of them hold nothing to learn from",
            "Trim them (trim.top_db takes the ends only), or cut them up.",
        ),
        "band_limited": (
            "hold less than nine tenths of their nominal band",
            "They come from a lower rate or a thrifty codec",
            "Lower features.f_max_hz to what most clips hold, if it goes by class (see below).",
        ),
    }
    result = []
    for name, rows in _faulty(table).items():
        if n := int(rows.sum()):
            what, meaning, fix = said[name]
            names = some(list(table.loc[rows, "clip"]))
            title = f"{n} of {len(table)} clips {what}"
            result.append(Finding("minor", "sound", title, f"{meaning}: {names}.", fix))
    return result
