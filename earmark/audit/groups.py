"""What pairs of duplicates mean for a corpus: groups, labels that disagree, and leaks."""

from typing import Any

import numpy as np
import pandas as pd

from earmark.audit.duplicates import Found, group_of
from earmark.audit.findings import Finding, counted, some

LEAKS = ("train and test", "training and validation")
COLUMNS = [
    "leak", "first", "second", "kind", "first_label", "second_label", "labels_agree", "group",
    "offset_seconds", "overlap_seconds", "errors", "correlation",
]  # fmt: skip


def describe(found: Found, clips: pd.DataFrame, folds: pd.DataFrame | None) -> pd.DataFrame:
    """The pairs with their labels, groups and leaks (columns COLUMNS), leaks first.

    `clips` is the clips table, `folds` what the split stage wrote, or None before it ran: then
    only leaks between train and test can be named.
    """
    by_name = clips.set_index("clip")
    pairs = found.pairs
    pairs = pairs[pairs["first"].isin(by_name.index) & pairs["second"].isin(by_name.index)].copy()
    for end in ("first", "second"):
        pairs[f"{end}_label"] = pairs[end].map(by_name["label"])
    known = (pairs["first_label"] != "") & (pairs["second_label"] != "")
    pairs["labels_agree"] = ~known | (pairs["first_label"] == pairs["second_label"])
    line = pd.Series(np.arange(len(clips)), index=clips["clip"])
    ends = [(int(line[a]), int(line[b])) for a, b in pairs[["first", "second"]].to_numpy()]
    groups = group_of(ends, len(clips))
    pairs["group"] = pd.factorize(groups[[a for a, _ in ends]])[0] + 1 if ends else []
    roles = _roles(clips, folds)
    pairs["leak"] = [_leak(roles, a, b) for a, b in pairs[["first", "second"]].to_numpy()]
    order = pairs["leak"].map({LEAKS[0]: 0, LEAKS[1]: 1, "": 2})
    return pairs.assign(order=order).sort_values(
        ["order", "labels_agree", "correlation", "first"],
        ascending=[True, True, False, True],
        ignore_index=True,
    )[COLUMNS]


def _roles(clips: pd.DataFrame, folds: pd.DataFrame | None) -> dict[str, tuple[str, ...]]:
    if folds is None:
        return {clip: (split,) for clip, split in clips[["clip", "split"]].to_numpy()}
    names = [name for name in folds if str(name).startswith("fold_")]
    return {row[0]: tuple(row[1:]) for row in folds[["clip", *names]].to_numpy()}


def _leak(roles: dict[str, tuple[str, ...]], first: str, second: str) -> str:
    """What a pair gives away: the sound of one clip is learned, that of the other is scored."""
    pairs = list(zip(roles[first], roles[second], strict=True))
    if any((a == "test") != (b == "test") for a, b in pairs):
        return LEAKS[0]
    if any({a, b} == {"train", "validation"} for a, b in pairs):
        return LEAKS[1]
    return ""


def metrics(pairs: pd.DataFrame, found: Found) -> dict[str, Any]:
    """Counts for metrics/audit.json."""
    chance = found.null.expected_false
    return {
        "pairs": len(pairs),
        "by_kind": pairs["kind"].value_counts().sort_index().to_dict(),
        "groups": int(pairs["group"].nunique()),
        "leaks_train_test": int((pairs["leak"] == LEAKS[0]).sum()),
        "leaks_across_folds": int((pairs["leak"] == LEAKS[1]).sum()),
        "label_conflicts": int((~pairs["labels_agree"].astype(bool)).sum()),
        "threshold": round(found.null.threshold, 4),
        "expected_false_pairs": None if np.isnan(chance) else round(chance, 6),
        "candidates": found.n_candidates,
        "without_fingerprint": len(found.without_fingerprint),
    }


def findings(pairs: pd.DataFrame, found: Found) -> list[Finding]:
    """Leaks, conflicts and plain duplicates, each as a finding if there is one."""
    result = []
    for leak, what in zip(LEAKS, ("the test score", "the out-of-fold scores"), strict=True):
        if n := int((pairs["leak"] == leak).sum()):
            result.append(
                Finding(
                    "critical",
                    "duplicates",
                    f"{counted(n, 'pair')} of the same recording across {leak}",
                    f"A network has heard what it is then asked about, so {what} are flattered: "
                    f"{_named(pairs[pairs['leak'] == leak])}.",
                    "Give both clips one `source` in the corpus' table (group in duplicates.csv) "
                    "and split by source, or drop one of them through corpus.label_corrections.",
                )
            )
    conflicts = pairs[~pairs["labels_agree"].astype(bool)]
    if len(conflicts):
        result.append(
            Finding(
                "serious",
                "duplicates",
                f"{counted(len(conflicts), 'pair')} of the same recording with different labels",
                f"At least one label of each pair is wrong, or both sounds are in it: "
                f"{_named(conflicts)}.",
                "Listen to them, and change or drop one through corpus.label_corrections.",
            )
        )
    rest = pairs[(pairs["leak"] == "") & pairs["labels_agree"].astype(bool)]
    if len(rest):
        result.append(
            Finding(
                "minor",
                "duplicates",
                f"{counted(len(rest), 'more pair')} of the same recording, which leak nothing",
                "They count twice in training and in the scores: " + _named(rest) + ".",
                "Drop one of each through corpus.label_corrections, or leave them.",
            )
        )
    if unheard := found.without_fingerprint:
        result.append(
            Finding(
                "note",
                "duplicates",
                f"{counted(len(unheard), 'clip')} too short or too quiet to compare",
                f"Only equal samples were looked for among them: {some(unheard)}.",
                "None is needed.",
            )
        )
    return result


def _named(pairs: pd.DataFrame) -> str:
    return some([f"{a} and {b}" for a, b in pairs[["first", "second"]].to_numpy()])
