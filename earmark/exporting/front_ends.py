"""The features as operators of a graph: waveforms in, rows out, as `earmark.features` makes them.

Shapes: B clips of equal length, T samples, N frames or rows, F bins, M mel bins, D coefficients.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import scipy.fft
import torch
from numpy.typing import NDArray

from earmark.errors import UserError
from earmark.exporting.graph import Graph, Value
from earmark.exporting.resampling import resampled
from earmark.features import FeatureType, mn, vggish
from earmark.features.logmel import LogMel, Mfcc, slaney_mel_weights
from earmark.features.spectra import POWER_FLOOR
from earmark.features.spectrum import hann, mel_triangles
from earmark.features.waveform import Waveform
from earmark.sound.samples import FULL_SCALE

FrontEnd = Literal["stft", "conv"]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Bands:
    """Mel bands of frames, and how they are computed.

    Attributes:
        window: (W,), W at most n_fft.
        bank: (F, M).
        is_power: whether they are of powers, or of magnitudes.
    """

    window: Any
    n_fft: int
    hop_length: int
    bank: Any
    is_power: bool = True


def rows_of(graph: Graph, waveform: Value, feature: FeatureType, front_end: FrontEnd) -> Value:
    """The rows (B, N, ...) of a feature, of waveforms (B, T) in [-1, 1), before they are stored.

    Raises:
        UserError: the type of feature has no operators here.
    """
    assert front_end in get_args(FrontEnd), front_end
    if type(feature) not in _FRONT_ENDS:
        known = ", ".join(sorted(type_.__name__ for type_ in _FRONT_ENDS))
        raise UserError(
            f"feature {type(feature).__name__} cannot be exported to ONNX ({known} can); "
            "leave this model out"
        )
    return _FRONT_ENDS[type(feature)](graph, waveform, feature, front_end)


def stored(graph: Graph, rows: Value, feature: FeatureType) -> Value:
    """Rows as they are once they were stored: rounded to float16, or as they were."""
    if feature.dtype != np.float16:
        return rows
    return graph.cast(graph.cast(rows, np.float16), np.float32)


def mel_bands(graph: Graph, waveform: Value, bands: Bands, front_end: FrontEnd) -> Value:
    """Mel bands (B, N, M) of the frames of (B, T) that begin at sample 0, a hop apart."""
    bank = np.asarray(bands.bank, np.float32)
    if front_end == "stft":
        op, window = graph.op, np.zeros(bands.n_fft, np.float32)
        window[: len(bands.window)] = bands.window
        # A frame ends with its window; the operator wants all of n_fft.
        padded = graph.pad(waveform, 0, bands.n_fft - len(bands.window))
        padded = graph.cast(padded, np.float64)
        spectra = op(
            "STFT", op("Unsqueeze", padded, graph.ints([2])), graph.ints(bands.hop_length),
            graph.constant(window.astype(np.float64)), graph.ints(bands.n_fft), onesided=1,
        )  # (B, N, F, 2)  # fmt: skip
        powers = op("ReduceSumSquare", graph.cast(spectra, np.float32), graph.ints([3]), keepdims=0)
    else:
        powers, bank = _powers_by_convolution(graph, waveform, bands, bank)
    values = powers if bands.is_power else graph.op("Sqrt", powers)
    return graph.op("MatMul", values, graph.floats(bank))


def _powers_by_convolution(
    graph: Graph, waveform: Value, bands: Bands, bank: Floats
) -> tuple[Value, Floats]:
    """Powers (B, N, F') of the bins that any band reads, and the bank (F', M) of these."""
    op, window = graph.op, np.asarray(bands.window, np.float64)
    bins = np.flatnonzero(bank.any(axis=1))
    turns = 2 * np.pi * np.outer(bins, np.arange(len(window))) / bands.n_fft
    waves = np.concatenate([np.cos(turns), -np.sin(turns)]) * window  # (2F', W)
    channels = op("Unsqueeze", waveform, graph.ints([1]))
    parts = op("Conv", channels, graph.floats(waves[:, None]), strides=[bands.hop_length])
    real, imaginary = graph.ops("Split", parts, n_outputs=2, axis=1, num_outputs=2)
    powers = op("Add", op("Mul", real, real), op("Mul", imaginary, imaginary))  # (B, F', N)
    return op("Transpose", powers, perm=[0, 2, 1]), bank[bins]


def _decibels(graph: Graph, powers: Value) -> Value:
    log = graph.op("Log", graph.op("Max", powers, graph.floats(POWER_FLOOR)))
    return graph.op("Mul", log, graph.floats(10 / np.log(10)))


def _log_mel(graph: Graph, waveform: Value, feature: LogMel, front_end: FrontEnd) -> Value:
    bank, half = slaney_mel_weights(feature), feature.n_fft // 2
    bands = Bands(hann(feature.n_fft).numpy(), feature.n_fft, feature.hop_length, bank)
    padded = graph.pad(waveform, half, half)  # what is outside of a clip is silence
    return _decibels(graph, mel_bands(graph, padded, bands, front_end))


def _mfcc(graph: Graph, waveform: Value, feature: Mfcc, front_end: FrontEnd) -> Value:
    log_mel = _log_mel(graph, waveform, feature.log_mel, front_end)
    cosines = scipy.fft.dct(np.eye(feature.n_mels), type=2, norm="ortho", axis=1)
    return graph.op("MatMul", log_mel, graph.floats(cosines[:, : feature.n_mfcc]))


def _samples(graph: Graph, waveform: Value, feature: Waveform, _: FrontEnd) -> Value:
    """int16 as floats: rounded and clipped as in `earmark.sound.samples.as_int16`."""
    op = graph.op
    at_rate = resampled(graph, waveform, from_hz=feature.sample_rate, to_hz=feature.target_hz)
    rounded = op("Round", op("Mul", at_rate, graph.floats(FULL_SCALE)))
    return op("Clip", rounded, graph.floats(-FULL_SCALE), graph.floats(FULL_SCALE - 1))


def _patches(
    graph: Graph, waveform: Value, feature: vggish.VggishPatches, front_end: FrontEnd
) -> Value:
    op, ints, n_frames = graph.op, graph.ints, vggish.PATCH_FRAMES
    at_16k = resampled(graph, waveform, from_hz=feature.sample_rate, to_hz=vggish.SAMPLE_RATE)
    at_16k = _repeated(graph, at_16k, vggish.SHORTEST_SAMPLES)
    mel = mel_bands(graph, at_16k, _vggish_bands(), front_end)
    log_mel = op("Log", op("Add", mel, graph.floats(vggish.LOG_OFFSET)))
    n_patches = op("Div", graph.size(log_mel, 1), ints(n_frames))
    n_whole = graph.as_list(op("Mul", n_patches, ints(n_frames)))
    whole = op("Slice", log_mel, ints([0]), n_whole, ints([1]))
    shape = op("Concat", ints([0]), graph.as_list(n_patches), ints(feature.row_shape), axis=0)
    return op("Reshape", whole, shape)


def _vggish_bands() -> Bands:
    window = hann(vggish.WINDOW_LENGTH).numpy()
    bank = vggish.vggish_mel_weights()
    return Bands(window, vggish.N_FFT, vggish.HOP_LENGTH, bank, is_power=False)


def _repeated(graph: Graph, waveform: Value, shortest: int) -> Value:
    """(B, T), repeated to `shortest` samples where it has fewer."""
    n_samples = graph.size(waveform, 1)
    longest = graph.op("Max", n_samples, graph.ints(shortest))
    positions = graph.op("Range", graph.ints(0), longest, graph.ints(1))
    return graph.op("Gather", waveform, graph.op("Mod", positions, n_samples), axis=1)


def _mn_log_mel(graph: Graph, waveform: Value, feature: mn.MnLogMel, front_end: FrontEnd) -> Value:
    op, ints = graph.op, graph.ints
    at_32k = resampled(graph, waveform, from_hz=feature.sample_rate, to_hz=mn.SAMPLE_RATE)
    before = op("Slice", at_32k, ints([0]), ints([-1]), ints([1]))
    after = op("Slice", at_32k, ints([1]), ints([np.iinfo(np.int64).max]), ints([1]))
    emphasised = op("Sub", after, op("Mul", before, graph.floats(mn.PRE_EMPHASIS)))
    window = torch.hann_window(mn.WINDOW_LENGTH, periodic=False).numpy()
    bank = mel_triangles(mn.SAMPLE_RATE, mn.N_FFT, mn.N_MELS, mn.F_MIN_HZ, mn.F_MAX_HZ)
    bands = Bands(window, mn.N_FFT, mn.HOP_LENGTH, bank)
    log = op("Log", op("Add", _centred(graph, emphasised, bands, front_end),
                       graph.floats(mn.POWER_OFFSET)))  # fmt: skip
    return op("Div", op("Sub", log, graph.floats(mn.LEVEL)), graph.floats(mn.SPREAD))


def _centred(graph: Graph, waveform: Value, bands: Bands, front_end: FrontEnd) -> Value:
    """Bands of frames that are centred on every hop; the waveform is reflected at both ends."""
    half = len(bands.window) // 2
    return mel_bands(graph, graph.pad(waveform, half, half, "reflect"), bands, front_end)


_FRONT_ENDS: dict[type[FeatureType], Callable[[Graph, Value, Any, FrontEnd], Value]] = {
    LogMel: _log_mel,
    Mfcc: _mfcc,
    Waveform: _samples,
    vggish.VggishPatches: _patches,
    mn.MnLogMel: _mn_log_mel,
}
