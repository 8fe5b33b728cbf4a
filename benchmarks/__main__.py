"""Measure preparation and training step beside the usual ways: `make bench`.

Writes metrics/benchmarks.json and the tables of docs/performance.md. Half an hour on a core.
"""

import argparse

import torch

from benchmarks import pipeline, preparation, train_step
from benchmarks.results import keep
from benchmarks.turns import Spread
from earmark.exits import clean_exit

NETWORKS = ("densenet", "resnet1d", "samplecnn", "vggish", "soundnet", "cnn_comb")  # the papers'


def spread(ratio: Spread) -> str:
    digits = 0 if ratio.median >= 20 else 1
    low, high = (f"{value:.{digits}f}" for value in (ratio.low, ratio.high))
    return f"**{ratio.median:.{digits}f}** ({low} to {high})"


def bench_preparation(n_clips: int, pipeline_clips: int, turns: int) -> None:
    """Each step beside its peer, and the way from files to features."""
    rows = []
    for row in preparation.measure_all(n_clips, turns):
        print(preparation.line(row), flush=True)
        rows.append(row)
    for row in pipeline.measure(pipeline_clips, turns):
        print(preparation.line(row), flush=True)
        rows.append(row)
    table = [["step", "beside", "usual", "earmark", "ratio", "limit", "what the limit is"]]
    for row in rows:
        step, limit = row.step, f"{row.least:,.0f}" if row.least else ""
        speeds = [f"{value:,.0f}" for value in (row.usual, row.ours)]
        unit = "" if step.unit == "s" else f", {step.unit} a second"
        table.append([step.name + unit, step.beside, *speeds, spread(row.ratio), limit,
                      step.least_is])  # fmt: skip
    keep("preparation", "make bench", [row.record() for row in rows], table)


def bench_training(turns: int) -> None:
    """A training step of each network of the papers."""
    rows, peaks = train_step.speeds(list(NETWORKS), "cpu", 1, None, turns)
    table = [["network, batch", "plain float32", "with earmark's allocator",
              "bfloat16 and channels last", "ratio", "of peak", "data"]]  # fmt: skip
    for row in rows:
        speeds = [f"{row.batch_size / times.step:.3g}" for times in row.times]
        shares = [f"{row.of_peak(peaks)[1]:.0%}", f"{row.data_share:.2%}"]
        name = f"{row.config.network}, {row.batch_size}"
        table.append([name, *speeds, spread(row.ratio), *shares])
    records = [row.record(peaks) for row in rows]
    keep("training", "make bench", records, table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=30, help="of the steps of preparation")
    parser.add_argument("--pipeline-clips", type=int, default=200, help="of files to features")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--only", choices=["preparation", "training"], help="instead of both")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.only != "training":
        bench_preparation(options.clips, options.pipeline_clips, options.turns)
    if options.only != "preparation":
        bench_training(min(options.turns, 3))


if __name__ == "__main__":
    with clean_exit("bench"):
        main()
