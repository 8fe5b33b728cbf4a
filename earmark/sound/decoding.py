"""Read any recording that libsndfile knows as mono int16 at one rate, or say why not.

Shapes: T samples, C channels.
"""

import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from earmark.sound.containers import cut_short, with_length

Int16 = NDArray[np.int16]
Float32 = NDArray[np.float32]

FULL_SCALE = 32768
REASONS = ("missing", "empty", "truncated", "unreadable", "beyond_end", "not_finite", "silent")
_BLOCK_FRAMES = 1 << 20  # read in blocks: a wrong header must not decide how much memory is used
_LOWEST_HZ = 1000  # a damaged header that says 1 Hz would grow 44,100-fold
_UNKNOWN_FRAMES = 1 << 36  # a flac cannot say more than this
_SLACK_SECONDS = 0.01  # how far an excerpt may pass the end: times in tables are rounded

Span = tuple[float, float]  # start and end in seconds; NaN: those of the recording
WHOLE: Span = (math.nan, math.nan)


class UnusableAudio(ValueError):  # noqa: N818 -- it says what the file is
    """A recording that cannot be used, with one of REASONS and one line that says how to fix it.

    missing: no such file, or a link to a missing file. empty: no samples. truncated: fewer samples
    than the header promises. unreadable: a folder, no permission, or nothing that libsndfile
    decodes. beyond_end: an excerpt that ends after its recording. not_finite: NaN or infinity among
    the samples. silent: every sample is zero.
    """

    def __init__(self, path: Path, reason: str, finding: str, fix: str) -> None:
        assert reason in REASONS, reason
        super().__init__(path, reason, finding, fix)  # all four, or it could not be pickled
        self.reason = reason
        self.message = f"{path.name}: {finding}; {fix}"

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, kw_only=True, eq=False)
class Decoded:
    """A recording at the working rate, and what it was in its file.

    Attributes:
        waveform: int16 (T,), mono at the working rate.
        n_frames: samples of one channel of the clip at `native_sample_rate`.
        sha256: of the waveform's bytes: equal for equal sound, whatever container it came in.
    """

    waveform: Int16
    native_sample_rate: int
    channels: int
    n_frames: int
    sha256: str

    @property
    def duration_seconds(self) -> float:
        return self.n_frames / self.native_sample_rate

    @property
    def peak(self) -> float:
        """The largest magnitude of the waveform, 0 to 1."""
        return max(int(self.waveform.max()), -int(self.waveform.min())) / FULL_SCALE


def decode(path: Path, *, sample_rate: int) -> Decoded:
    """Read a file of any rate, width and channel count; channels are averaged.

    16-bit samples at the working rate stay as they are. All others are computed in float32, rounded
    and clipped to int16. The header of an mp3 does not tell its length, so an mp3 that was cut
    short is read as far as it goes.

    Raises:
        UnusableAudio: the file cannot be used; `.reason` is one of REASONS.
    """
    (decoded,) = decode_excerpts(path, [WHOLE], sample_rate=sample_rate)
    if isinstance(decoded, UnusableAudio):
        raise decoded
    return decoded


def decode_excerpts(
    path: Path, spans: Sequence[Span], *, sample_rate: int
) -> list[Decoded | UnusableAudio]:
    """Decode a file once and cut it into excerpts, each the same as if it had a file of its own.

    Returns:
        For each span its audio, or the error that says why it cannot be used. Where the file
        cannot be read, all spans get the same error.
    """
    try:
        samples, native_sample_rate = _read(path)  # (n, C)
    except UnusableAudio as error:
        return [error] * len(spans)
    mono = _down_mix(samples)  # (n,)
    excerpts: list[Decoded | UnusableAudio] = []
    for span in spans:
        try:
            part = _cut(path, mono, native_sample_rate, span)
            excerpts.append(
                _finished(path, part, native_sample_rate, samples.shape[1], sample_rate)
            )
        except UnusableAudio as error:
            excerpts.append(error)
    return excerpts


def _cut(path: Path, mono: Int16 | Float32, rate: int, span: Span) -> Int16 | Float32:
    """The part (n,) from the first to the second time; the nearest samples are taken."""
    seconds = len(mono) / rate
    start = 0.0 if math.isnan(span[0]) else span[0]
    end = seconds if math.isnan(span[1]) else span[1]
    part = mono[round(start * rate) : round(end * rate)]
    if end > seconds + _SLACK_SECONDS or (start > 0 and not len(part)):
        finding = f"it is {seconds:.3f} s long, its excerpt {start:.3f} to {end:.3f} s"
        fix = "correct start_seconds and end_seconds, or leave the clip out"
        raise UnusableAudio(path, "beyond_end", finding, fix)
    return part


def _finished(
    path: Path, mono: Int16 | Float32, native_sample_rate: int, channels: int, sample_rate: int
) -> Decoded:
    """Mono samples (n,) of a file, at the working rate and as int16."""
    n_frames = len(mono)
    if native_sample_rate != sample_rate:
        mono = resample(as_float(mono), from_hz=native_sample_rate, to_hz=sample_rate)  # (T,)
    if mono.dtype == np.float32 and not np.isfinite(mono).all():
        raise UnusableAudio(
            path, "not_finite", "has NaN or infinite samples", "export it again, or leave it out"
        )
    waveform = as_int16(mono)
    if not len(waveform):
        raise UnusableAudio(path, "empty", f"has no sample at {sample_rate} Hz", "leave it out")
    if not waveform.any():
        raise UnusableAudio(
            path, "silent", "every sample is zero", "record it again, or leave it out"
        )
    return Decoded(
        waveform=waveform,
        native_sample_rate=native_sample_rate,
        channels=channels,
        n_frames=n_frames,
        sha256=hashlib.sha256(waveform.data).hexdigest(),
    )


def resample(waveform: Float32, *, from_hz: int, to_hz: int) -> Float32:
    """Resample (T,) with soxr at its "HQ" quality: no alias above -100 dB."""
    if from_hz == to_hz:
        return waveform
    resampled: Float32 = soxr.resample(waveform, from_hz, to_hz, quality="HQ")
    return resampled


def as_float(waveform: Int16 | Float32) -> Float32:
    """Scale int16 to float32 in [-1, 1); float32 passes."""
    if waveform.dtype == np.float32:
        return waveform.astype(np.float32, copy=False)
    return waveform.astype(np.float32) * np.float32(1 / FULL_SCALE)


def as_int16(waveform: Int16 | Float32) -> Int16:
    """Scale float32 by 32,768, round and clip to int16; int16 passes."""
    if waveform.dtype == np.int16:
        return waveform.astype(np.int16, copy=False)
    clipped: Float32 = np.clip(waveform, -1, 1)
    scaled = np.rint(clipped * np.float32(FULL_SCALE))
    rounded: Int16 = np.minimum(scaled, FULL_SCALE - 1).astype(np.int16)
    return rounded


def _read(path: Path) -> tuple[Int16 | Float32, int]:
    """All samples (n, C) of the file, unchanged, and their rate."""
    again = "fetch or export it again, or leave it out"
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise UnusableAudio(path, "empty", "the file has no bytes", again)
            if shortfall := cut_short(file):
                raise UnusableAudio(path, "truncated", shortfall, again)
            samples, n_promised, sample_rate = _read_frames(path, file)
    except FileNotFoundError:
        finding = "is a link to a missing file" if path.is_symlink() else "does not exist"
        raise UnusableAudio(path, "missing", finding, "restore it, or leave it out") from None
    except OSError as error:
        fix = "give read permission, or leave it out"
        raise UnusableAudio(path, "unreadable", error.strerror or "cannot be read", fix) from None
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a name that ends in .raw
        finding = f"libsndfile cannot decode it ({getattr(error, 'error_string', error)})"
        fix = "convert it to wav or flac, or leave it out"
        raise UnusableAudio(path, "unreadable", finding, fix) from None
    if sample_rate < _LOWEST_HZ:
        finding = f"its header says {sample_rate} Hz, below {_LOWEST_HZ} Hz"
        raise UnusableAudio(path, "unreadable", finding, again)
    if len(samples) < n_promised:
        finding = f"it cannot be decoded to the end of its {n_promised} samples"
        raise UnusableAudio(path, "truncated", finding, again)
    if not len(samples):
        raise UnusableAudio(path, "empty", "has a header and no samples", again)
    return samples, sample_rate


def _read_frames(path: Path, file: BinaryIO) -> tuple[Int16 | Float32, int, int]:
    """The samples (n, C) that can be decoded, how many a binding header promises, and the rate."""
    with soundfile.SoundFile(path) as sound:
        if sound.frames:
            return _read_open(sound)
    fixed = with_length(file)
    with soundfile.SoundFile(path if fixed is None else io.BytesIO(fixed)) as sound:
        return _read_open(sound)


def _read_open(sound: soundfile.SoundFile) -> tuple[Int16 | Float32, int, int]:
    # Otherwise soundfile seeks after every read, which a flac of unknown length refuses at its end.
    sound.seekable = lambda: False
    n_promised = sound.frames if sound.format == "FLAC" and sound.frames < _UNKNOWN_FRAMES else 0
    # libsndfile's float path is slow, and 16-bit samples need none of it.
    dtype = "int16" if sound.subtype == "PCM_16" else "float32"
    n_wanted = min(sound.frames, _BLOCK_FRAMES)
    blocks: list[Int16 | Float32] = []
    try:
        while len(block := sound.read(n_wanted, dtype=dtype, always_2d=True)):
            blocks.append(block)
    except soundfile.LibsndfileError:
        if not n_promised:
            raise
    if len(blocks) == 1:
        return blocks[0], n_promised, sound.samplerate
    empty = np.empty((0, sound.channels), dtype)
    return np.concatenate([empty, *blocks]), n_promised, sound.samplerate


def _down_mix(samples: Int16 | Float32) -> Int16 | Float32:
    """(n, C) -> (n,): the mean of the channels, as float32 where there are several."""
    n_channels = samples.shape[1]
    if n_channels == 1:
        return samples[:, 0]
    scale = n_channels * (FULL_SCALE if samples.dtype == np.int16 else 1)
    total = samples[:, 0].astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # reported as not finite
        for channel in range(1, n_channels):
            total += samples[:, channel]
    return total * np.float32(1 / scale)
