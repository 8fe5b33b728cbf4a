"""How the search for duplicates grows, and what it finds: `python -m benchmarks.duplicates`.

Writes stores of made clips, some of which are copies of others (turned down, cut, resampled, with
noise, through mp3 and ogg), and searches each. Time a clip should stay nearly level as they grow.
"""

import argparse
import hashlib
import io
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from earmark.audit.duplicates import find_duplicates
from earmark.exits import clean_exit
from earmark.processes import set_up_process
from earmark.seeding import rng_for
from earmark.sound.samples import Float32, as_int16, resample
from earmark.store import Store, StoreWriter

RATE = 22_050  # of the stored clips: half the disk of 44.1 kHz, and above what is looked at
PLANTED_SHARE = 0.05
Rng = np.random.Generator


def made_sound(rng: Rng, seconds: float) -> Float32:
    """Some decaying events of filtered noise and tones over a little noise, as float32 (T,)."""
    n = int(seconds * RATE)
    sound = 0.003 * rng.standard_normal(n)
    time_axis = np.arange(n) / RATE
    for _ in range(rng.integers(2, 9)):
        after = time_axis - rng.uniform(0, seconds)
        decay = np.where(after >= 0, np.exp(-np.maximum(after, 0) / rng.uniform(0.03, 0.5)), 0)
        hz, swing = rng.uniform(200, 6000), rng.uniform(0.1, 8)
        tone = np.sin(2 * np.pi * hz * time_axis + swing * np.sin(2 * np.pi * 5 * time_axis))
        hiss = np.convolve(rng.standard_normal(n), rng.standard_normal(16), "same") / 8
        sound += rng.uniform(0.05, 0.3) * decay * (tone if rng.random() < 0.5 else hiss)
    return np.asarray(0.9 * sound / np.abs(sound).max(), np.float32)


def through(waveform: Float32, form: str, subtype: str) -> Float32:
    file = io.BytesIO()
    soundfile.write(file, waveform, RATE, format=form, subtype=subtype)
    file.seek(0)
    return np.asarray(soundfile.read(file, dtype="float32")[0])


def noisy(waveform: Float32, rng: Rng) -> Float32:
    level = np.sqrt(np.square(waveform).mean()) * 10 ** (-30 / 20)
    return np.asarray(waveform + level * rng.standard_normal(len(waveform)), np.float32)


COPIES: dict[str, Callable[[Float32, Rng], Float32]] = {
    "gain 0.3": lambda w, _: w * np.float32(0.3),
    "middle 60 %": lambda w, _: w[len(w) // 5 : -len(w) // 5],
    "half rate": lambda w, _: resample(
        resample(w, from_hz=RATE, to_hz=RATE // 2), from_hz=RATE // 2, to_hz=RATE
    ),
    "noise, 30 dB": noisy,
    "mp3": lambda w, _: through(w, "MP3", "MPEG_LAYER_III"),
    "ogg": lambda w, _: through(w, "OGG", "VORBIS"),
}


def plan(n_clips: int) -> list[tuple[int, str]]:
    """For each clip the number of its sound, and what was done to it ("" for the original)."""
    n_copies = int(PLANTED_SHARE * n_clips)
    kinds = list(COPIES)
    copies = [(i, kinds[i % len(kinds)]) for i in range(n_copies)]
    return [*((i, "") for i in range(n_clips - n_copies)), *copies]


def write_clips(folder: Path, clips: list[tuple[int, str]]) -> None:
    with StoreWriter(folder, row_shape=(), dtype="int16", metadata={"sample_rate": RATE}) as store:
        for number, (sound, change) in enumerate(clips):
            rng = rng_for(0, "duplicates", sound)
            waveform = made_sound(rng, float(rng.uniform(0.5, 8.0)))
            if change:
                waveform = COPIES[change](waveform, rng_for(0, "copy", number))
            samples = as_int16(waveform)
            sha256 = hashlib.sha256(samples.data).hexdigest()
            store.append(samples, clip=str(number), seconds=len(samples) / RATE, sha256=sha256)


def search(folder: Path, n_clips: int, workers: int, queue: "multiprocessing.Queue[str]") -> None:
    """Search one store, in a process of its own so that its peak of memory is its own."""
    set_up_process(threads=1)
    clips = plan(n_clips)
    write_clips(folder, clips)
    labels = [f"class {sound % 40}" for sound, _ in clips]
    began = time.perf_counter()
    found = find_duplicates(Store.open(folder), labels, seed=0, workers=workers).pairs
    seconds = time.perf_counter() - began
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    pairs = {(int(a), int(b)) for a, b in found[["first", "second"]].to_numpy()}
    true = {(sound, number) for number, (sound, change) in enumerate(clips) if change}
    recall = {
        kind: np.mean([(s, i) in pairs for i, (s, change) in enumerate(clips) if change == kind])
        for kind in COPIES
    }
    precision = len(pairs & true) / max(len(pairs), 1)
    by_kind = "  ".join(f"{kind} {value:.2f}" for kind, value in recall.items())
    queue.put(
        f"{n_clips:7,} clips  {seconds:7.1f} s  {1000 * seconds / n_clips:5.2f} ms a clip  "
        f"{megabytes:6,.0f} MB  recall {len(pairs & true) / len(true):.3f}  "
        f"precision {precision:.3f}\n        recall of: {by_kind}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[250, 1000])
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    for n_clips in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            context = multiprocessing.get_context("spawn")
            queue = context.Queue()
            arguments = (Path(folder) / "store", n_clips, options.workers, queue)
            process = context.Process(target=search, args=arguments)
            process.start()
            process.join()
            print(queue.get(timeout=5) if process.exitcode == 0 else "failed", flush=True)


if __name__ == "__main__":
    with clean_exit():
        main()
