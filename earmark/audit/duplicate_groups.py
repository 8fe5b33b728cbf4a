"""What duplicates mean for a corpus: groups, labels that disagree, and leaks."""

from typing import Any

import numpy as np
import pandas as pd

from earmark.audit.duplicate_search import DuplicateSearch
from earmark.audit.findings import Finding
from earmark.audit.pairs import group_of
from earmark.corpora.split_names import fold_columns
from earmark.wording import counted, first_of

TOPIC = "duplicates"
TEST_LEAK, FOLD_LEAK = "train and test", "training and validation"
COLUMNS = [
    "leak", "first", "second", "relation", "first_label", "second_label", "labels_agree", "group",
    "offset_seconds", "overlap_seconds", "bit_error_rate", "correlation",
]  # fmt: skip


def describe(
    search: DuplicateSearch, clips: pd.DataFrame, folds: pd.DataFrame | None
) -> pd.DataFrame:
    """One row per pair with its labels, group and leak (columns COLUMNS), leaks first.

    Args:
        search: the duplicates among all decoded clips; pairs with a clip that is not in `clips`
            are left out.
        clips: the clips table.
        folds: what the split stage wrote; None before it ran, when only leaks between the
            training clips and the test set are known.
    """
    by_clip = clips.set_index("clip")
    pairs = search.pairs
    pairs = pairs[pairs["first"].isin(by_clip.index) & pairs["second"].isin(by_clip.index)].copy()
    for end in ("first", "second"):
        pairs[f"{end}_label"] = pairs[end].map(by_clip["label"])
    are_known = (pairs["first_label"] != "") & (pairs["second_label"] != "")
    pairs["labels_agree"] = ~are_known | (pairs["first_label"] == pairs["second_label"])
    index = pd.Series(np.arange(len(clips)), index=clips["clip"])
    ends = [(int(index[a]), int(index[b])) for a, b in pairs[["first", "second"]].to_numpy()]
    groups = group_of(ends, len(clips))
    pairs["group"] = pd.factorize(groups[[a for a, _ in ends]])[0] + 1 if ends else []
    roles = _roles(clips, folds)
    pairs["leak"] = [_leak(roles, a, b) for a, b in pairs[["first", "second"]].to_numpy()]
    order = pairs["leak"].map({TEST_LEAK: 0, FOLD_LEAK: 1, "": 2})
    return pairs.assign(order=order).sort_values(
        ["order", "labels_agree", "correlation", "first"],
        ascending=[True, True, False, True],
        ignore_index=True,
    )[COLUMNS]


def _roles(clips: pd.DataFrame, folds: pd.DataFrame | None) -> dict[str, tuple[str, ...]]:
    """The role of each clip (train, validation or test) in every fold."""
    if folds is None:
        return {clip: (split,) for clip, split in clips[["clip", "split"]].to_numpy()}
    return {row[0]: tuple(row[1:]) for row in folds[["clip", *fold_columns(folds)]].to_numpy()}


def _leak(roles: dict[str, tuple[str, ...]], first: str, second: str) -> str:
    """The leak of a pair: a network trains on one clip and is scored on the other."""
    by_fold = list(zip(roles[first], roles[second], strict=True))
    if any((a == "test") != (b == "test") for a, b in by_fold):
        return TEST_LEAK
    if any({a, b} == {"train", "validation"} for a, b in by_fold):
        return FOLD_LEAK
    return ""


def metrics(pairs: pd.DataFrame, search: DuplicateSearch) -> dict[str, Any]:
    """Counts for metrics/audit.json; `pairs` is what `describe` returns."""
    expected_false = search.null.expected_false
    return {
        "pairs": len(pairs),
        "by_relation": pairs["relation"].value_counts().sort_index().to_dict(),
        "groups": int(pairs["group"].nunique()),
        "leaks_train_test": int((pairs["leak"] == TEST_LEAK).sum()),
        "leaks_across_folds": int((pairs["leak"] == FOLD_LEAK).sum()),
        "label_conflicts": int((~pairs["labels_agree"].astype(bool)).sum()),
        "threshold": round(search.null.threshold, 4),
        "expected_false_pairs": None if np.isnan(expected_false) else round(expected_false, 6),
        "candidates": search.n_candidates,
        "without_fingerprint": len(search.without_fingerprint),
    }


def findings(pairs: pd.DataFrame, search: DuplicateSearch) -> list[Finding]:
    """Findings about leaks, label conflicts, other duplicates and clips that were not compared.

    `pairs` is what `describe` returns.
    """
    agree = pairs["labels_agree"].astype(bool)
    return [
        *_leaks(pairs[pairs["leak"] == TEST_LEAK], TEST_LEAK, "The test score is"),
        *_leaks(pairs[pairs["leak"] == FOLD_LEAK], FOLD_LEAK, "The out-of-fold scores are"),
        *_conflicts(pairs[~agree]),
        *_harmless(pairs[(pairs["leak"] == "") & agree]),
        *_not_compared(search.without_fingerprint),
    ]


def _leaks(pairs: pd.DataFrame, leak: str, scores_are: str) -> list[Finding]:
    if pairs.empty:
        return []
    finding = Finding(
        "critical",
        TOPIC,
        f"{counted(len(pairs), 'pair')} of the same recording across {leak}",
        f"{scores_are} too high, since networks are scored on recordings that they were trained "
        f"on: {_named(pairs)}.",
        "Give both clips one `source` in the corpus' table (see the column group of "
        "duplicates.csv) and split by source, or drop one of them through "
        "corpus.label_corrections.",
    )
    return [finding]


def _conflicts(pairs: pd.DataFrame) -> list[Finding]:
    if pairs.empty:
        return []
    finding = Finding(
        "serious",
        TOPIC,
        f"{counted(len(pairs), 'pair')} of the same recording with different labels",
        "At least one label of each pair is wrong, or the recording holds both sounds: "
        f"{_named(pairs)}.",
        "Listen to the clips, and change or drop one of them through corpus.label_corrections.",
    )
    return [finding]


def _harmless(pairs: pd.DataFrame) -> list[Finding]:
    if pairs.empty:
        return []
    finding = Finding(
        "minor",
        TOPIC,
        f"{counted(len(pairs), 'more pair')} of the same recording without a leak",
        f"These recordings count twice in training and in the scores: {_named(pairs)}.",
        "Drop one clip of each pair through corpus.label_corrections, or keep both.",
    )
    return [finding]


def _not_compared(clips: list[str]) -> list[Finding]:
    if not clips:
        return []
    are = "is" if len(clips) == 1 else "are"
    finding = Finding(
        "note",
        TOPIC,
        f"{counted(len(clips), 'clip')} {are} too short or too quiet to compare",
        f"Only exact copies of such clips can be found: {first_of(clips)}.",
        "Nothing needs to be done.",
    )
    return [finding]


def _named(pairs: pd.DataFrame) -> str:
    return first_of([f"{a} and {b}" for a, b in pairs[["first", "second"]].to_numpy()])
