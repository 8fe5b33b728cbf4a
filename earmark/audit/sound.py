"""Measurements of a clip's sound: level, clipping, offset, silence and bandwidth.

Shapes: T samples, F bins.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.processes import map_ordered
from earmark.sound.samples import FULL_SCALE, Int16
from earmark.spool import release
from earmark.store import Store

LONGEST_SECONDS = 600.0  # what follows in a clip is not measured: memory grows with length
_MIN_RUN = 3  # equal samples in a row at the limit of their clip: a flat top
_MIN_LIMIT = 0.1  # of full scale; equal samples at a lower limit are not clipping
_N_FFT = 2048
_FRAME_SECONDS = 0.02
_SILENT_DB = -60.0  # relative to the clip's loudest frame
_EDGE_DB = 20.0  # a spectrum that falls by this much within a kilohertz was cut off
_MIN_EDGE_HZ = 2000.0


class _MeasureClip:
    """Measures the clips of a store by index; other processes get a copy of it."""

    def __init__(self, store: Store) -> None:
        self.store, self.sample_rate = store, int(store.metadata["sample_rate"])

    def __call__(self, index: int) -> dict[str, float]:
        waveform = beginning(self.store, index)
        measured = measure(waveform, sample_rate=self.sample_rate)
        release(waveform)
        return measured


def beginning(store: Store, index: int) -> Int16:
    """The waveform (T,) of a clip, or of its first ten minutes."""
    waveform: Int16 = store.rows(index)
    return waveform[: round(LONGEST_SECONDS * store.metadata["sample_rate"])]


def measure_clips(store: Store, *, workers: int) -> pd.DataFrame:
    """Measure every clip of the store of decoded clips, of a long one its first ten minutes.

    Returns:
        One row per clip: properties of its file (clip, split, seconds, native_sample_rate,
        channels, peak), what `measure` returns, and bandwidth_share, the bandwidth relative to
        the highest that the file can hold.
    """
    measured = map_ordered(
        _MeasureClip(store),
        range(len(store)),
        workers=workers,
        description="sound",
        name_of=store.index["clip"].iloc.__getitem__,
    )
    files = store.index[["clip", "split", "seconds", "native_sample_rate", "channels", "peak"]]
    table = files.join(pd.DataFrame(list(measured), index=files.index))
    highest = np.minimum(table["native_sample_rate"], int(store.metadata["sample_rate"])) / 2
    table["bandwidth_hz"] = np.minimum(table["bandwidth_hz"], highest)
    table["bandwidth_share"] = table["bandwidth_hz"] / highest
    return table


def measure(waveform: Int16, *, sample_rate: int) -> dict[str, float]:
    """Measure an int16 waveform (T,).

    Returns:
        level_db: the level of the mean power; full scale is 0 dB.
        clipped_share: the share of samples in flat tops.
        dc_offset: the mean; full scale is 1.
        silent_share: the share of frames that lie 60 dB below the loudest one.
        bandwidth_hz: the frequency above which the spectrum was cut off.
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

    The limit is the largest magnitude of each sign, so that a clipped recording is found even
    after its volume was lowered. A single flat top may be chance and counts as none.
    """
    n_samples = n_runs = 0
    for limit in (int(waveform.max()), int(waveform.min())):
        if abs(limit) < _MIN_LIMIT * FULL_SCALE:
            continue
        is_at_limit = np.concatenate([[0], (waveform == limit).astype(np.int8), [0]])
        edges = np.flatnonzero(np.diff(is_at_limit))
        lengths = edges[1::2] - edges[::2]
        n_samples += int(lengths[lengths >= _MIN_RUN].sum())
        n_runs += int((lengths >= _MIN_RUN).sum())
    return n_samples / len(waveform) if n_runs > 1 else 0.0


def silent_share(scaled: NDArray[np.float32], *, sample_rate: int) -> float:
    """The share of 20 ms frames that lie 60 dB or more below the loudest one."""
    length = round(_FRAME_SECONDS * sample_rate)
    frames = scaled[: max(len(scaled) // length, 1) * length].reshape(-1, min(length, len(scaled)))
    energy = np.square(frames - frames.mean(axis=1, keepdims=True)).mean(axis=1)
    return float((energy <= energy.max() * 10 ** (_SILENT_DB / 10)).mean())


def bandwidth_hz(scaled: NDArray[np.float32], *, sample_rate: int) -> float:
    """The frequency above which the long-term spectrum was cut off, or half the sample rate.

    A codec or an earlier lower sample rate leaves an edge: the level falls by 20 dB within a
    kilohertz and stays low. A sound that fades towards high frequencies has no edge.
    """
    nyquist = sample_rate / 2
    if len(scaled) < _N_FFT:
        return nyquist
    level = _long_term_db(scaled)  # (F,)
    per_khz = round(1000 * _N_FFT / sample_rate)
    width, gap = round(0.7 * per_khz), round(0.15 * per_khz)
    bands = np.lib.stride_tricks.sliding_window_view(level, width)  # bins i to i + width
    # Most bins below an edge must be loud: the last harmonic of a tone is not an edge.
    full, smooth = np.quantile(bands, 0.25, axis=1), bands.mean(axis=1)
    edges = np.arange(width + gap, len(level) - width - gap)
    below, above = full[edges - gap - width], smooth[edges + gap]
    # The loudest band that follows: an edge with sound above it is a notch, not the end.
    rest = np.maximum.accumulate(smooth[::-1])[::-1][edges + gap]
    is_edge = (below - np.maximum(above, rest) >= _EDGE_DB) & (
        edges * sample_rate / _N_FFT >= _MIN_EDGE_HZ
    )
    if not is_edge.any():
        return nyquist
    fall = np.where(is_edge, below - above, -np.inf)
    return float(edges[fall.argmax()] * sample_rate / _N_FFT)


def _long_term_db(scaled: NDArray[np.float32]) -> NDArray[np.float64]:
    """The mean power spectrum (F,) in dB of the louder half of the frames, without silence."""
    frames = np.lib.stride_tricks.sliding_window_view(scaled, _N_FFT)[:: _N_FFT // 2]
    spectra = np.fft.rfft(frames * np.blackman(_N_FFT).astype(np.float32))
    power = spectra.real**2 + spectra.imag**2
    loudest = np.argsort(power.sum(axis=1))[-max(1, len(power) // 2) :]
    level: NDArray[np.float64] = 10 * np.log10(power[loudest].mean(axis=0) + 1e-12)
    return level
