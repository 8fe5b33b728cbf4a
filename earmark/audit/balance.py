"""How many clips each class has, and what an answer without listening would score."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.audit.findings import Finding, some
from earmark.labels import tags_of, targets_of

_FEW = 10  # clips
_SKEWED = 10.0  # the largest class by the smallest
_UNVERIFIED = 0.5


def class_sizes(clips: pd.DataFrame) -> pd.DataFrame:
    """One row a tag of the training clips: how many, how many verified, and of the test set."""
    train, test = (clips[clips["split"] == split] for split in ("train", "test"))
    tags = tags_of(train["label"])
    targets = targets_of(list(train["label"]), tags) > 0  # (B, K)
    tested = [tag for label in test["label"] for tag in tags_of([label])]
    verified = targets[train["verified"].to_numpy()].sum(axis=0)
    sizes = targets.sum(axis=0)
    return pd.DataFrame(
        {
            "tag": tags,
            "clips": sizes,
            "verified": verified,
            "verified_share": verified / np.maximum(sizes, 1),
            "test_clips": [tested.count(tag) for tag in tags],
        }
    ).sort_values(["clips", "tag"], ascending=[False, True], ignore_index=True)


def shortcut_baseline(shares: NDArray[np.float64]) -> dict[str, dict[str, float]]:
    """Scores of two answers that ignore the sound, for one tag a clip, from class shares (K,).

    constant: always the most frequent tags, in that order. chance: a ranking drawn at random.
    Exact, but for the macro F1 of chance, which is its limit for many clips: a class of share p
    has precision p and recall 1 / K.
    """
    p = np.sort(shares / shares.sum())[::-1]
    k = len(p)
    by_rank = np.array([1, 1 / 2, 1 / 3])[:k]
    return {
        "constant": {
            "accuracy": float(p[0]),
            "map_at_3": float(p[: len(by_rank)] @ by_rank),
            "macro_f1": float(2 * p[0] / (1 + p[0]) / k),
        },
        "chance": {
            "accuracy": 1 / k,
            "map_at_3": float(by_rank.sum() / k),
            "macro_f1": float(np.mean(2 * p / k / (p + 1 / k))),
        },
    }


def metrics(sizes: pd.DataFrame, *, multi_label: bool) -> dict[str, Any]:
    """Counts for metrics/audit.json; with several tags a clip, no score of a guess."""
    counts = sizes["clips"].to_numpy(dtype=float)
    found: dict[str, Any] = {
        "classes": len(sizes),
        "largest": int(counts.max()),
        "smallest": int(counts.min()),
        "verified_share": round(float(sizes["verified"].sum() / counts.sum()), 4),
    }
    if not multi_label:
        found["shortcut_baseline"] = {
            who: {name: round(value, 4) for name, value in scores.items()}
            for who, scores in shortcut_baseline(counts).items()
        }
    return found


def findings(sizes: pd.DataFrame) -> list[Finding]:
    result = []
    few = sizes[sizes["clips"] < _FEW]
    if len(few):
        result.append(
            Finding(
                "serious",
                "balance",
                f"{len(few)} classes have fewer than {_FEW} clips",
                f"Their scores say little and their sound is hardly learned: "
                f"{some([f'{tag} ({n})' for tag, n in few[['tag', 'clips']].to_numpy()])}.",
                "Record more, or merge them with a neighbour (evaluate.label_groups).",
            )
        )
    ratio = sizes["clips"].max() / max(sizes["clips"].min(), 1)
    if ratio >= _SKEWED:
        result.append(
            Finding(
                "minor",
                "balance",
                f"The largest class has {ratio:.0f} times the clips of the smallest",
                "Accuracy is then the accuracy of the large classes.",
                "Read macro F1, and weigh or balance the batches.",
            )
        )
    doubted = sizes[sizes["verified_share"] < _UNVERIFIED]
    if len(doubted):
        result.append(
            Finding(
                "minor",
                "balance",
                f"In {len(doubted)} classes most labels are unverified",
                f"Nobody vouches for them: {some(list(doubted['tag']))}.",
                "Go through suspects.csv, the likeliest wrong first.",
            )
        )
    return result
