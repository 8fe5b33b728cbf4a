"""Read any recording that libsndfile knows as mono int16 at one rate, or say why not.

Shapes: T samples, C channels.
"""

import hashlib
import io
import math
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from earmark.sound.containers import cut_short, with_length
from earmark.sound.impostors import Impostor, impostor
from earmark.sound.mp3 import with_count
from earmark.sound.recordings import name_of

Int16 = NDArray[np.int16]
Float32 = NDArray[np.float32]

FULL_SCALE = 32768
REASONS = (
    *("missing", "empty", "truncated", "unreadable"),
    *("beyond_end", "too_short", "not_finite", "silent"),
)
_BLOCK_FRAMES = 1 << 20  # read in blocks: a wrong header must not decide how much memory is used
_HEAD_BYTES = 512  # that tell what a file is
_LOWEST_HZ = 1000  # a damaged header that says 1 Hz would grow 44,100-fold
_UNKNOWN_FRAMES = 1 << 36  # a flac cannot say more than this
_SHORTEST_SECONDS = 0.01  # less than a hop of every paper's frames: a click without a spectrum
# Float samples beyond these peaks are brought within them: below 8 steps of int16 hardly 4 bits
# would be left, below half a step none; and no codec overshoots full scale eightfold, but floats
# on the scale of integers do.
QUIETEST_PEAK, LOUDEST_PEAK = 2.0**-12, 8.0
_SMALLEST_STEP = 2.0**-24  # half of one of 24 bits: what lies below was not recorded
_OGG_SHARE = 0.99  # the times of an ogg's pages are not always exact
_SLACK_SECONDS = 0.01  # how far an excerpt may pass the end: times in tables are rounded

Span = tuple[float, float]  # start and end in seconds; NaN: those of the recording
WHOLE: Span = (math.nan, math.nan)


class UnusableAudio(ValueError):  # noqa: N818 -- it says what the file is
    """A recording that cannot be used, with one of REASONS and one line that says how to fix it.

    missing: no such file, or a link to a missing file. empty: no samples. truncated: fewer samples
    than the header promises. unreadable: no file but a folder, pipe or device, no permission, or
    nothing that libsndfile decodes. beyond_end: an excerpt that ends after its recording.
    too_short: less than 10 ms. not_finite: NaN or infinity among the samples. silent: all samples
    are equal, or below the step of 24 bits.
    """

    def __init__(self, path: Path, reason: str, finding: str, fix: str) -> None:
        assert reason in REASONS, reason
        super().__init__(path, reason, finding, fix)  # all four, or it could not be pickled
        self.reason = reason
        self.message = f"{name_of(path.name)}: {finding}; {fix}"

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, kw_only=True, eq=False)
class Decoded:
    """A recording at the working rate, and what it was in its file.

    Attributes:
        waveform: int16 (T,), mono at the working rate.
        n_frames: samples of one channel of the clip at `native_sample_rate`.
        sha256: of the waveform's bytes: equal for equal sound, whatever container it came in.
        gain: what the samples were multiplied by: a power of two where their peak was outside of
            QUIETEST_PEAK to LOUDEST_PEAK, else 1.
    """

    waveform: Int16
    native_sample_rate: int
    channels: int
    n_frames: int
    sha256: str
    gain: float = 1.0

    @property
    def duration_seconds(self) -> float:
        return self.n_frames / self.native_sample_rate

    @property
    def peak(self) -> float:
        """The largest magnitude of the file; 1 is full scale, where all but gross excess ends."""
        peak = max(int(self.waveform.max()), -int(self.waveform.min())) / FULL_SCALE
        return peak / self.gain


def decode(path: Path, *, sample_rate: int) -> Decoded:
    """Read a file of any rate, width and channel count; channels are averaged.

    16-bit samples at the working rate stay as they are. All others are computed in float32, rounded
    and clipped to int16; very quiet ones are amplified before, see `Decoded.gain`. An mp3 whose
    first frame does not count its bytes is read to its end, wherever that is.

    Args:
        path: a wav, flac, ogg or mp3 file.
        sample_rate: of the result, in Hz.

    Returns:
        The waveform (T,), int16 and mono, with what is known of the file.

    Raises:
        UnusableAudio: the file cannot be used; `.reason` is one of REASONS.

    >>> from tempfile import NamedTemporaryFile
    >>> stereo = np.full((8000, 2), 0.5)  # 1 s at 8 kHz
    >>> with NamedTemporaryFile(suffix=".wav") as file:
    ...     soundfile.write(file.name, stereo, 8000)
    ...     decoded = decode(Path(file.name), sample_rate=16_000)
    >>> decoded.waveform.shape, decoded.waveform.dtype
    ((16000,), dtype('int16'))
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
    if not len(mono):
        raise UnusableAudio(path, "empty", f"has no sample at {sample_rate} Hz", "leave it out")
    if (seconds := n_frames / native_sample_rate) < _SHORTEST_SECONDS:
        finding = f"is {1000 * seconds:.2g} ms long, too short to hold a sound"
        raise UnusableAudio(path, "too_short", finding, "record it again, or leave it out")
    gain = 1.0 if mono.dtype == np.int16 else _gain(float(np.abs(mono).max()))
    waveform = as_int16(mono if gain == 1 else np.ldexp(mono, round(math.log2(gain))))
    if waveform.min() == waveform.max():
        level = float(mono[0])
        finding = "every sample is the same" if level else "every sample is zero"
        if gain == 1 and np.ptp(mono):
            finding = "no sample reaches the smallest step of 24 bits"
        raise UnusableAudio(path, "silent", finding, "record it again, or leave it out")
    return Decoded(
        waveform=waveform,
        native_sample_rate=native_sample_rate,
        channels=channels,
        n_frames=n_frames,
        sha256=hashlib.sha256(waveform.data).hexdigest(),
        gain=gain,
    )


def _gain(peak: float) -> float:
    """The power of two that brings a peak out of the range of int16 to 0.25 to 0.5, else 1."""
    if QUIETEST_PEAK <= peak <= LOUDEST_PEAK or peak < _SMALLEST_STEP:
        return 1.0
    return 2.0 ** -(math.frexp(peak)[1] + 1)


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
    head = b""
    try:
        status = path.stat()  # before it is opened: to open a pipe waits for ever
        if other := _other_than_a_file(status.st_mode):
            raise UnusableAudio(path, "unreadable", f"is {other}, not a file", "leave it out")
        if not status.st_size:  # and files of /proc, which may wait as pipes do
            raise UnusableAudio(path, "empty", "the file has no bytes", again)
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            if shortfall := cut_short(file):
                raise UnusableAudio(path, "truncated", shortfall, again)
            samples, n_promised, sample_rate = _read_frames(path, file)
    except FileNotFoundError:
        finding = "is a link to a missing file" if path.is_symlink() else "does not exist"
        raise UnusableAudio(path, "missing", finding, "restore it, or leave it out") from None
    except OSError as error:
        needs_right = isinstance(error, PermissionError)
        fix = "give read permission, or leave it out" if needs_right else again
        raise UnusableAudio(path, "unreadable", error.strerror or "cannot be read", fix) from None
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a name that ends in .raw
        finding = f"libsndfile cannot decode it ({getattr(error, 'error_string', error)})"
        fix = "convert it to wav or flac, or leave it out"
        found = impostor(head) or Impostor(finding, fix)
        raise UnusableAudio(path, "unreadable", *found) from None
    if sample_rate < _LOWEST_HZ:
        finding = f"its header says {sample_rate} Hz, below {_LOWEST_HZ} Hz"
        raise UnusableAudio(path, "unreadable", finding, again)
    if len(samples) < n_promised:
        finding = f"it cannot be decoded to the end of its {n_promised} samples"
        raise UnusableAudio(path, "truncated", finding, again)
    if not len(samples):
        raise UnusableAudio(path, "empty", "has a header and no samples", again)
    return samples, sample_rate


def _other_than_a_file(mode: int) -> str:
    """What there is instead of a regular file; "" for one."""
    kinds = {stat.S_IFREG: "", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe"}
    return (kinds | {stat.S_IFSOCK: "a socket"}).get(stat.S_IFMT(mode), "a device")


def _read_frames(path: Path, file: BinaryIO) -> tuple[Int16 | Float32, int, int]:
    """The samples (n, C) that can be decoded, how many a binding header promises, and the rate."""
    name = os.fsencode(path)  # as soundfile cannot encode a name that is not UTF-8
    with soundfile.SoundFile(name) as sound:
        fixed = with_count(file) if sound.format == "MP3" else None
        if sound.frames and fixed is None:
            return _read_open(sound)
    fixed = fixed or with_length(file)
    with soundfile.SoundFile(name if fixed is None else io.BytesIO(fixed)) as sound:
        return _read_open(sound)


def _read_open(sound: soundfile.SoundFile) -> tuple[Int16 | Float32, int, int]:
    # Otherwise soundfile seeks after every read, which a flac of unknown length refuses at its end.
    sound.seekable = lambda: False
    shares = {"FLAC": 1.0, "OGG": _OGG_SHARE}  # other headers are read before, or bind nothing
    is_known = sound.frames < _UNKNOWN_FRAMES
    n_promised = int(sound.frames * shares.get(sound.format, 0)) if is_known else 0
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
