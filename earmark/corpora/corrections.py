"""Label corrections: what the user decided about clips whose label may be wrong."""

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd

from earmark.corpora.split_names import DROPPED, TRAIN, UNUSED, VALIDATION, fold_columns
from earmark.corpora.text_tables import read_cells
from earmark.csv_files import original
from earmark.errors import UserError
from earmark.labels import SEPARATOR, is_multi_label, tags_of
from earmark.wording import first_of, named, shortened

DECISIONS = ("keep", "change", "drop")
COLUMNS = ["clip", "decision", "label"]
_KEY = "corpus.label_corrections"


def read_corrections(path: Path) -> pd.DataFrame:
    """Read the decisions of a csv such as the audit's label_issues.csv.

    Args:
        path: a csv with the columns clip and decision, and label, suggested or both.

    Returns:
        The columns clip, decision and label, without the rows that have no decision. For the
        decision change, `label` is what to change to: the column label or, where that is empty,
        the column suggested. For the others it is "".

    Raises:
        UserError: the file cannot be read, or lacks a column.
    """
    if not path.exists():
        fix = "correct the path, or set it to profiles/no_corrections.csv"
        raise UserError(f"{_KEY}: {path} does not exist; {fix}")
    raw = read_cells(path, key=_KEY)
    missing = [name for name in ("clip", "decision") if name not in raw]
    if missing:
        fix = "start from data/audit/label_issues.csv"
        raise UserError(f"{_KEY}: {path}: no column {' and '.join(missing)}; {fix}")
    decision = raw["decision"].str.lower()
    empty = pd.Series("", index=raw.index, dtype="str")
    # The audit's table has its cells made neutral for spreadsheets.
    clip, label, suggested = (
        raw.get(name, empty).map(original).astype("str") for name in ("clip", "label", "suggested")
    )
    corrections = pd.DataFrame(
        {
            "clip": clip,
            "decision": decision,
            "label": label.where(label != "", suggested).where(decision == "change", ""),
        }
    )
    return corrections[corrections["decision"] != ""].reset_index(drop=True)


def problems_of(corrections: pd.DataFrame, clips: pd.DataFrame) -> list[str]:
    """Everything that is wrong with corrections to a clips table, one line each."""
    split_of = dict(zip(clips["clip"], clips["split"], strict=True))
    labels = clips.loc[clips["split"] == "train", "label"]
    tags, multi_label = set(tags_of(labels)), is_multi_label(labels)
    counts = corrections["clip"].value_counts().sort_index()
    again = counts[counts > 1]
    times = f"decided {again.iloc[0]} times" if len(again) == 1 else "each decided more than once"
    twice = [f"{_KEY}: {named('clip', list(again.index))}: {times}; keep one row"]
    problems = twice if len(again) else []
    clips_with: dict[tuple[str, str], list[str]] = {}  # what is wrong and its fix -> clips
    example: dict[tuple[str, str], str] = {}
    for clip, decision, label in corrections[COLUMNS].to_numpy():
        for wrong, value, fix in (
            *_decision_problem(decision),
            *_clip_problem(split_of.get(clip)),
            *_label_problem(decision, label, tags, multi_label=multi_label),
        ):
            clips_with.setdefault((wrong, fix), []).append(clip)
            example.setdefault((wrong, fix), value)
    return problems + [
        f"{_KEY}: {named('clip', names)}: {wrong.format(shortened(example[wrong, fix]))}; {fix}"
        for (wrong, fix), names in clips_with.items()
    ]


Problem = tuple[str, str, str]  # what is wrong with a value, the value, the fix


def _decision_problem(decision: str) -> list[Problem]:
    if decision in DECISIONS:
        return []
    return [("unknown decision {!r}", decision, f"write {', '.join(DECISIONS)}, or nothing")]


def _clip_problem(split: str | None) -> list[Problem]:
    if split is None:
        return [("not in the corpus", "", "delete the row")]
    if split == "test":
        wrong = "a test clip, which must stay as it is so that scores compare"
        return [(wrong, "", "delete the row")]
    return []


def _label_problem(
    decision: str, label: str, tags: set[str], *, multi_label: bool
) -> list[Problem]:
    if decision != "change":
        return []
    if not label:
        wrong = "the decision is change, but the new label is empty"
        return [(wrong, "", "fill in the column label")]
    parts = label.split(SEPARATOR)
    if "" in parts or len(set(parts)) < len(parts):
        return [("label {!r} has an empty tag, or one tag twice", label, "write each tag once")]
    if len(parts) > 1 and not multi_label:
        wrong = "label {!r} has several tags, but every other clip has one"
        return [(wrong, label, "write one tag")]
    if unknown := sorted(set(tags_of([label])) - tags):
        return [("unknown tag {}", unknown[0], "write a tag of the corpus, or drop the clip")]
    return []


def apply_corrections(
    folds: pd.DataFrame, clips: pd.DataFrame, path: Path
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Apply the corrections of a csv to the folds.

    Clips are dealt into folds before this, so that a correction moves no other clip to another fold
    and scores stay comparable. A clip that is kept or changed counts as verified from then on.
    Corrections of quarantined clips have no effect. A dropped clip stays in the table, of split
    DROPPED: networks neither train nor validate on it, but those of the folds that would validate
    it predict it, for the scores on the labels as given.

    Every training clip validates in some fold, so corrections change what the out-of-fold scores
    are measured on. The networks that are scored also suggested the corrections. The summary
    therefore says how many validation clips changed.

    Args:
        folds: has the columns clip, split, label, verified and fold_<name>.
        clips: the clips table.
        path: a csv for `read_corrections`.

    Returns:
        The corrected folds, and a summary for the metrics; the summary of no corrections is {}.

    Raises:
        UserError: a correction is wrong, or a class would have no clip left to train on.
    """
    corrections = read_corrections(path)
    if corrections.empty:
        return folds, {}
    if problems := problems_of(corrections, clips):
        raise UserError(*problems)
    by_clip = corrections.set_index("clip")
    decision, label = (
        folds["clip"].map(dict(by_clip[name])).astype("str").fillna("")
        for name in ("decision", "label")
    )
    corrected = folds.assign(
        label=folds["label"].where(decision != "change", label),
        verified=folds["verified"] | decision.isin(["keep", "change"]),
    )
    is_dropped = decision == "drop"
    corrected.loc[is_dropped, "split"] = DROPPED
    for name in fold_columns(folds):
        validates = folds[name] == VALIDATION
        corrected.loc[is_dropped & validates, name] = DROPPED
        corrected.loc[is_dropped & ~validates, name] = UNUSED
    _check_classes(corrected, folds)
    summary = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        **_counts(folds, decision, label),
    }
    return corrected, summary


def _counts(folds: pd.DataFrame, decision: pd.Series, label: pd.Series) -> dict[str, Any]:
    is_changed = (decision == "change") & (label != folds["label"])
    validates = (folds[fold_columns(folds)] == VALIDATION).any(axis=1)
    n_corrected = int((validates & (is_changed | (decision == "drop"))).sum())
    return {
        "kept": int((decision == "keep").sum()),
        "changed": int(is_changed.sum()),
        "dropped": int((decision == "drop").sum()),
        "validation_clips_changed_or_dropped": n_corrected,
        "note": f"{n_corrected} of {int(validates.sum())} validation clips were changed or "
        "dropped. Out-of-fold scores as corrected are not comparable with those before, and too "
        "high where the corrections follow the predictions of the scored networks; those as given "
        "are comparable. The test set is unchanged.",
    }


def _check_classes(corrected: pd.DataFrame, folds: pd.DataFrame) -> None:
    tags = tags_of(folds.loc[folds["split"] == "train", "label"])
    problems = []
    for name in fold_columns(folds):
        left = tags_of(corrected.loc[corrected[name] == TRAIN, "label"])
        fold = name.removeprefix("fold_")
        if lost := sorted(set(tags) - set(left)):
            fix = f"keep {'one of its clips' if len(lost) == 1 else 'a clip of each'}"
            problems.append(
                f"{_KEY}: fold {fold} would train on no clip of {first_of(lost)}; {fix}"
            )
    if problems:
        raise UserError(*problems)
