"""What the user decided about doubtful clips, and its application to a split."""

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd

from earmark.errors import UserError
from earmark.labels import SEPARATOR, is_multi_label, tags_of

DECISIONS = ("keep", "change", "drop")
COLUMNS = ["clip", "decision", "label"]


def read_corrections(path: Path) -> pd.DataFrame:
    """The decisions of a csv such as the audit's label_issues.csv: columns clip, decision, label.

    Rows without a decision are left out. `label` is what to change to: the column label or, where
    that is empty, the column suggested.

    Raises:
        UserError: the file cannot be read, or a row of it makes no sense; one line each.
    """
    try:
        raw = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(
            f"corpus.label_corrections: {path} is not there; correct the path, or clear it"
        ) from None
    except (OSError, ValueError) as error:
        text = " ".join(str(error).split())
        raise UserError(f"corpus.label_corrections: {path}: no readable csv: {text}") from None
    missing = [name for name in ("clip", "decision") if name not in raw]
    if missing:
        fix = "begin from data/audit/label_issues.csv"
        raise UserError(
            f"corpus.label_corrections: {path}: no column {' and '.join(missing)}; {fix}"
        )
    decision = raw["decision"].str.strip().str.lower()
    empty = pd.Series("", index=raw.index, dtype="str")
    label, suggested = (raw.get(name, empty).str.strip() for name in ("label", "suggested"))
    edits = pd.DataFrame(
        {
            "clip": raw["clip"].str.strip(),
            "decision": decision,
            "label": label.where(label != "", suggested).where(decision == "change", ""),
        }
    )
    return edits[edits["decision"] != ""].reset_index(drop=True)


def problems_of(edits: pd.DataFrame, clips: pd.DataFrame) -> list[str]:
    """Everything that is wrong with decisions about a clips table, one line each."""
    split_of = dict(zip(clips["clip"], clips["split"], strict=True))
    tags = set(tags_of(clips.loc[clips["split"] == "train", "label"]))
    is_several = is_multi_label(clips.loc[clips["split"] == "train", "label"])
    problems = []
    for clip, count in edits["clip"].value_counts().sort_index().items():
        if count > 1:
            problems.append(
                f"corpus.label_corrections: clip {clip}: decided {count} times; keep one row"
            )
    for clip, decision, label in edits[COLUMNS].to_numpy():
        if decision not in DECISIONS:
            fix = f"write {', '.join(DECISIONS)}, or nothing"
            problems.append(
                f"corpus.label_corrections: clip {clip}: unknown decision {decision!r}; {fix}"
            )
        if clip not in split_of:
            problems.append(
                f"corpus.label_corrections: clip {clip}: not in the corpus; delete the row"
            )
        elif split_of[clip] == "test":
            fix = "the test set stays as it is, or its score could not be compared"
            problems.append(
                f"corpus.label_corrections: clip {clip}: a test clip; delete the row, since {fix}"
            )
        if decision == "change" and not label:
            problems.append(
                f"corpus.label_corrections: clip {clip}: change to what? fill the column label"
            )
        elif decision == "change" and (said := _misspelt(label, is_several=is_several)):
            problems.append(f"corpus.label_corrections: clip {clip}: label {label!r} {said}")
        elif strangers := sorted(set(tags_of([label])) - tags):
            fix = "give a tag of the corpus, or drop the clip"
            problems.append(
                f"corpus.label_corrections: clip {clip}: unknown tag {strangers[0]}; {fix}"
            )
    return problems


def _misspelt(label: str, *, is_several: bool) -> str:
    parts = label.split(SEPARATOR)
    if "" in parts or len(set(parts)) < len(parts):
        return "has an empty or a double tag; write each once"
    if len(parts) > 1 and not is_several:
        return "has several tags, where all other clips have one; give it one"
    return ""


def apply_corrections(
    folds: pd.DataFrame, clips: pd.DataFrame, path: Path
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The folds after the user's decisions, and what metrics must say of them: {} if of none.

    `folds` has the columns clip, split, label, verified and fold_<name>; `clips` is the clips
    table. A clip that was kept or changed counts as verified from now on. Decisions come after
    the folds were dealt, so that no other clip changes its fold and scores can be compared; those
    about quarantined clips have no effect.

    Every training clip is held out somewhere, so edits change what the out-of-fold scores are
    measured on, and the suspects were found by the very networks that are scored. The facts say
    how many held-out clips it concerns.

    Where nothing was decided there is nothing to say.

    Raises:
        UserError: a decision makes no sense, or a class would have no clip left to train on.
    """
    edits = read_corrections(path)
    if edits.empty:
        return folds, {}
    if problems := problems_of(edits, clips):
        raise UserError(*problems)
    by_clip = edits.set_index("clip")
    decision, label = (
        folds["clip"].map(dict(by_clip[name])).astype("str").fillna("")
        for name in ("decision", "label")
    )
    is_changed = (decision == "change") & (label != folds["label"])
    held_out = _ever_held_out(folds) & (is_changed | (decision == "drop"))
    edited = folds.assign(
        label=folds["label"].where(decision != "change", label),
        verified=folds["verified"] | decision.isin(["keep", "change"]),
    )[decision != "drop"].reset_index(drop=True)
    _check_classes(edited, folds)
    n_all = int(_ever_held_out(folds).sum())
    facts = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "kept": int((decision == "keep").sum()),
        "changed": int(is_changed.sum()),
        "dropped": int((decision == "drop").sum()),
        "held_out_clips_changed_or_dropped": int(held_out.sum()),
        "note": f"{int(held_out.sum())} of {n_all} held-out clips were changed or dropped: "
        "out-of-fold scores are not comparable with those before, and hopeful where the edits "
        "follow what the scored networks said; the test set is untouched.",
    }
    return edited, facts


def _fold_columns(folds: pd.DataFrame) -> list[str]:
    return [str(name) for name in folds if str(name).startswith("fold_")]


def _ever_held_out(folds: pd.DataFrame) -> pd.Series:
    return (folds[_fold_columns(folds)] == "validation").any(axis=1)


def _check_classes(edited: pd.DataFrame, folds: pd.DataFrame) -> None:
    tags = tags_of(folds.loc[folds["split"] == "train", "label"])
    problems = []
    for name in _fold_columns(folds):
        heard = tags_of(edited.loc[edited[name] == "train", "label"])
        for tag in sorted(set(tags) - set(heard)):
            fix = "keep one of its clips"
            fold = name.removeprefix("fold_")
            problems.append(
                f"corpus.label_corrections: fold {fold} would train on no clip of {tag}; {fix}"
            )
    if problems:
        raise UserError(*problems)
