"""What stages side by side are worth: `python -m benchmarks.side_by_side --jobs 2 --trainings 8`.

In a clone of the last commit, equal trainings of one thread each, one for each fold of a synthetic
corpus, are run by `dvc repro` and by `python -m earmark repro --jobs N`, in turns; then, by the
same command, all that follows them. What stands before them is done. Both must end in the same
metrics and the same dvc.lock, to the byte. With `EARMARK_ENGINE` set, both use that engine.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.tiny_clone import Clone
from earmark.processes import duration

TRAININGS = "train_logmel"  # the stages of the only models that are left


class Times(NamedTuple):
    """Seconds of a command for the trainings, and then for what follows them."""

    trainings: float
    rest: float


def main() -> int:
    """Print the two times and their ratio; 1 if results differ."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--trainings", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--together", action="store_true", help="as of `earmark repro`")
    arguments = parser.parse_args()

    def change(params: dict[str, Any]) -> None:
        params["cv"]["k"], params["folds"] = arguments.trainings, [*range(arguments.trainings)]
        params["models"] |= {"wave16k": {}, "embedding": {}}
        params["extractors"] = {}
        params["runtime"] |= {"threads": 1, "workers": 1, "checkpoint_seconds": 60.0}
        params["model"] |= {"epochs": arguments.epochs, "patience": arguments.epochs}
        params["demo"]["tiny"]["n_train"] = 40 * arguments.trainings

    ours = ["repro", "--jobs", str(arguments.jobs)]
    ours += ["--together"] if arguments.together else []
    with tempfile.TemporaryDirectory(prefix="earmark-side-by-side-") as name:
        (Path(name) / "disk").mkdir()
        clone = Clone(Path(name) / "disk", Path(name) / "finished", has_own_disk=False)
        clone.prepare(change, "features", "split", "audit_sound")
        commands = {
            "dvc repro": ["dvc", "repro"],
            " ".join(ours): ["python", "-m", "earmark", *ours],
        }
        times: dict[str, list[Times]] = {command: [] for command in commands}
        results = []
        for _ in range(arguments.rounds):
            for command, words in commands.items():
                clone.restore()
                trainings = _seconds(clone, *words, TRAININGS)
                times[command].append(Times(trainings, _seconds(clone, *words)))
                results.append(_results(clone.root))
                if results[-1] != results[0]:
                    print(f"{command}: other metrics or another dvc.lock")
                    return 1
    medians = {
        command: Times(*map(statistics.median, zip(*rounds, strict=True)))
        for command, rounds in times.items()
    }
    print(f"{arguments.trainings} trainings of one thread, and what follows them:")
    for command, (trainings, rest) in medians.items():
        print(f"  {command:16} {duration(trainings)}, and {duration(rest)}")
    one, several = medians.values()
    trainings, both = one.trainings / several.trainings, sum(one) / sum(several)
    print(f"  trainings {trainings:.2f} times as fast, with what follows {both:.2f} times")
    print("  equal metrics and dvc.lock")
    return 0


def _seconds(clone: Clone, *command: str) -> float:
    start = time.monotonic()
    clone.run(*command)
    return time.monotonic() - start


def _results(root: Path) -> dict[str, str]:
    paths = [*(root / "metrics").glob("*.json"), root / "dvc.lock"]
    texts = {path.name: path.read_text(encoding="utf-8") for path in paths}
    texts["dvc.lock"] = "\n".join(sorted(texts["dvc.lock"].splitlines()))  # of another order
    return texts


if __name__ == "__main__":
    sys.exit(main())
