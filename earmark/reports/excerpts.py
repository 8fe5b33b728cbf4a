"""Short compressed excerpts of clips and a small spectrogram of each, to lie beside a page.

MP3, since every browser plays it, and since its bytes depend on the sound alone (an Ogg stream has
a random number in it). Files are named by number: what clips are called may be no file name.
Shapes: T samples, N frames, M bands, W columns of a picture.
"""

import io
import struct
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earmark.layout import Layout
from earmark.processes import map_ordered
from earmark.sound.trimmed_clips import TrimmedClips
from earmark.whole_files import whole_folder

MAX_SECONDS = 10.0  # of an excerpt
_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000)  # Hz, of MP3; above, files grow
_QUALITY = 0.6  # of variable bit rate, between 0, the best, and 1
_N_FFT, _BANDS, _COLUMNS = 2048, 64, 240
_RANGE_DB = 70.0  # between the darkest and the brightest colour
_LEVELS = 32  # colours: few of them compress well
# From silence to the loudest: dark blue, purple, orange, pale yellow.
_COLOURS = ((8, 10, 32), (74, 30, 110), (170, 50, 100), (240, 120, 50), (252, 240, 180))


class Excerpt(NamedTuple):
    """The number in the names of its two files, how long it is, and how long the whole clip."""

    number: int
    seconds: float
    clip_seconds: float


def write_excerpts(
    layout: Layout, clips: Sequence[str], folder: Path, *, workers: int
) -> dict[str, Excerpt]:
    """Write `0000.mp3` and `0000.png` and so on into a new `folder`, one pair a clip.

    Args:
        layout: of the repository; data/trimmed has the sound that the networks read.
        clips: their names, each once; those without sound there (quarantined ones) get nothing,
            and so do all where nothing is trimmed yet.
        folder: is made.
        workers: processes; they change no byte.

    Returns:
        The excerpts by clip.
    """
    with whole_folder(folder) as part:
        if not (layout.trimmed / "store.json").exists():
            return {}
        trimmed = TrimmedClips.open(layout.trimmed, layout.decoded)
        row_of = {clip: row for row, clip in enumerate(trimmed.index["clip"])}
        lengths = trimmed.index["length"].to_numpy() / trimmed.metadata["sample_rate"]
        wanted = [row_of[clip] for clip in clips if clip in row_of and lengths[row_of[clip]]]
        made = map_ordered(
            partial(_files_of, trimmed), wanted, workers=workers, description="excerpts"
        )
        excerpts = {}
        for number, (row, (sound, image)) in enumerate(zip(wanted, made, strict=True)):
            (part / f"{number:04d}.mp3").write_bytes(sound)
            (part / f"{number:04d}.png").write_bytes(image)
            seconds = float(lengths[row])
            excerpts[trimmed.index["clip"].iloc[row]] = Excerpt(
                number, round(min(seconds, MAX_SECONDS), 2), round(seconds, 2)
            )
    return excerpts


def _files_of(trimmed: TrimmedClips, row: int) -> tuple[bytes, bytes]:
    rate = int(trimmed.metadata["sample_rate"])
    waveform = trimmed.beginning(row, round(MAX_SECONDS * rate))
    return compressed(waveform, rate), png(spectrogram(waveform, rate))


def compressed(waveform: NDArray[np.int16], sample_rate: int) -> bytes:
    """A waveform (T,) as MP3 of at most 24 kHz."""
    import soundfile
    import soxr

    rate = max((one for one in _RATES if one <= sample_rate), default=_RATES[0])
    samples = waveform if rate == sample_rate else soxr.resample(waveform, sample_rate, rate)
    buffer = io.BytesIO()
    options: dict[str, Any] = {"bitrate_mode": "VARIABLE", "compression_level": _QUALITY}
    soundfile.write(buffer, samples, rate, format="MP3", subtype="MPEG_LAYER_III", **options)
    return buffer.getvalue()


def spectrogram(waveform: NDArray[np.int16], sample_rate: int) -> NDArray[np.uint8]:
    """Levels (M, W) of 0 to 31 of a waveform (T,), high frequencies on top, 70 dB from 0 to 31.

    Bands are as wide in mel, up to half the sample rate.
    """
    hop = max(1, min(_N_FFT // 2, len(waveform) // _COLUMNS))
    padded = np.pad(waveform.astype(np.float32), _N_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _N_FFT)[::hop]  # (N, n_fft)
    columns = np.array_split(np.arange(len(frames)), min(_COLUMNS, len(frames)))
    edges = _band_edges(sample_rate)
    window = np.hanning(_N_FFT).astype(np.float32)
    power = np.empty((len(columns), _BANDS), np.float32)  # (W, M)
    for column, rows in enumerate(columns):
        spectra = np.abs(np.fft.rfft(frames[rows] * window)) ** 2
        power[column] = np.add.reduceat(spectra.mean(axis=0), edges) / np.diff(
            edges, append=_N_FFT // 2 + 1
        )
    level_db = 10 * np.log10(np.maximum(power, 1e-3 * np.float32(_N_FFT)))
    shares = 1 + (level_db - level_db.max()) / _RANGE_DB
    levels = np.clip(shares, 0, 1) * (_LEVELS - 1) if power.max() > 0 else np.zeros_like(power)
    return np.ascontiguousarray(np.rint(levels).astype(np.uint8).T[::-1])


def _band_edges(sample_rate: int) -> NDArray[np.int64]:
    """The first bin of each band, all different."""
    highest_mel = 2595 * np.log10(1 + sample_rate / 2 / 700)
    hz = 700 * (10 ** (np.linspace(0, highest_mel, _BANDS + 1)[:-1] / 2595) - 1)
    bins = np.rint(hz * _N_FFT / sample_rate).astype(np.int64)
    return np.maximum.accumulate(bins - np.arange(_BANDS)) + np.arange(_BANDS)


def png(levels: NDArray[np.uint8]) -> bytes:
    """Levels (M, W) as a picture with a palette."""
    height, width = levels.shape
    steps = np.linspace(0, len(_COLOURS) - 1, _LEVELS)
    known = np.array(_COLOURS, dtype=np.float64).T
    palette = np.stack([np.interp(steps, range(len(_COLOURS)), one) for one in known], axis=1)
    rows = np.concatenate([np.zeros((height, 1), np.uint8), levels], axis=1)  # 0: no filter
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", np.rint(palette).astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
