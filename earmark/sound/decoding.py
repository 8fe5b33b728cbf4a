"""Read any recording that libsndfile knows as mono int16 at one rate, or say why not.

Shapes: T samples, C channels.
"""

import hashlib
import io
import math
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile

from earmark.sound.containers import cut_short, with_length
from earmark.sound.headers import quiet_stderr
from earmark.sound.impostors import Impostor, impostor
from earmark.sound.mp3 import with_count
from earmark.sound.recordings import name_of
from earmark.sound.samples import FULL_SCALE, Float32, Int16, Resampler, as_float, as_int16
from earmark.spool import IN_MEMORY, FileRows, Scratch, Spool

REASONS = (
    *("missing", "empty", "truncated", "unreadable"),
    *("beyond_end", "too_short", "not_finite", "silent"),
)
# Read in blocks: neither a long recording nor a wrong header decides how much memory is used.
_BLOCK_FRAMES = 1 << 20
_BLOCK_SAMPLES = 1 << 22  # of all channels
_HEAD_BYTES = 512  # that tell what a file is
_LOWEST_HZ = 1000  # a damaged header that says 1 Hz would grow 44,100-fold
_UNKNOWN_FRAMES = 1 << 36  # a flac cannot say more than this
SHORTEST_SECONDS = 0.01  # less than a hop of every paper's frames: a click without a spectrum
# Float samples beyond these peaks are brought within them: below 8 steps of int16 hardly 4 bits
# would be left, below half a step none; and no codec overshoots full scale eightfold, but floats
# on the scale of integers do.
QUIETEST_PEAK, LOUDEST_PEAK = 2.0**-12, 8.0
_SMALLEST_STEP = 2.0**-24  # half of one of 24 bits: what lies below was not recorded
_CANCELLED = 2.0**-10  # of the peak of the channels; what is left of their mean is rounding
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
    are equal, or below the step of 24 bits, or the channels cancel each other.
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
        waveform: int16 (T,), mono at the working rate; in a file where it is too long for memory.
        n_frames: samples of one channel of the clip at `native_sample_rate`.
        peak: the largest magnitude of the file; 1 is full scale, where all but gross excess ends.
        sha256: of the waveform's bytes: equal for equal sound, whatever container it came in.
        gain: what the samples were multiplied by: a power of two where their peak was outside of
            QUIETEST_PEAK to LOUDEST_PEAK, else 1.
    """

    waveform: Int16 | FileRows
    native_sample_rate: int
    channels: int
    n_frames: int
    peak: float
    sha256: str
    gain: float = 1.0

    @property
    def duration_seconds(self) -> float:
        return self.n_frames / self.native_sample_rate


def decode(path: Path, *, sample_rate: int, scratch: Scratch = IN_MEMORY) -> Decoded:
    """Read a file of any rate, width and channel count; channels are averaged.

    16-bit samples at the working rate stay as they are. All others are computed in float32, rounded
    and clipped to int16; very quiet ones are amplified before, see `Decoded.gain`. An mp3 whose
    first frame does not count its bytes is read to its end, wherever that is.

    Args:
        path: a wav, flac, ogg or mp3 file.
        sample_rate: of the result, in Hz.
        scratch: where a waveform goes that is too long for memory.

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
    (decoded,) = decode_excerpts(path, [WHOLE], sample_rate=sample_rate, scratch=scratch)
    if isinstance(decoded, UnusableAudio):
        raise decoded
    return decoded


def decode_excerpts(
    path: Path, spans: Sequence[Span], *, sample_rate: int, scratch: Scratch = IN_MEMORY
) -> list[Decoded | UnusableAudio]:
    """Decode a file once, by blocks, and cut it into excerpts while it passes.

    Each excerpt is the same as if it had a file of its own.

    Args:
        spans: may overlap, and stand in any order.
        scratch: where waveforms go that are too many for memory.

    Returns:
        For each span its audio, or the error that says why it cannot be used. Where the file
        cannot be read, all spans get the same error.
    """
    decoded = _collect(path, [_Wanted(span) for span in spans], sample_rate, scratch)
    # What is too quiet or too loud for int16 shows at its end: it is decoded again with a gain.
    again = {i: one for i, one in enumerate(decoded) if isinstance(one, _Wanted)}
    repeated = _collect(path, list(again.values()), sample_rate, scratch) if again else []
    results: list[Decoded | UnusableAudio | _Wanted] = [*decoded]
    for i, one in zip(again, repeated, strict=True):
        results[i] = one
    return [one for one in results if not isinstance(one, _Wanted)]


class _Wanted(NamedTuple):
    """An excerpt to decode, and what to multiply its samples by, if that is known."""

    span: Span
    gain: float | None = None


def _collect(
    path: Path, wanted: Sequence[_Wanted], sample_rate: int, scratch: Scratch
) -> Sequence[Decoded | UnusableAudio | _Wanted]:
    """Decode a file once; an excerpt that needs a gain other than 1 is returned with it."""
    excerpts: list[_Excerpt] = []
    waiting: list[_Excerpt] = []  # the last one begins first
    open_: list[_Excerpt] = []
    n_read = 0
    try:
        for samples, rate in _read(path):  # (n, C)
            if not excerpts:
                channels = samples.shape[1]
                excerpts = [_Excerpt(one, rate, sample_rate, scratch) for one in wanted]
                waiting = sorted(excerpts, key=lambda excerpt: -excerpt.start)
            mono = _down_mix(samples)  # (n,)
            while waiting and waiting[-1].start < n_read + len(mono):
                open_.append(waiting.pop())
            for excerpt in open_:
                excerpt.take(mono, samples, n_read)
            n_read += len(mono)
            open_ = [excerpt for excerpt in open_ if not excerpt.is_finished]
    except UnusableAudio as error:
        for excerpt in excerpts:
            excerpt.discard()
        return [error] * len(wanted)
    return [excerpt.result(path, n_read, channels) for excerpt in excerpts]


class _Excerpt:
    """A part of a recording, collected block by block at the working rate as int16."""

    def __init__(self, wanted: _Wanted, rate: int, sample_rate: int, scratch: Scratch) -> None:
        (span, self.gain), self.rate, self.sample_rate = wanted, rate, sample_rate
        self.span = span
        # The nearest samples are taken.
        self.start = 0 if math.isnan(span[0]) else round(span[0] * rate)
        self.end = math.inf if math.isnan(span[1]) else round(span[1] * rate)
        self.n_frames, self.is_finite, self.is_finished = 0, True, False
        # Of the samples before they are int16: the largest magnitude of floats, and their range.
        self.float_peak, self.lowest, self.highest = 0.0, math.inf, -math.inf
        self.channel_peak, self.mono_peak = 0.0, 0.0  # where there are several channels
        self.int16_lowest, self.int16_highest = FULL_SCALE, -FULL_SCALE - 1
        self._resampler = Resampler(from_hz=rate, to_hz=sample_rate)
        self._spool = Spool(np.int16, scratch=scratch)
        self._digest = hashlib.sha256()

    def take(self, mono: Int16 | Float32, channels: Int16 | Float32, position: int) -> None:
        """Take what belongs to it of samples that begin at a position of the recording.

        Args:
            mono: (n,), the mean of the channels (n, C).
        """
        stop = int(min(max(self.end - position, 0), len(mono)))
        mine = slice(max(self.start - position, 0), stop)
        part = mono[mine]
        self.n_frames += len(part)
        if len(part) and channels.shape[1] > 1:
            self.channel_peak = max(self.channel_peak, _peak(channels[mine]))
            self.mono_peak = max(self.mono_peak, _peak(part))
        if 0 < len(part) < len(mono):
            part = part.copy()  # so that it does not hold the whole block in memory
        if self.rate != self.sample_rate:
            part = self._resampler.push(as_float(part))
        self._add(part)
        if position + len(mono) >= self.end:
            self._finish()

    def result(self, path: Path, n_read: int, channels: int) -> Decoded | UnusableAudio | _Wanted:
        """The excerpt of a recording of `n_read` samples, why it cannot be used, or its gain."""
        self._finish()
        gain = _gain(self.float_peak)
        found = self._unusable(path, n_read)
        if found is None and self.gain is None and gain != 1:
            self.discard()
            return _Wanted(self.span, gain)
        error = found or self._silent(path)
        if error is not None:
            self.discard()
            return error
        gain = self.gain or 1.0
        return Decoded(
            waveform=self._spool.rows(),
            native_sample_rate=self.rate,
            channels=channels,
            n_frames=self.n_frames,
            peak=max(self.int16_highest, -self.int16_lowest) / FULL_SCALE / gain,
            sha256=self._digest.hexdigest(),
            gain=gain,
        )

    def discard(self) -> None:
        self._spool.discard()

    def _finish(self) -> None:
        if not self.is_finished:
            self.is_finished = True
            self._add(self._resampler.finish())

    def _add(self, part: Int16 | Float32) -> None:
        """Add samples (n,) at the working rate."""
        if not len(part) or not self.is_finite:
            return
        if part.dtype == np.float32 and not np.isfinite(part).all():
            self.is_finite = False
            return
        lowest, highest = float(part.min()), float(part.max())
        self.lowest, self.highest = min(self.lowest, lowest), max(self.highest, highest)
        if part.dtype == np.float32:
            self.float_peak = max(self.float_peak, highest, -lowest)
            if self.gain:
                part = np.ldexp(part, round(math.log2(self.gain)))
        waveform = as_int16(part)
        self.int16_lowest = min(self.int16_lowest, int(waveform.min()))
        self.int16_highest = max(self.int16_highest, int(waveform.max()))
        self._digest.update(np.ascontiguousarray(waveform).data)
        self._spool.append(waveform)

    def _unusable(self, path: Path, n_read: int) -> UnusableAudio | None:
        seconds = n_read / self.rate
        start = 0.0 if math.isnan(self.span[0]) else self.span[0]
        end = seconds if math.isnan(self.span[1]) else self.span[1]
        if end > seconds + _SLACK_SECONDS or (start > 0 and not self.n_frames):
            finding = f"it is {seconds:.3f} s long, its excerpt {start:.3f} to {end:.3f} s"
            fix = "correct start_seconds and end_seconds, or leave the clip out"
            return UnusableAudio(path, "beyond_end", finding, fix)
        if not self.is_finite:
            finding, fix = "has NaN or infinite samples", "export it again, or leave it out"
            return UnusableAudio(path, "not_finite", finding, fix)
        if not self._spool:
            finding = f"has no sample at {self.sample_rate} Hz"
            return UnusableAudio(path, "empty", finding, "leave it out")
        if (seconds := self.n_frames / self.rate) < SHORTEST_SECONDS:
            finding = f"is {1000 * seconds:.3g} ms long, below {1000 * SHORTEST_SECONDS:g} ms"
            is_whole = all(map(math.isnan, self.span))
            fix = "record it again" if is_whole else "widen start_seconds and end_seconds"
            return UnusableAudio(path, "too_short", finding, f"{fix}, or leave it out")
        if self.mono_peak < _CANCELLED * self.channel_peak:
            finding, fix = "its channels cancel each other", "export one channel, or leave it out"
            return UnusableAudio(path, "silent", finding, fix)
        return None

    def _silent(self, path: Path) -> UnusableAudio | None:
        if self.int16_lowest < self.int16_highest:
            return None
        finding = "every sample is the same" if self.highest else "every sample is zero"
        if self.gain is None and self.lowest < self.highest:
            finding = "no sample reaches the smallest step of 24 bits"
        return UnusableAudio(path, "silent", finding, "record it again, or leave it out")


def _peak(samples: Int16 | Float32) -> float:
    """The largest magnitude; 1 is full scale."""
    scale = FULL_SCALE if samples.dtype == np.int16 else 1
    return max(float(samples.max()), -float(samples.min())) / scale


def _gain(peak: float) -> float:
    """The power of two that brings a peak out of the range of int16 to 0.25 to 0.5, else 1."""
    if QUIETEST_PEAK <= peak <= LOUDEST_PEAK or peak < _SMALLEST_STEP:
        return 1.0
    return 2.0 ** -(math.frexp(peak)[1] + 1)


def _read(path: Path) -> Iterator[tuple[Int16 | Float32, int]]:
    """The samples of the file by blocks (n, C), unchanged, each with their rate.

    Raises:
        UnusableAudio: the file cannot be read, which may show only at its end.
    """
    again = "fetch or export it again, or leave it out"
    n_read = n_promised = 0
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
            with _opened(path, file) as sound:
                if sound.samplerate < _LOWEST_HZ:
                    finding = f"its header says {sound.samplerate} Hz, below {_LOWEST_HZ} Hz"
                    raise UnusableAudio(path, "unreadable", finding, again)
                shares = {"FLAC": 1.0, "OGG": _OGG_SHARE}  # others are read before, or bind nothing
                is_known = sound.frames < _UNKNOWN_FRAMES
                n_promised = int(sound.frames * shares.get(sound.format, 0)) if is_known else 0
                for block in _blocks(sound, is_binding=n_promised > 0):
                    n_read += len(block)
                    yield block, sound.samplerate
    except FileNotFoundError:
        finding = "is a link to a missing file" if path.is_symlink() else "does not exist"
        raise UnusableAudio(path, "missing", finding, "restore it, or leave it out") from None
    except OSError as error:
        needs_right = isinstance(error, PermissionError)
        fix = "give read permission, or leave it out" if needs_right else again
        raise UnusableAudio(path, "unreadable", error.strerror or "cannot be read", fix) from None
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: a name that ends in .raw
        text = str(getattr(error, "error_string", error))
        finding = f"libsndfile cannot decode it ({text})"
        unknown = Impostor(finding, "convert it to wav or flac, or leave it out")
        if "does not exist" in text:  # as it says of an mp3 without frames
            unknown = Impostor("is no mp3: no frame of one was found", again)
        raise UnusableAudio(path, "unreadable", *(impostor(head) or unknown)) from None
    if n_read < n_promised:
        finding = f"it cannot be decoded to the end of its {n_promised} samples"
        raise UnusableAudio(path, "truncated", finding, again)
    if not n_read:
        raise UnusableAudio(path, "empty", "has a header and no samples", again)


def _other_than_a_file(mode: int) -> str:
    """What there is instead of a regular file; "" for one."""
    kinds = {stat.S_IFREG: "", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe"}
    return (kinds | {stat.S_IFSOCK: "a socket"}).get(stat.S_IFMT(mode), "a device")


def _opened(path: Path, file: BinaryIO) -> soundfile.SoundFile:
    # As bytes, since soundfile cannot encode a name that is not UTF-8.
    with quiet_stderr():
        sound = soundfile.SoundFile(os.fsencode(path))
    if sound.format == "MP3" and (counted := with_count(file)) is not None:
        sound.close()
        with quiet_stderr():
            return soundfile.SoundFile(io.BytesIO(counted))
    if sound.frames or (fixed := with_length(file)) is None:
        return sound
    sound.close()
    return soundfile.SoundFile(fixed)


def _blocks(sound: soundfile.SoundFile, *, is_binding: bool) -> Iterator[Int16 | Float32]:
    """The samples (n, C) that can be decoded; an error ends them if the header tells how many."""
    # Otherwise soundfile seeks after every read, which a flac of unknown length refuses at its end.
    sound.seekable = lambda: False
    # libsndfile's float path is slow, and 16-bit samples need none of it.
    dtype = "int16" if sound.subtype == "PCM_16" else "float32"
    n_wanted = min(sound.frames, _BLOCK_FRAMES, max(1, _BLOCK_SAMPLES // sound.channels))
    with suppress(*[soundfile.LibsndfileError] if is_binding else []):
        while True:
            with quiet_stderr() if sound.format == "MP3" else nullcontext():
                block = sound.read(n_wanted, dtype=dtype, always_2d=True)
            if not len(block):
                break
            yield block


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
