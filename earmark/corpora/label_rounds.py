"""Rounds of self-verification: what they decided about labels, and how trainings take it.

In a round a model is trained in each fold and answers clips that it did not train on; from these
answers `earmark.audit.label_decisions` decides about the labels that nobody verified. DVC can put
an i before a name but cannot count, so rounds are called i, ii and iii, and the table of what round
i decided is before_ii.parquet.

What a round decides about a training clip of fold k comes from a network that did not train on this
clip, but may have trained on clips that fold k validates. Their labels so reach the networks of
fold k a little, and out-of-fold scores with rounds are that much too high. No network has
seen the test clips.
"""

from collections.abc import Sequence

import pandas as pd

from earmark.corpora.split_names import UNUSED, VALIDATION
from earmark.errors import UserError
from earmark.labels import is_multi_label
from earmark.layout import Layout
from earmark.params import CrossValidation
from earmark.records import read_table, write_table
from earmark.whole_files import discard

ACCEPT, CORRECT, DOUBT, LEAVE = "accept", "correct", "doubt", "leave"
DECISIONS = (ACCEPT, CORRECT, DOUBT, LEAVE)
COLUMNS = {
    "clip": "str",
    "label": "str",  # as the corpus has it
    "decision": "str",
    "suggested": "str",  # the likeliest of the other tags
    "p_label": "float64",
    "p_suggested": "float64",
    "weight": "float64",  # of the clip in the loss
    "round": "str",
}
FIRST = "i"


def next_round(rounds: Sequence[str]) -> str:
    """The round that would come after these.

    >>> next_round(["i", "ii"])
    'iii'
    """
    return FIRST * (len(rounds) + 1)


def begin_rounds(layout: Layout, rounds: Sequence[str], folds: Sequence[str]) -> None:
    """Write what is decided before the first round, which is nothing, and delete what is stale.

    That are the decisions and answers of rounds and folds that are no longer run: trainings depend
    on the whole of data/rounds/, and `decide_labels` on the answers of all folds.
    """
    empty = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in COLUMNS.items()})
    write_table(layout.labels_before(FIRST), empty)
    known = {layout.labels_before(FIRST * n) for n in range(1, len(rounds) + 2)}
    checks = {layout.check(round_, fold) for round_ in rounds for fold in folds}
    for path in [*layout.rounds.iterdir(), *layout.all_checks.glob("*/*")]:
        if path not in known | checks:
            discard(path)
    for folder in layout.all_checks.glob("*"):
        if not any(folder.iterdir()):
            folder.rmdir()


def check_rounds(folds: pd.DataFrame, rounds: Sequence[str]) -> None:
    """Refuse rounds that could decide nothing.

    Raises:
        UserError: clips have several tags, or every label counts as verified.
    """
    clips = folds[folds["split"] == "train"]
    if rounds and is_multi_label(clips["label"]):
        raise UserError("rounds: they take a corpus with one tag per clip; set rounds: []")
    if rounds and clips["verified"].all():
        raise UserError(
            "rounds: every label of the corpus counts as verified, so that no round would decide "
            "anything; set rounds: [], or mark labels in the column verified"
        )


def answered_clips(folds: pd.DataFrame, fold: str, cv: CrossValidation) -> list[str]:
    """The training clips whose labels a network of this fold may judge: it trained on none of them.

    Those are the validation clips and, where `cv.verified_validation_only` holds them out of
    validation, the unverified clips in their place. Under first_last these are not told from clips
    whose source is trained on, so they stay as they are.
    """
    split = folds[f"fold_{fold}"]
    is_answered = split == VALIDATION
    if cv.verified_validation_only and cv.scheme != "first_last":
        is_answered |= (split == UNUSED) & ~folds["verified"]
    return list(folds.loc[is_answered & (folds["split"] == "train"), "clip"])


def read_decisions(layout: Layout, before: str) -> pd.DataFrame:
    """What the round before this one decided: a row for each clip that it judged.

    Raises:
        UserError: that round has not run yet.
        DamagedError: its file is no such table.
    """
    return read_table(layout.labels_before(before), *COLUMNS)


def with_decisions(clips: pd.DataFrame, decisions: pd.DataFrame) -> pd.DataFrame:
    """The clips with the labels that networks train on, for training alone.

    Args:
        clips: columns clip, label and verified; verified labels stay as they are, whatever was
            decided, so that the user's own decisions win.
        decisions: of `read_decisions`.

    Returns:
        The same rows with label and verified as decided, and the columns weight (of the clip in
        the loss) and is_corrected.
    """
    by_clip = decisions[decisions["clip"].isin(clips.loc[~clips["verified"], "clip"])]
    by_clip = by_clip.set_index("clip").reindex(clips["clip"])
    decision = by_clip["decision"].to_numpy()
    is_corrected = (by_clip["decision"] == CORRECT).to_numpy()
    return clips.assign(
        label=clips["label"].where(~is_corrected, by_clip["suggested"].to_numpy()),
        verified=clips["verified"] | pd.Series(decision, clips.index).isin([ACCEPT, CORRECT]),
        weight=by_clip["weight"].fillna(1.0).to_numpy(),
        is_corrected=is_corrected,
    )
