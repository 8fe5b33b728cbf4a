"""How strongly two waveforms correlate once their spectra are whitened."""

import numpy as np
from numpy.typing import NDArray

from earmark.sound.samples import Float32

_WHITENING = 0.8  # power of the magnitude to divide by; 1 would count plain noise in full


def whitened_correlation(a: Float32, b: Float32, *, max_lag: int) -> float:
    """The largest magnitude of the whitened cross-correlation of (n,) and (n,), from 0 to 1.

    After whitening, a common source gives one sharp peak, while a common pitch or rhythm gives
    none. The sign is ignored, since some recorders invert it.

    Args:
        a: a waveform.
        b: a waveform of the same length and sample rate.
        max_lag: lags from -max_lag to max_lag are searched, in samples.
    """
    n_fft = 1 << (len(a) + len(b) - 1).bit_length()
    window = np.hanning(len(a)).astype(np.float32)  # otherwise the cuts at the ends correlate
    first, second = _whitened(a * window, n_fft), _whitened(b * window, n_fft)
    scale = np.sqrt((np.abs(first) ** 2).mean() * (np.abs(second) ** 2).mean())
    if not scale:
        return 0.0
    by_lag = np.fft.irfft(first * second.conj(), n_fft)
    searched = np.concatenate([by_lag[: max_lag + 1], by_lag[-max_lag:]])
    return float(np.abs(searched).max() / scale)


def _whitened(waveform: Float32, n_fft: int) -> NDArray[np.complex64]:
    spectrum = np.fft.rfft(waveform, n_fft)
    magnitude = np.abs(spectrum) ** _WHITENING
    floor = 1e-3 * magnitude.mean()
    return np.asarray(spectrum / (magnitude + max(float(floor), 1e-20)), dtype=np.complex64)
