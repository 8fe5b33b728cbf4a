"""How many clips each class has, and the scores of baselines that ignore the sound."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.audit.findings import Finding
from earmark.labels import tags_of, targets_of
from earmark.wording import counted, first_of

TOPIC = "balance"
_FEW_CLIPS = 10
_SKEWED = 10.0  # the largest class relative to the smallest
_MIN_VERIFIED_SHARE = 0.5


def class_sizes(clips: pd.DataFrame) -> pd.DataFrame:
    """One row per tag: its training clips, how many are verified, and its test clips."""
    train, test = (clips[clips["split"] == split] for split in ("train", "test"))
    tags = tags_of(train["label"])
    targets = targets_of(list(train["label"]), tags) > 0  # (B, K)
    test_tags = [tag for label in test["label"] for tag in tags_of([label])]
    verified = targets[train["verified"].to_numpy()].sum(axis=0)
    sizes = targets.sum(axis=0)
    return pd.DataFrame(
        {
            "tag": tags,
            "clips": sizes,
            "verified": verified,
            "verified_share": verified / np.maximum(sizes, 1),
            "test_clips": [test_tags.count(tag) for tag in tags],
        }
    ).sort_values(["clips", "tag"], ascending=[False, True], ignore_index=True)


def trivial_baselines(shares: NDArray[np.float64]) -> dict[str, dict[str, float]]:
    """Scores of two answers that ignore the sound, with one tag per clip.

    constant: always the most frequent tags, in that order. chance: a random ranking.
    The scores are exact, except for the macro F1 of chance: that is its limit for many clips,
    where a class of share p has precision p and recall 1 / K.

    Args:
        shares: (K,), the size of each class in any unit.
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
    """Counts for metrics/audit.json; no baselines where clips may have several tags."""
    counts = sizes["clips"].to_numpy(dtype=float)
    result: dict[str, Any] = {
        "classes": len(sizes),
        "largest": int(counts.max()),
        "smallest": int(counts.min()),
        "verified_share": round(float(sizes["verified"].sum() / counts.sum()), 4),
    }
    if not multi_label:
        result["trivial_baselines"] = {
            baseline: {metric: round(value, 4) for metric, value in scores.items()}
            for baseline, scores in trivial_baselines(counts).items()
        }
    return result


def findings(sizes: pd.DataFrame) -> list[Finding]:
    """Findings about small, very unequal and mostly unverified classes."""
    return [*_small_classes(sizes), *_skew(sizes), *_unverified(sizes)]


def _small_classes(sizes: pd.DataFrame) -> list[Finding]:
    small = sizes[sizes["clips"] < _FEW_CLIPS]
    if small.empty:
        return []
    have = "has" if len(small) == 1 else "have"
    names = [f"{tag} ({n})" for tag, n in small[["tag", "clips"]].to_numpy()]
    finding = Finding(
        "serious",
        TOPIC,
        f"{counted(len(small), 'class', 'classes')} {have} fewer than {_FEW_CLIPS} clips",
        "So few clips are hardly enough to learn from, and the scores of these classes are "
        f"uncertain: {first_of(names)}.",
        "Add recordings, or merge each class with a similar one in the corpus' table. "
        "evaluate.label_groups scores such classes together.",
    )
    return [finding]


def _skew(sizes: pd.DataFrame) -> list[Finding]:
    ratio = sizes["clips"].max() / max(sizes["clips"].min(), 1)
    if ratio < _SKEWED:
        return []
    finding = Finding(
        "minor",
        TOPIC,
        f"The largest class has {ratio:.0f} times as many clips as the smallest",
        "Accuracy then mostly reflects the large classes.",
        "Compare models by macro F1, and train with `sampler: class_balanced`.",
    )
    return [finding]


def _unverified(sizes: pd.DataFrame) -> list[Finding]:
    unverified = sizes[sizes["verified_share"] < _MIN_VERIFIED_SHARE]
    if unverified.empty:
        return []
    finding = Finding(
        "minor",
        TOPIC,
        f"Most labels of {counted(len(unverified), 'class', 'classes')} are unverified",
        f"Nobody has checked these labels: {first_of(list(unverified['tag']))}.",
        "Check the clips of label_issues.csv, which starts with the labels most likely wrong.",
    )
    return [finding]
