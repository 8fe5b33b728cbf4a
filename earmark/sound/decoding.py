"""Read any recording that libsndfile knows as mono int16 at one rate, or say why not.

Shapes: n samples of a block, C channels.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from earmark.sound.excerpts import WHOLE, Decoded, Excerpt, Span, Wanted
from earmark.sound.reading import read_blocks
from earmark.sound.samples import FULL_SCALE, Float32, Int16
from earmark.sound.unusable import UnusableAudio
from earmark.spool import IN_MEMORY, Scratch


def decode(
    path: Path,
    *,
    sample_rate: int,
    scratch: Scratch = IN_MEMORY,
    with_digest: bool = True,
) -> Decoded:
    """Read a file of any rate, width and channel count; channels are averaged.

    16-bit samples at the working rate stay as they are. All others are computed in float32, rounded
    and clipped to int16; very quiet ones are amplified before, see `Decoded.gain`. An mp3 whose
    first frame does not count its bytes is read to its end, wherever that is.

    Args:
        path: a wav, flac, ogg or mp3 file.
        sample_rate: of the result, in Hz.
        scratch: where a waveform goes that is too long for memory.
        with_digest: whether `Decoded.sha256` is wanted.

    Returns:
        The waveform (T,), int16 and mono, with what is known of the file.

    Raises:
        UnusableAudio: the file cannot be used; `.reason` is one of REASONS.

    >>> import soundfile
    >>> from tempfile import NamedTemporaryFile
    >>> stereo = np.full((8000, 2), 0.5)  # 1 s at 8 kHz
    >>> with NamedTemporaryFile(suffix=".wav") as file:
    ...     soundfile.write(file.name, stereo, 8000)
    ...     decoded = decode(Path(file.name), sample_rate=16_000)
    >>> decoded.waveform.shape, decoded.waveform.dtype
    ((16000,), dtype('int16'))
    """
    (decoded,) = decode_excerpts(
        path, [WHOLE], sample_rate=sample_rate, scratch=scratch, with_digest=with_digest
    )
    if isinstance(decoded, UnusableAudio):
        raise decoded
    return decoded


def decode_excerpts(
    path: Path,
    spans: Sequence[Span],
    *,
    sample_rate: int,
    scratch: Scratch = IN_MEMORY,
    with_digest: bool = True,
) -> list[Decoded | UnusableAudio]:
    """Decode a file once, by blocks, and cut it into excerpts while it passes.

    Each excerpt is the same as if it had a file of its own.

    Args:
        spans: may overlap, and stand in any order.
        scratch: where waveforms go that are too many for memory.
        with_digest: as for `decode`.

    Returns:
        For each span its audio, or the error that says why it cannot be used. Where the file
        cannot be read, all spans get the same error.
    """
    wanted = {i: Wanted(span, with_digest=with_digest) for i, span in enumerate(spans)}
    results: dict[int, Decoded | UnusableAudio] = {}
    while wanted:  # What is too quiet or too loud for int16 shows at its end: again, with a gain.
        collected = _collect(path, list(wanted.values()), sample_rate, scratch)
        decoded = dict(zip(wanted, collected, strict=True))
        wanted = {i: one for i, one in decoded.items() if isinstance(one, Wanted)}
        results |= {i: one for i, one in decoded.items() if not isinstance(one, Wanted)}
    return [results[i] for i in range(len(spans))]


def _collect(
    path: Path, wanted: Sequence[Wanted], sample_rate: int, scratch: Scratch
) -> Sequence[Decoded | UnusableAudio | Wanted]:
    """Decode a file once; an excerpt that needs a gain other than 1 is returned with it."""
    excerpts: list[Excerpt] = []
    waiting: list[Excerpt] = []  # the last one begins first
    open_: list[Excerpt] = []
    n_read = 0
    try:
        for samples, rate in read_blocks(path):  # (n, C)
            if not excerpts:
                channels = samples.shape[1]
                excerpts = [Excerpt(one, rate, sample_rate, scratch) for one in wanted]
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
