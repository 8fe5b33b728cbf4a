"""Compare a retrain with what is expected, or record what it gave: compare.py [--record] FILE.

Run in a workspace after `dvc repro`. FILE holds the expected figures and their tolerances.

Two kinds of figure are compared, as neither would do alone. Scores say whether anybody gets what
is stated, and move where held-out clips are trained on; but some 100 clips are right or wrong by
chance, and most bugs of a training loop stay within that. The curves of the first epochs have
hardly begun to drift apart between machines, and move with nearly every such bug.
"""

import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

FIRST_EPOCHS = 2
OF_EPOCH = ("train_loss", "validation_loss", "learning_rate")


def main(expected_path: Path, workspace: Path, *, is_recorded: bool) -> int:
    """Return how many figures are off, none where they are recorded."""
    expected, found = json.loads(expected_path.read_text()), figures(workspace)
    if is_recorded:
        expected_path.write_text(json.dumps(expected | found, indent=2) + "\n")
        print(f"recorded {sum(map(len, found.values()))} figures in {expected_path}")
        return 0
    compared = lines(expected, found)
    print("\n".join(compared))
    return sum(line.endswith("OFF") for line in compared)


def figures(workspace: Path) -> dict[str, dict[str, float]]:
    """Return `scores` of every member and the ensemble, and `curves` of every training.

    Keys are such as `ensemble/test/map_at_3` and `samplecnn-0/2/train_loss`, of epoch 2.
    """
    scored = json.loads((workspace / "metrics" / "scores.json").read_text())
    scores = {}
    for name, entry in {**scored["models"], "ensemble": scored["ensemble"]}.items():
        splits = {"out_of_fold": entry["out_of_fold"], "test": entry["test"]["all"]}
        for split, values in splits.items():
            scores[f"{name}/{split}/map_at_3"] = values["map_at_3"]["value"]
    curves = {}
    for path in sorted((workspace / "data" / "training").glob("*.csv")):
        for row in pd.read_csv(path).head(FIRST_EPOCHS).to_dict("records"):
            for name in OF_EPOCH:
                curves[f"{path.stem}/{row['epoch']}/{name}"] = float(f"{row[name]:.6g}")
    return {"scores": scores, "curves": curves}


def lines(expected: dict[str, Any], found: dict[str, dict[str, float]]) -> list[str]:
    """One line for each figure; it ends with OFF where the two differ, or one is not there."""
    compared = []
    for kind, values in found.items():
        for key in sorted(values.keys() | expected[kind].keys()):
            if not (key in values and key in expected[kind]):
                where = "found" if key in expected[kind] else "expected"
                compared.append(f"{key}: not {where}; see `.ci/retrain --record`  OFF")
                continue
            value, target = values[key], expected[kind][key]
            allowed = tolerance(kind, key, target, expected["tolerance"])
            is_off = not abs(value - target) <= allowed  # NaN is off, too
            shown = f"{key}: {value:.6g}, expected {target:.6g} +- {allowed:.2g}"
            compared.append(shown + ("  OFF" if is_off else ""))
    return compared


def tolerance(kind: str, key: str, target: float, tolerances: dict[str, Any]) -> float:
    """That of scores as it stands; of curves a share of the target, which a network may have."""
    if kind == "scores":
        return float(tolerances["scores"])
    name, _, about = key.split("/")
    shares = tolerances["curves"]
    share = shares.get(name.rpartition("-")[0], shares["others"])
    return float(1e-6 if about == "learning_rate" else share) * abs(target)


if __name__ == "__main__":
    *options, expected_path = sys.argv[1:]
    sys.exit(min(1, main(Path(expected_path), Path.cwd(), is_recorded=options == ["--record"])))
