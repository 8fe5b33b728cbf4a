"""Time and disk of large corpora, from rates of this machine: `python -m benchmarks.scaling`.

Each step of params.yaml's pipeline is measured on one core, as `validate` does it, and multiplied:
clips, epochs, folds. What is assumed is printed below the table.
"""

import argparse
from typing import NamedTuple

from earmark.exits import clean_exit
from earmark.layout import Layout
from earmark.params import Params
from earmark.params.reading import load_params
from earmark.processes import set_up_process
from earmark.settings.cost import Corpus, Parts, parts_of

N_MEASURED = 1000  # clips, of which all amounts are multiples
TEST_SHARE = 0.2


class Machines(NamedTuple):
    """Several of one kind; on one of several the clips are prepared, on all networks train."""

    n: int
    n_cores: int

    def __str__(self) -> str:
        return f"{self.n} x {self.n_cores} core{'s' * (self.n_cores > 1)}"


MACHINES = [Machines(1, 1), Machines(1, 16), Machines(8, 16)]


class Times(NamedTuple):
    """In seconds."""

    preparing: float
    training: float

    @property
    def total(self) -> float:
        return self.preparing + self.training


def on_one_core(params: Params) -> Params:
    update = {"threads": 1, "workers": 1, "device": "cpu"}
    return params.model_copy(update={"runtime": params.runtime.model_copy(update=update)})


def times_of(parts: Parts, machines: Machines, factor: float) -> Times:
    """How long so many times the measured clips take.

    Args:
        parts: measured on one core.
        factor: how many times the clips that were measured.
    """
    n_slots = machines.n * machines.n_cores
    longest = max(parts.trainings)  # a training is not divided among slots
    training = max(longest, sum(parts.trainings) / n_slots) + parts.predicting / n_slots
    return Times(factor * parts.sound_seconds / machines.n_cores, factor * training)


def gigabytes(parts: Parts, factor: float) -> float:
    return (factor * parts.sound_bytes + parts.network_bytes) / 1e9


def in_words(seconds: float) -> str:
    """To two digits: "34 min", "4.1 h", "20 days"."""
    units = [("min", 60, 3600), ("h", 3600, 100 * 3600), ("days", 86_400, float("inf"))]
    unit, size = next((unit, size) for unit, size, end in units if seconds < end)
    value = float(f"{seconds / size:.2g}")
    return f"{value:,g} {unit}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--seconds", type=float, default=5.0, help="of a clip")
    parser.add_argument(
        "--gpu-times",
        type=float,
        help="how many times faster a GPU of yours trains than a core of this machine, if you know",
    )
    options = parser.parse_args()
    params = on_one_core(load_params(Layout.here().params))
    set_up_process(threads=1)
    n_test = round(N_MEASURED * TEST_SHARE)
    corpus = Corpus(N_MEASURED - n_test, n_test, options.seconds)
    parts = parts_of(params, corpus)
    print("| clips | machines | preparation | training and prediction | together | disk |")
    print("|---|---|---|---|---|---|")
    for n_clips in options.clips:
        factor = n_clips / N_MEASURED
        rows = [(str(machines), times_of(parts, machines, factor)) for machines in MACHINES]
        if options.gpu_times:
            training = times_of(parts, MACHINES[0], factor).training / options.gpu_times
            name = f"{MACHINES[1]}, a GPU of {options.gpu_times:g} of them (given)"
            rows.append((name, Times(rows[1][1].preparing, training)))
        for name, times in rows:
            shown = [in_words(one) for one in (times.preparing, times.training, times.total)]
            disk = f"{gigabytes(parts, factor):,.0f} GB"
            print(f"| {n_clips:,} | {name} | {' | '.join(shown)} | {disk} |")
    print("\n" + assumptions(parts, options.seconds))


def assumptions(parts: Parts, seconds: float) -> str:
    n_trainings = sum(one > 0 for one in parts.trainings)
    longest = max(parts.trainings) / sum(parts.trainings)
    return (
        f"Clips of {seconds:g} s, {TEST_SHARE:.0%} of them for the test; the features, effects and "
        f"{n_trainings} trainings of params.yaml with all their epochs, the longest of which is "
        f"{longest:.0%} of the work. Assumed: every core as fast as this one, whatever the others "
        "do; time in proportion to clips; disk and network fast enough; no start of a stage."
    )


if __name__ == "__main__":
    with clean_exit():
        main()
