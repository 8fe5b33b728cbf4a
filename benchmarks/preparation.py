"""How fast preparation is, one thread, beside the usual way: `python -m benchmarks.preparation`.

Prints audio seconds per second of processor time, children included, so that other work on the
machine counts little: the best of a few passes over a made corpus.
"""

import argparse
import resource
import tempfile
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import soundfile
import sox as pysox
import torch
from threadpoolctl import threadpool_limits

from earmark.exits import clean_exit
from earmark.features import build
from earmark.features.vggish import vggish_mel_weights
from earmark.seeding import rng_for
from earmark.sound import sox
from earmark.sound.decoding import decode
from earmark.sound.samples import Float32, as_float
from earmark.sound.trimming import trim_ends

RATE = 44_100
FRAMES: dict[str, Any] = {"n_fft": 2048, "hop_length": 512}
BAND: dict[str, Any] = {"f_min_hz": 0.0, "f_max_hz": RATE / 2}
REVERB = {"reverberance": 50, "high_freq_damping": 50, "room_scale": 80, "pre_delay_ms": 10}


@dataclass(frozen=True)
class Step:
    """One step of preparation: two functions of one item, and the items."""

    name: str
    usual: Callable[[Any], object]
    ours: Callable[[Any], object]
    items: Iterable[Any]


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


def usual_log_mel(waveform: Float32) -> object:
    mel = librosa.feature.melspectrogram(y=waveform, sr=RATE, n_mels=80, **FRAMES)
    return librosa.power_to_db(mel, top_db=None)


def usual_mfcc(waveform: Float32) -> object:
    return librosa.feature.mfcc(y=waveform, sr=RATE, n_mfcc=80, n_mels=128, **FRAMES)


def usual_patches(waveform: Float32) -> object:
    """The published numpy front-end in float64, after librosa's resampling."""
    at_16k = librosa.resample(waveform, orig_sr=RATE, target_sr=16_000).astype(np.float64)
    if len(at_16k) < 15_600:
        at_16k = np.resize(at_16k, 15_600)
    frames = np.lib.stride_tricks.sliding_window_view(at_16k, 400)[::160]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    magnitude = np.abs(np.fft.rfft(frames * window, 512))
    log_mel = np.log(magnitude @ vggish_mel_weights() + 0.01)
    n_patches = len(log_mel) // 96
    return log_mel[: n_patches * 96].reshape(n_patches, 96, 64)


def usual_sox(waveform: Float32) -> None:
    """pysox with its own defaults, one process an effect."""
    for transformer in (
        pysox.Transformer().tempo(1.2),
        pysox.Transformer().pitch(2),
        pysox.Transformer().reverb(),
        pysox.Transformer().compand(),
    ):
        transformer.build_array(input_array=waveform, sample_rate_in=RATE)


def our_sox(waveform: Float32) -> None:
    samples = (waveform * 32768).astype(np.int16)
    sox.apply(samples, RATE, "tempo", {"factor": 1.2})
    sox.apply(samples, RATE, "pitch", {"semitones": 2})
    sox.apply(samples, RATE, "reverb", REVERB)
    sox.apply(samples, RATE, "compand", {"preset": "film_standard"})


def steps(paths: list[Path], waveforms: list[Float32]) -> list[Step]:
    samples = [(waveform * 32768).astype(np.int16) for waveform in waveforms]
    log_mel = build("logmel", {"n_mels": 80, **FRAMES, **BAND}, sample_rate=RATE)
    mfcc = build("mfcc", {"n_mels": 128, "n_mfcc": 80, **FRAMES, **BAND}, sample_rate=RATE)
    patches = build("patches", {}, sample_rate=RATE)
    return [
        Step(
            "decode, hashed and checked",
            lambda path: librosa.load(path, sr=RATE),
            lambda path: decode(path, sample_rate=RATE),
            paths,
        ),
        Step("trim float32", librosa.effects.trim, lambda w: trim_ends(w, top_db=60), waveforms),
        Step(
            "trim int16",
            lambda w: librosa.effects.trim(as_float(w)),
            lambda w: trim_ends(w, top_db=60),
            samples,
        ),
        Step("log-mel 2048/512/80", usual_log_mel, log_mel, waveforms),
        Step("MFCC 128/80", usual_mfcc, mfcc, waveforms),
        Step("VGGish patches from 44.1 kHz", usual_patches, patches, waveforms),
        Step("SoX, four effects", usual_sox, our_sox, waveforms[:8]),
    ]


def processor_seconds() -> float:
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def best_seconds(function: Callable[[Any], object], items: Iterable[Any], n_passes: int) -> float:
    best = float("inf")
    for _ in range(n_passes + 1):  # the first pass builds tables, and cannot be the best
        began = processor_seconds()
        for item in items:
            function(item)
        best = min(best, processor_seconds() - began)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=30)
    parser.add_argument("--passes", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        paths = made_corpus(Path(folder), options.clips)
        decoded = (decode(path, sample_rate=RATE).waveform for path in paths)
        waveforms = [as_float(np.asarray(waveform)) for waveform in decoded]
        seconds = {path: len(w) / RATE for path, w in zip(paths, waveforms, strict=True)}
        print(f"{len(paths)} clips, {sum(seconds.values()):.0f} s of sound; audio seconds a second")
        print(f"{'step':30} {'usual':>9} {'earmark':>9} {'ratio':>7}")
        for step in steps(paths, waveforms):
            items = list(step.items)
            amount = sum(list(seconds.values())[: len(items)])
            usual = amount / best_seconds(step.usual, items, options.passes)
            ours = amount / best_seconds(step.ours, items, options.passes)
            print(f"{step.name:30} {usual:9,.0f} {ours:9,.0f} {ours / usual:6.1f}x")


if __name__ == "__main__":
    with clean_exit():
        main()
