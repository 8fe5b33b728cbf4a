"""How strongly two waveforms correlate once their spectra are whitened.

Shapes: N frames, F bins.
"""

import numpy as np
from numpy.typing import NDArray

from earmark.sound.samples import Float32

_WHITENING = 0.8  # power of the magnitude to divide by; 1 would count plain noise in full
_FRAME, _HOP = 2048, 1024  # samples: 128 ms at 16 kHz, as the windows of a fingerprint
_MAX_FRAMES = 512  # of a long overlap, spread over it
_QUIET = 10**-3.5  # relative to the loudest frame's energy: 35 dB below it, as in a fingerprint


def lasting_correlation(a: Float32, b: Float32, *, max_lag: int) -> float:
    """The mean correlation of the audible frames of (n,) and (n,), about 0 to 1.

    All frames are compared at the one lag at which the whole waveforms correlate most. The same
    recording correlates in every audible frame, whatever was done to it; unrelated sounds that
    share one event, such as a click or a tone of one pitch, correlate in its frames alone, though
    loud enough to carry the correlation of the whole.

    Args:
        a: a waveform.
        b: a waveform of the same length and sample rate.
        max_lag: lags from -max_lag to max_lag are searched, in samples.
    """
    correlation, lag = strongest_lag(a, b, max_lag=max_lag)
    a, b = a[max(lag, 0) :], b[max(-lag, 0) :]
    n = min(len(a), len(b))
    if n < _FRAME or not correlation:
        return 0.0
    first, second = _frames(a[:n]), _frames(b[:n])
    energy = np.maximum(_relative_energy(first), _relative_energy(second))
    is_audible = energy > _QUIET
    x, y = (_whitened(frames[is_audible]) for frames in (first, second))
    power = (np.abs(x) ** 2).sum(axis=1) * (np.abs(y) ** 2).sum(axis=1)
    by_frame = (x * y.conj()).real.sum(axis=1) / np.sqrt(np.maximum(power, 1e-30))
    # Some recorders invert the sign, but then of all frames.
    return float(np.sign(correlation) * by_frame.mean())


def strongest_lag(a: Float32, b: Float32, *, max_lag: int) -> tuple[float, int]:
    """The extreme of the whitened cross-correlation of (n,) and (n,), from -1 to 1, and its lag.

    After whitening, a common source gives one sharp peak, while a common pitch or rhythm gives
    none. The lag is the time in `a` minus that in `b`, in samples.
    """
    n_fft = 1 << (len(a) + len(b) - 1).bit_length()
    window = np.hanning(len(a)).astype(np.float32)  # otherwise the cuts at the ends correlate
    first, second = (_whitened(np.fft.rfft(w * window, n_fft)) for w in (a, b))
    scale = np.sqrt((np.abs(first) ** 2).mean() * (np.abs(second) ** 2).mean())
    if not scale:
        return 0.0, 0
    by_lag = np.fft.irfft(first * second.conj(), n_fft)
    searched = np.concatenate([by_lag[: max_lag + 1], by_lag[-max_lag:]])
    best = int(np.abs(searched).argmax())
    return float(searched[best] / scale), best if best <= max_lag else best - len(searched)


def _whitened(spectra: NDArray[np.complexfloating]) -> NDArray[np.complex64]:
    """Spectra (..., F) of which each has nearly the same magnitude in all bins."""
    magnitude = np.abs(spectra) ** _WHITENING
    floor = np.maximum(1e-3 * magnitude.mean(axis=-1, keepdims=True), 1e-20)
    return np.asarray(spectra / (magnitude + floor), dtype=np.complex64)


def _frames(waveform: Float32) -> NDArray[np.complex64]:
    """The spectra (N, F) of windows that lie entirely within (T,)."""
    hop = max(_HOP, -(-(len(waveform) - _FRAME) // _MAX_FRAMES))
    frames = np.lib.stride_tricks.sliding_window_view(waveform, _FRAME)[::hop]
    spectra = np.fft.rfft(frames * np.hanning(_FRAME).astype(np.float32))
    return np.asarray(spectra, dtype=np.complex64)


def _relative_energy(spectra: NDArray[np.complex64]) -> NDArray[np.float32]:
    energy: NDArray[np.float32] = (np.abs(spectra) ** 2).sum(axis=1)
    return energy / max(float(energy.max()), 1e-30)
