"""How the search for duplicates grows, and what it finds: `python -m benchmarks.duplicates`.

Writes stores of made clips, some of which are copies of others (turned down, cut, resampled, with
noise, through mp3 and ogg), and searches each. Time a clip should stay nearly level as they grow,
memory too, and the pairs found that are none should be as few as the search itself expects.
"""

import argparse
import hashlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.alone import run_alone
from benchmarks.results import keep
from earmark.audit.duplicate_search import DuplicateSearch
from earmark.audit.duplicates import find_duplicates
from earmark.exits import clean_exit
from earmark.processes import map_ordered
from earmark.seeding import rng_for
from earmark.sound.samples import Float32, Int16, as_int16, resample
from earmark.store import Store, StoreWriter

RATE = 22_050  # of the stored clips: half the disk of 44.1 kHz, and above what is looked at
SECONDS = (0.5, 3.0)
N_CLASSES = 40
PLANTED_SHARE = 0.05
Rng = np.random.Generator


def made_sound(rng: Rng, seconds: float) -> Float32:
    """Some decaying events of filtered noise and tones over a little noise, as float32 (T,)."""
    n = int(seconds * RATE)
    sound = np.float32(0.003) * rng.standard_normal(n, np.float32)
    for _ in range(rng.integers(2, 9)):
        decay_seconds = rng.uniform(0.03, 0.5)
        start = rng.integers(0, n)
        part = sound[start : start + int(7 * decay_seconds * RATE)]  # until it is 60 dB lower
        seconds_on = np.arange(len(part), dtype=np.float32) / RATE
        if rng.random() < 0.5:
            hz, swing = (np.float32(rng.uniform(*limits)) for limits in ((200, 6000), (0.1, 8)))
            vibrato = swing * np.sin(np.float32(2 * np.pi * 5) * seconds_on)
            event = np.sin(np.float32(2 * np.pi) * hz * seconds_on + vibrato)
        else:
            taps = rng.standard_normal(16, np.float32) / 8
            event = np.convolve(rng.standard_normal(len(part) + 15, np.float32), taps, "valid")
        part += rng.uniform(0.05, 0.3) * np.exp(seconds_on / np.float32(-decay_seconds)) * event
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


class Writer:
    """Makes the clips of a plan by number, for other processes."""

    def __init__(self, clips: list[tuple[int, str]], seed: int) -> None:
        self.clips, self.seed = clips, seed

    def __call__(self, number: int) -> Int16:
        sound, change = self.clips[number]
        rng = rng_for(self.seed, "duplicates", sound)
        waveform = made_sound(rng, float(rng.uniform(*SECONDS)))
        if change:
            waveform = COPIES[change](waveform, rng_for(self.seed, "copy", number))
        return as_int16(waveform)


def write_clips(folder: Path, clips: list[tuple[int, str]], *, seed: int, workers: int) -> None:
    made = map_ordered(Writer(clips, seed), range(len(clips)), workers=workers, description="clips")
    with StoreWriter(folder, row_shape=(), dtype="int16", metadata={"sample_rate": RATE}) as store:
        for number, samples in enumerate(made):
            sha256 = hashlib.sha256(samples.data).hexdigest()
            store.append(samples, clip=str(number), seconds=len(samples) / RATE, sha256=sha256)


def search(folder: Path, clips: list[tuple[int, str]], seed: int, workers: int) -> DuplicateSearch:
    labels = [f"class {sound % N_CLASSES}" for sound, _ in clips]
    return find_duplicates(Store.open(folder), labels, seed=seed, workers=workers)


def measured(n_clips: int, seed: int, workers: int) -> dict[str, Any]:
    """What a search of so many clips takes, and what it finds."""
    clips = plan(n_clips)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "store"
        write_clips(folder, clips, seed=seed, workers=workers)
        what = f"the search of {n_clips} clips"
        found, cost = run_alone(search, folder, clips, seed, workers, name=what)
    ends = found.pairs[["first", "second"]].astype(int).to_numpy()
    # Two copies of one sound are no false pair either.
    n_false = sum(clips[a][0] != clips[b][0] for a, b in ends)
    pairs = {(int(a), int(b)) for a, b in ends}
    by_kind: dict[str, list[bool]] = {kind: [] for kind in COPIES}
    for number, (sound, change) in enumerate(clips):
        if change:
            by_kind[change].append((sound, number) in pairs)
    return {
        "clips": n_clips,
        "seed": seed,
        "processor_seconds": round(cost.seconds, 1),
        "seconds": round(cost.wall_seconds, 1),
        "ms_a_clip": round(1000 * cost.seconds / n_clips, 2),
        "megabytes": round(cost.megabytes),
        "worker_megabytes": round(cost.worker_megabytes),
        "threshold": round(found.null.threshold, 3),
        "false_pairs": int(n_false),
        "expected_false_pairs": float(f"{found.null.expected_false:.2g}"),
        "recall": round(float(np.mean(np.concatenate(list(by_kind.values())))), 4),
        "recall_by_kind": {kind: round(float(np.mean(hits)), 3) for kind, hits in by_kind.items()},
    }


def line_of(row: dict[str, Any]) -> str:
    by_kind = "  ".join(f"{kind} {value:.3f}" for kind, value in row["recall_by_kind"].items())
    return (
        f"{row['clips']:7,} clips (seed {row['seed']})  {row['processor_seconds']:7.1f} s of "
        f"processors in {row['seconds']:.0f} s  {row['ms_a_clip']:5.2f} ms a clip  "
        f"{row['megabytes']:,} MB, a worker {row['worker_megabytes']:,} MB  threshold "
        f"{row['threshold']:.3f}  false pairs {row['false_pairs']}, expected at most "
        f"{row['expected_false_pairs']}\n        recall {row['recall']:.4f}  {by_kind}"
    )


def table_of(rows: list[dict[str, Any]]) -> list[list[str]]:
    head = ["clips", "processor time", "ms a clip", "memory, MB", "of a worker, MB",
            "threshold", "false pairs", "expected at most", "copies found"]  # fmt: skip
    lines = [
        [
            f"{row['clips']:,}",
            f"{row['processor_seconds']:.0f} s",
            f"{row['ms_a_clip']:.2f}",
            f"{row['megabytes']:,}",
            f"{row['worker_megabytes']:,}",
            f"{row['threshold']:.2f}",
            str(row["false_pairs"]),
            f"{row['expected_false_pairs']:.2g}",
            f"{row['recall']:.1%}",
        ]
        for row in rows
    ]
    return [head, *lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[250, 1000])
    parser.add_argument("--seed", type=int, default=0, help="of the sounds")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", action="store_true", help="write docs/performance.md, too")
    options = parser.parse_args()
    rows = []
    for n_clips in sorted(options.sizes):
        rows.append(measured(n_clips, options.seed, options.workers))
        print(line_of(rows[-1]), flush=True)
    if options.keep:
        sizes = " ".join(str(row["clips"]) for row in rows)
        command = f"python -m benchmarks.duplicates --sizes {sizes} --keep"
        keep("duplicates", command, rows, table_of(rows))


if __name__ == "__main__":
    with clean_exit():
        main()
