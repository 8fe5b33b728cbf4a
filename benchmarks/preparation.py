"""How fast preparation is, one thread, beside the usual way: `python -m benchmarks.preparation`.

Prints audio seconds per second of processor time over a made corpus, in turns (`benchmarks.turns`).
The third column is the least that any way has to do for the same bits: libsndfile and SHA-256 for
decoding, the Fourier transforms for spectra, SoX itself for its effects.
"""

import argparse
import importlib
import importlib.util
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from benchmarks.turns import Spread, Way, Work, each, seconds_in_turns
from earmark.exits import clean_exit
from earmark.seeding import rng_for
from earmark.sound.samples import Float32, Int16, as_float, resample

RATE = 44_100
FRAMES: dict[str, Any] = {"n_fft": 2048, "hop_length": 512}
BAND: dict[str, Any] = {"f_min_hz": 0.0, "f_max_hz": RATE / 2}
LOG_MEL = {"n_mels": 80, **FRAMES, **BAND}
MFCC = {"n_mels": 128, "n_mfcc": 80, **FRAMES, **BAND}
VALUES: dict[str, dict[str, Any]] = {
    "tempo": {"factor": 1.2},
    "pitch": {"semitones": 2},
    "reverb": {"reverberance": 50, "high_freq_damping": 50, "room_scale": 80, "pre_delay_ms": 10},
    "compand": {"preset": "film_standard"},
}
SOX_CLIPS = 8  # of the corpus, since a pass takes half a second
CROP_SECONDS, CROPS, BATCH = 2.0, 512, 32
CHUNK = 128  # frames of a Fourier transform in the third column

Maker = Callable[[Path], Work]  # of a folder of recordings


class Step(NamedTuple):
    """One step of preparation: the usual way, earmark's, and the least that can be done."""

    name: str
    beside: str
    usual: Maker
    ours: Maker
    least: Maker | None = None
    least_is: str = ""
    unit: str = "s"  # of sound; or crops
    n_clips: int | None = None  # of the corpus


class Row(NamedTuple):
    """What a step reached: units a second of processor time, and ratios within a turn."""

    step: Step
    usual: float
    ours: float
    least: float | None
    ratio: Spread

    def record(self) -> dict[str, Any]:
        """For metrics/benchmarks.json."""
        of_limit = round(self.ours / self.least, 3) if self.least else None
        return {
            "step": self.step.name,
            "beside": self.step.beside,
            "unit": f"{self.step.unit} a second",
            "usual": float(f"{self.usual:.3g}"),
            "earmark": float(f"{self.ours:.3g}"),
            "ratio": [round(value, 2) for value in self.ratio],
            "limit": float(f"{self.least:.3g}") if self.least else None,
            "limit_is": self.step.least_is,
            "share_of_limit": of_limit,
        }


def made_corpus(folder: Path, n_clips: int) -> list[Path]:
    """Write noise bursts with quiet ends, 0.5 to 9 s long, as 16-bit wav."""
    paths = []
    for clip in range(n_clips):
        rng = rng_for(0, "benchmark", clip)
        n_samples = int(rng.uniform(0.5, 9.0) * RATE)
        waveform = 0.1 * rng.standard_normal(n_samples)
        waveform[: n_samples // 8] *= 1e-4
        waveform[-n_samples // 5 :] *= 1e-4
        paths.append(folder / f"{clip:03}.wav")
        soundfile.write(paths[-1], waveform, RATE, subtype="PCM_16")
    return paths


def paths_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.wav"))


def samples_in(folder: Path) -> list[Int16]:
    return [soundfile.read(path, dtype="int16")[0] for path in paths_in(folder)]


def waveforms_in(folder: Path) -> list[Float32]:
    return [as_float(samples) for samples in samples_in(folder)]


def usual_decode(folder: Path) -> Work:
    import librosa

    return each(lambda path: librosa.load(path, sr=RATE), paths_in(folder))


def our_decode(folder: Path) -> Work:
    from earmark.sound.decoding import decode

    return each(lambda path: decode(path, sample_rate=RATE), paths_in(folder))


def least_decode(folder: Path) -> Work:
    import hashlib

    def read_and_hash(path: Path) -> str:
        return hashlib.sha256(soundfile.read(path, dtype="int16")[0].data).hexdigest()

    return each(read_and_hash, paths_in(folder))


def usual_trim(folder: Path) -> Work:
    import librosa

    return each(lambda samples: librosa.effects.trim(as_float(samples)), samples_in(folder))


def our_trim(folder: Path) -> Work:
    from earmark.sound.trimming import trim_ends

    return each(lambda samples: trim_ends(samples, top_db=60), samples_in(folder))


def librosa_log_mel(waveform: Float32) -> NDArray[np.float16]:
    import librosa

    mel = librosa.feature.melspectrogram(y=waveform, sr=RATE, n_mels=80, **FRAMES)
    rows: NDArray[np.float16] = librosa.power_to_db(mel, top_db=None).astype(np.float16)
    return rows


def librosa_mfcc(waveform: Float32) -> NDArray[np.float16]:
    import librosa

    mfcc = librosa.feature.mfcc(y=waveform, sr=RATE, n_mfcc=80, n_mels=128, **FRAMES)
    rows: NDArray[np.float16] = mfcc.astype(np.float16)
    return rows


def usual_features(functions: list[Callable[[Float32], object]], folder: Path) -> Work:
    return each(lambda waveform: [f(waveform) for f in functions], waveforms_in(folder))


def our_features(types: list[tuple[str, dict[str, Any]]], folder: Path) -> Work:
    """From samples as they are stored to rows as they are stored, as the stage does."""
    from earmark.features import build
    from earmark.features.extraction import extract

    features = [build(name, options, sample_rate=RATE) for name, options in types]
    return each(lambda samples: [extract(samples, f) for f in features], samples_in(folder))


def least_frames(n_features: int, folder: Path) -> Work:
    lengths = [len(samples) for samples in samples_in(folder)]

    def transform(n_samples: int) -> None:
        for _ in range(n_features):
            _transforms(1 + n_samples // 512, 2048)

    return each(transform, lengths)


def _transforms(n_frames: int, n_fft: int) -> None:
    import torch

    frames = torch.zeros(CHUNK, n_fft)
    spectra = torch.empty(CHUNK, n_fft // 2 + 1, dtype=torch.complex64)
    for first in range(0, n_frames, CHUNK):
        n = min(CHUNK, n_frames - first)
        torch.fft.rfft(frames[:n], out=spectra[:n])


def numpy_patches(at_16k: Float32) -> object:
    """VGGish's published front-end, numpy in float64, of a waveform (T,) at 16 kHz."""
    from earmark.features.vggish import vggish_mel_weights

    samples = at_16k.astype(np.float64)
    if len(samples) < 15_600:
        samples = np.resize(samples, 15_600)
    frames = np.lib.stride_tricks.sliding_window_view(samples, 400)[::160]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    magnitude = np.abs(np.fft.rfft(frames * window, 512))
    log_mel = np.log(magnitude @ vggish_mel_weights() + 0.01)
    n_patches = len(log_mel) // 96
    return log_mel[: n_patches * 96].reshape(n_patches, 96, 64).astype(np.float16)


def usual_patches(folder: Path) -> Work:
    import librosa

    def patches(waveform: Float32) -> object:
        return numpy_patches(librosa.resample(waveform, orig_sr=RATE, target_sr=16_000))

    return each(patches, waveforms_in(folder))


def published_patches(folder: Path) -> Work:
    resampy = importlib.import_module("resampy")  # which nothing else needs

    def patches(waveform: Float32) -> object:
        return numpy_patches(resampy.resample(waveform, RATE, 16_000))

    return each(patches, waveforms_in(folder))


def least_patches(folder: Path) -> Work:
    def resample_and_transform(waveform: Float32) -> None:
        at_16k = resample(waveform, from_hz=RATE, to_hz=16_000)
        _transforms(max(0, 1 + (len(at_16k) - 400) // 160), 512)

    return each(resample_and_transform, waveforms_in(folder))


def usual_sox(folder: Path) -> Work:
    """pysox with its own defaults, one process an effect."""
    import sox as pysox

    def four_effects(waveform: Float32) -> None:
        for transformer in (
            pysox.Transformer().tempo(1.2),
            pysox.Transformer().pitch(2),
            pysox.Transformer().reverb(),
            pysox.Transformer().compand(),
        ):
            transformer.build_array(input_array=waveform, sample_rate_in=RATE)

    return each(four_effects, waveforms_in(folder)[:SOX_CLIPS])


def our_sox(folder: Path) -> Work:
    from earmark.sound import sox

    def four_effects(samples: Int16) -> None:
        for effect, values in VALUES.items():
            sox.apply(samples, RATE, effect, values)

    return each(four_effects, samples_in(folder)[:SOX_CLIPS])


def least_sox(folder: Path) -> Work:
    """The program alone: the same effects from file to file."""
    from earmark.sound import sox

    def four_effects(path: Path) -> None:
        for effect, values in VALUES.items():
            command = [sox.require(), "-D", "-R", "-q", "-v", "0.01", str(path), "-t", "raw"]
            command += ["-b", "32", "/dev/null", *sox.arguments(effect, values)]
            subprocess.run(command, check=True)

    return each(four_effects, paths_in(folder)[:SOX_CLIPS])


def _log_mels(folder: Path) -> Iterator[Any]:
    from earmark.features import build
    from earmark.features.extraction import extract

    feature = build("logmel", LOG_MEL, sample_rate=RATE)
    yield from (extract(samples, feature) for samples in samples_in(folder))


def usual_crops(folder: Path) -> Work:
    """One npy a clip, loaded for each crop, as many published training scripts do."""
    home = Path(tempfile.mkdtemp(dir=folder))
    paths = [home / f"{i}.npy" for i, _ in enumerate(samples_in(folder))]
    for path, rows in zip(paths, _log_mels(folder), strict=True):
        np.save(path, rows)
    length, rng = 1 + int(CROP_SECONDS * RATE) // 512, np.random.default_rng(0)

    def crop() -> Any:
        rows = np.load(paths[rng.integers(len(paths))])
        start = rng.integers(max(1, len(rows) - length + 1))
        cut = rows[start : start + length]
        return np.pad(cut, ((0, length - len(cut)), (0, 0)))

    return each(lambda _: np.stack([crop() for _ in range(BATCH)]), range(CROPS // BATCH))


def our_crops(folder: Path) -> Work:
    from benchmarks.batch_source import sampler_of

    length = 1 + int(CROP_SECONDS * RATE) // 512
    sampler = sampler_of("logmel", list(_log_mels(folder)), length, batch_size=BATCH)
    rng, n_clips = rng_for(0, "benchmark crops"), len(sampler.examples)
    draws = [rng.integers(n_clips, size=BATCH) for _ in range(CROPS // BATCH)]
    return each(lambda units: sampler.gather(units, rng), draws)


def steps() -> list[Step]:
    log_mel, mfcc = ("logmel", LOG_MEL), ("mfcc", MFCC)
    ffts, patches = "the Fourier transforms", partial(our_features, [("patches", {})])
    some = [
        Step("decode, hashed and checked", "librosa.load", usual_decode, our_decode,
             least_decode, "libsndfile and SHA-256"),
        Step("trim", "librosa.effects.trim", usual_trim, our_trim),
        Step("log-mel 2048/512/80", "librosa", partial(usual_features, [librosa_log_mel]),
             partial(our_features, [log_mel]), partial(least_frames, 1), ffts),
        Step("MFCC 128/80", "librosa", partial(usual_features, [librosa_mfcc]),
             partial(our_features, [mfcc]), partial(least_frames, 1), ffts),
        Step("log-mel and MFCC", "two librosa calls",
             partial(usual_features, [librosa_log_mel, librosa_mfcc]),
             partial(our_features, [log_mel, mfcc]), partial(least_frames, 2), f"{ffts}, twice"),
        Step("VGGish patches from 44.1 kHz", "numpy front-end on librosa's soxr", usual_patches,
             patches, least_patches, "soxr and the Fourier transforms"),
    ]  # fmt: skip
    if importlib.util.find_spec("resampy"):
        published = "published: resampy, numpy front-end"
        some.append(Step("VGGish patches from 44.1 kHz", published, published_patches, patches,
                         least_patches, "soxr and the Fourier transforms"))  # fmt: skip
    return [
        *some,
        Step("SoX, four effects", "pysox", usual_sox, our_sox, least_sox, "the program alone",
             n_clips=SOX_CLIPS),
        Step("random 2 s crops", "one npy a clip", usual_crops, our_crops, unit="crops"),
    ]  # fmt: skip


def measure(step: Step, folder: Path, turns: int) -> Row:
    """Time the ways of a step in turns on the recordings of a folder."""
    ways = [
        Way(partial(step.usual, folder)),
        Way(partial(step.ours, folder), as_stages=True),
        *([Way(partial(step.least, folder), as_stages=True)] if step.least else []),
    ]
    usual, ours, *least = seconds_in_turns(ways, turns)
    amount = float(CROPS)
    if step.unit == "s":
        chosen = paths_in(folder)[: step.n_clips]
        amount = sum(soundfile.info(path).duration for path in chosen)
    ratio = Spread.of([u / o for u, o in zip(usual, ours, strict=True)])
    speeds = [amount / Spread.of(seconds).median for seconds in (usual, ours, *least)]
    return Row(step, speeds[0], speeds[1], speeds[2] if least else None, ratio)


def measure_all(n_clips: int, turns: int) -> Iterator[Row]:
    """Each step in turn, on a corpus made for it."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        made_corpus(Path(name), n_clips)
        for step in steps():
            yield measure(step, Path(name), turns)


def line(row: Row) -> str:
    """One line of the table that is printed."""
    least = f"{row.least:9,.0f} {row.step.least_is}" if row.least else ""
    low, high = row.ratio.low, row.ratio.high
    ratio = f"{row.ratio.median:5.1f}x ({low:.1f} to {high:.1f})"
    return f"{row.step.name:29} {row.usual:9,.0f} {row.ours:9,.0f} {ratio:22} {least}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=30)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    print(f"{options.clips} clips; seconds of sound, or crops, a second of processor time")
    print(f"{'step':29} {'usual':>9} {'earmark':>9} {'ratio':22} {'limit':>9}")
    for row in measure_all(options.clips, options.turns):
        print(line(row), flush=True)


if __name__ == "__main__":
    with clean_exit():
        main()
