"""How the stages before training grow with the corpus: `python -m benchmarks.growth`.

Makes corpora of short clips, all alike, and runs each stage on each of them, in a process of its
own: processor time a clip, children included, and the most memory of the stage and of its workers.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.alone import Cost, run_alone
from benchmarks.results import keep
from earmark.exits import clean_exit
from earmark.layout import Layout
from earmark.params import Params
from earmark.seeding import rng_for

RATE = 8000
N_CLASSES = 20
FEATURE = "logmel"
OPTIONS = {"n_fft": 512, "hop_length": 128, "n_mels": 64, "f_min_hz": 0.0, "f_max_hz": RATE / 2}
STAGES = ("decode", "split", "trim", "class_mixing", "augment", "features", "audit_sound")


def made_corpus(folder: Path, n_clips: int) -> None:
    """Write clips of 1 to 2 s, tones in noise, into class folders."""
    for label in range(N_CLASSES):
        (folder / f"class{label:02}").mkdir(parents=True)
    for clip in range(n_clips):
        rng = rng_for(0, "growth", clip)
        n_samples = int(rng.uniform(1.0, 2.0) * RATE)
        phase = 2 * np.pi * rng.uniform(100, 3000) / RATE * np.arange(n_samples)
        waveform = 0.2 * np.sin(phase) + 0.05 * rng.standard_normal(n_samples)
        path = folder / f"class{clip % N_CLASSES:02}" / f"{clip:06}.wav"
        soundfile.write(path, waveform, RATE, subtype="PCM_16")


def params_on(recordings: Path) -> Params:
    """Every stage before training, with one effect: each further one is as much again."""
    from benchmarks.pipeline import params_for  # not above: the processes of stages do without it

    features = {FEATURE: {"type": "logmel", **OPTIONS}}
    effects = dict.fromkeys(("pitch", "reverb", "compand"))
    decode = {"sample_rate": RATE}
    return params_for(recordings, features, decode=decode, augment=effects)


def costs(
    n_clips: int, report: Callable[[str], object], stages: Sequence[str] = STAGES
) -> dict[str, Cost]:
    """Of each of the stages, on a corpus of so many clips."""
    done: dict[str, Cost] = {}
    with tempfile.TemporaryDirectory() as name:
        root, recordings = Path(name) / "root", Path(name) / "recordings"
        root.mkdir()
        made_corpus(recordings, n_clips)
        params = params_on(recordings)
        for stage in stages:
            run = import_module(f"stages.{stage}").run
            arguments = [FEATURE] if stage == "features" else []
            what = f"stage {stage} at {n_clips} clips"
            _, done[stage] = run_alone(run, params, Layout(root), *arguments, name=what)
            cost = done[stage]
            report(
                f"{n_clips:7,} clips  {stage:13} {1000 * cost.seconds / n_clips:7.2f} ms a clip  "
                f"{cost.megabytes:6,.0f} MB, a worker {cost.worker_megabytes:6,.0f} MB"
            )
    return done


def marginal(small: Cost, large: Cost, n_small: int, n_large: int) -> float:
    """Milliseconds that each further clip takes: what a stage starts with is left out."""
    return 1000 * (large.seconds - small.seconds) / (n_large - n_small)


def rows_of(sizes: list[int], measured: list[dict[str, Cost]]) -> list[dict[str, Any]]:
    """For each stage the time a clip and the memory by size, and the time of each further clip."""
    rows = []
    for stage in measured[0]:
        of_stage = [costs_[stage] for costs_ in measured]
        each = [round(1000 * c.seconds / n, 2) for c, n in zip(of_stage, sizes, strict=True)]
        steps = list(zip(of_stage, of_stage[1:], sizes, sizes[1:], strict=False))
        rows.append({
            "stage": stage,
            "clips": sizes,
            "ms_a_clip": each,
            "ms_a_further_clip": [round(marginal(*step), 2) for step in steps],
            "megabytes": [round(c.megabytes) for c in of_stage],
            "worker_megabytes": [round(c.worker_megabytes) for c in of_stage],
        })  # fmt: skip
    return rows


def table_of(sizes: list[int], rows: list[dict[str, Any]]) -> list[list[str]]:
    head = ["stage", *(f"{n:,} clips" for n in sizes)]
    head += [f"each from {n:,} on" for n in sizes[:-1]]
    head += ["memory, MB", "of a worker, MB"]
    lines = []
    for row in rows:
        times = [f"{value:.2f}" for value in (*row["ms_a_clip"], *row["ms_a_further_clip"])]
        memory = [" / ".join(map(str, row[key])) for key in ("megabytes", "worker_megabytes")]
        lines.append([row["stage"], *times, *memory])
    return [head, *lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 2000, 8000, 32000])
    parser.add_argument("--keep", action="store_true", help="write docs/performance.md, too")
    parser.add_argument("--stages", nargs="+", default=STAGES, help="these alone, in their order")
    options = parser.parse_args()
    if options.keep and options.stages != STAGES:
        parser.error("--keep writes the table of all stages; leave --stages out")
    sizes = sorted(options.sizes)
    measured = [costs(n, lambda text: print(text, flush=True), options.stages) for n in sizes]
    rows = rows_of(sizes, measured)
    for row in rows:
        print(row["stage"], "ms of each further clip:", *row["ms_a_further_clip"])
    if options.keep:
        keep("growth", "python -m benchmarks.growth --keep", rows, table_of(sizes, rows))


if __name__ == "__main__":
    with clean_exit():
        main()
