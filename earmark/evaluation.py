"""Scores of members and ensemble on the clips that they never trained on.

Shapes: B rows (a held-out clip in its fold, or a test clip), K tags.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark import scoring
from earmark.seeding import seed_for

SUMMARISED = ("map_at_1", "map_at_3", "accuracy", "macro_f1")


@dataclass(frozen=True)
class Said:
    """What one member, or the ensemble, said of some rows.

    `rows` has the columns clip, role (validation or test), fold, usage and quarantined.
    """

    rows: pd.DataFrame
    labels: NDArray[np.int64]  # (B,), -1 where nobody labelled the clip
    probabilities: NDArray[np.float64]  # (B, K)

    def where(self, **wanted: str) -> "Said":
        """The labelled rows whose columns have the wanted values."""
        keep = self.labels >= 0
        for column, value in wanted.items():
            keep &= np.asarray(self.rows[column] == value)
        return Said(self.rows[keep], self.labels[keep], self.probabilities[keep])

    @property
    def held_out(self) -> "Said":
        return self.where(role="validation")

    def __len__(self) -> int:
        return len(self.rows)


def score_member(said: Said, tags: list[str], *, seed: int, n_resamples: int) -> dict[str, Any]:
    """Scores out of fold (each fold apart, and all together) and on the test set, as plain values.

    The layout is `{"out_of_fold": scores, "folds": {"mean", "std"}, "test": {"all", "public",
    "private", "n_quarantined"}}`, scores being those of `scoring.Scores.to_json`.
    """

    def score(part: Said, what: str) -> dict[str, Any]:
        keyed = seed_for(seed, "bootstrap", what)
        found = scoring.score(
            part.probabilities, part.labels, tags=tags, seed=keyed, n_resamples=n_resamples
        )
        return found.to_json()

    held_out, test = said.held_out, said.where(role="test")
    result = {"out_of_fold": score(held_out, "out_of_fold"), "folds": _spread(held_out, tags)}
    if len(test):
        result["test"] = {"all": score(test, "test")}
        for usage in ("Public", "Private"):
            part = test.where(usage=usage)
            if len(part):
                result["test"][usage.lower()] = score(part, f"test {usage}")
        result["test"]["n_quarantined"] = int(test.rows["quarantined"].sum())
    return result


def _spread(held_out: Said, tags: list[str]) -> dict[str, dict[str, float]]:
    """Mean and population standard deviation of each metric over the folds."""
    by_fold: list[list[float]] = []
    for fold in held_out.rows["fold"].unique():
        part = held_out.where(fold=fold)
        found = scoring.score(part.probabilities, part.labels, tags=tags, seed=0, n_resamples=1)
        by_fold.append([getattr(found, name).value for name in scoring.METRICS])
    spread = {"mean": np.mean(by_fold, axis=0), "std": np.std(by_fold, axis=0)}
    return {
        key: dict(zip(scoring.METRICS, values.tolist(), strict=True))
        for key, values in spread.items()
    }


def summarise(scores: Mapping[str, Any]) -> dict[str, Any]:
    """The few values that `dvc metrics diff` should show, of the ensemble and each model."""

    def values(entry: Mapping[str, Any]) -> dict[str, Any]:
        parts = {"out_of_fold": entry["out_of_fold"]}
        if "test" in entry:
            parts["test"] = entry["test"]["all"]
        return {
            part: {name: round(found[name]["value"], 6) for name in SUMMARISED}
            for part, found in parts.items()
        }

    models = {name: values(entry) for name, entry in scores["models"].items()}
    return {"ensemble": values(scores["ensemble"]), **models}


def confusion_rows(said: Said, tags: list[str]) -> pd.DataFrame:
    """One row a clip, its actual and its predicted tag: what DVC's confusion plot reads."""
    named = np.array(tags)
    predicted = named[said.probabilities.argmax(axis=1)]
    return pd.DataFrame({"actual": named[said.labels], "predicted": predicted})


def predicted_tags(said: Said, tags: list[str]) -> pd.DataFrame:
    """The three likeliest tags of every test clip, how sure they are, and what was quarantined."""
    is_test = np.asarray(said.rows["role"] == "test")
    probabilities = said.probabilities[is_test]
    top = np.argsort(-probabilities, axis=1, kind="stable")[:, :3]
    likeliest = np.take_along_axis(probabilities, top[:, :1], axis=1)[:, 0]
    return pd.DataFrame(
        {
            "clip": said.rows["clip"][is_test],
            "tags": [" ".join(row) for row in np.array(tags)[top]],
            "probability": likeliest.round(4),
            "quarantined": said.rows["quarantined"][is_test],
        }
    )
