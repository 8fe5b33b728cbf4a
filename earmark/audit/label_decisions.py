"""What a round of self-verification decides about the labels that nobody verified.

As in confident learning (Northcutt, Jiang, Chuang, "Confident learning: estimating uncertainty in
dataset labels", JAIR 2021, equation 2) a network is confident of a tag where its probability
reaches the tag's threshold: its mean probability over the clips labelled with the tag. The best
systems of DCASE 2018 task 2 accepted labels in this way and trained again (Jeong & Lim, "Audio
tagging system for DCASE 2018: focusing on label noise, data augmentation and its efficient
learning", 2018).
Shapes: B clips, K tags.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from earmark.audit.label_noise import class_thresholds
from earmark.audit.label_posterior import Bools, Floats, Ints
from earmark.audit.label_ranking import true_labels
from earmark.corpora.label_rounds import (
    ACCEPT,
    CORRECT,
    DECISIONS,
    DOUBT,
    FIRST,
    LEAVE,
    read_decisions,
)
from earmark.corpora.stored_tables import read_folds
from earmark.errors import reading
from earmark.labels import label_indices
from earmark.layout import Layout
from earmark.params import LabelRounds, Params
from earmark.store import Store

MOSTLY_WRONG = 0.5  # of doubted labels, below which they are left as they are


def decide_round(params: Params, layout: Layout, round_: str) -> pd.DataFrame:
    """What `decide` says of all clips that the networks of a round answered.

    A clip that several folds answer (first_last) has the mean of their probabilities.
    """
    parts = []
    for fold in params.fold_names:
        store = Store.open(layout.check(round_, fold))
        with reading(layout.check(round_, fold)):
            tags: list[str] = store.metadata["tags"]
            rows = np.concatenate([store.rows(i) for i in range(len(store))]).astype(np.float64)
            parts.append(pd.DataFrame(rows, index=store.index["clip"]))
    answers = pd.concat(parts)
    means = answers.groupby(level=0).mean()
    clips = read_folds(layout).set_index("clip").loc[means.index].reset_index(names="clip")
    labels = label_indices(list(clips["label"]), tags)
    return decide(clips, means.to_numpy(), labels, tags, params.label_rounds, round_=round_)


def decide(
    clips: pd.DataFrame,
    probabilities: Floats,
    labels: Ints,
    tags: list[str],
    options: LabelRounds,
    *,
    round_: str,
) -> pd.DataFrame:
    """Decide about the unverified labels of clips that networks answered without training on them.

    Of the tags that the network is confident of, the likeliest decides. Its own label: accept, and
    it counts as verified. Another one: correct, where its probability reaches
    `options.correct_above`, else doubt, and the clip weighs `options.doubt_weight` in the loss.
    Confident of none: leave. Every round starts from the corpus' own labels, so that a later one
    may take back what an earlier one decided.

    Verified labels are the control group: as often as the network would correct or doubt these, it
    errs. Where that leaves too few wrong ones among the labels that it would correct, they are
    doubted instead; where most of the doubted labels would be right, they are left.

    Args:
        clips: B rows with the columns clip and verified. Nothing is decided about verified labels.
        probabilities: (B, K).
        labels: (B,), indices of the corpus' own labels into `tags`.
        tags: the K tags.
        options: section label_rounds of params.yaml.
        round_: whose answers these are.

    Returns:
        One row for each unverified clip, with `label_rounds.COLUMNS`.
    """
    rows = np.arange(len(labels))
    is_confident = probabilities >= class_thresholds(probabilities, labels)
    top = np.where(is_confident, probabilities, -1.0).argmax(axis=1)
    others = probabilities.copy()
    others[rows, labels] = -1.0
    suggested = others.argmax(axis=1)
    is_own, is_any = top == labels, is_confident.any(axis=1)
    # Of the others, one that the network is confident of need not be the likeliest.
    suggested = np.where(is_any & ~is_own, top, suggested)
    p_suggested = probabilities[rows, suggested]
    decision = np.select(
        [~is_any, is_own, p_suggested >= options.correct_above],
        [LEAVE, ACCEPT, CORRECT],
        DOUBT,
    )
    verified = clips["verified"].to_numpy(dtype=bool)
    if share_wrong(decision == CORRECT, verified) < options.correct_precision:
        decision = np.where(decision == CORRECT, DOUBT, decision)
    if share_wrong(decision == DOUBT, verified) < MOSTLY_WRONG:
        decision = np.where(decision == DOUBT, LEAVE, decision)
    names = np.array(tags)
    table = pd.DataFrame(
        {
            "clip": clips["clip"].to_numpy(),
            "label": names[labels],
            "decision": decision,
            "suggested": names[suggested],
            "p_label": probabilities[rows, labels].astype(np.float64).round(4),
            "p_suggested": p_suggested.astype(np.float64).round(4),
            "weight": np.where(decision == DOUBT, options.doubt_weight, 1.0),
            "round": round_,
        }
    )
    return table[~verified].reset_index(drop=True)


def share_wrong(chosen: Bools, verified: Bools) -> float:
    """The share of wrong labels among the unverified clips that a network disagrees with.

    So many of them are right as it disagrees with verified labels, in proportion; by Laplace's rule
    of succession, so that few verified clips promise little.

    >>> chosen, verified = np.arange(100) % 2 == 0, np.arange(100) < 98
    >>> share_wrong(chosen, verified)  # one of two, like the verified clips: none need be wrong
    0.0

    Args:
        chosen: (B,), with which it disagrees.
        verified: (B,).
    """
    n_chosen = int((chosen & ~verified).sum())
    if not n_chosen:
        return 0.0
    rate = (int((chosen & verified).sum()) + 1) / (int(verified.sum()) + 2)
    return max(0.0, 1 - rate * int((~verified).sum()) / n_chosen)


def summary_of(decisions: pd.DataFrame, true_label_of: Mapping[str, str] | None) -> dict[str, Any]:
    """How many labels each decision is about and, where the truth is known, how right they are.

    Args:
        decisions: of one round.
        true_label_of: the true tag of each clip; None where nobody knows.

    Returns:
        {decision: clips}; with the truth also the share of accepted labels that are right
        (accept_precision), of right labels that are accepted (accept_recall), of corrections that
        are right, of wrong labels that are corrected to the right tag, and of doubted labels that
        are wrong. A share of nothing is None.
    """
    counts: dict[str, Any] = {
        name: int((decisions["decision"] == name).sum()) for name in DECISIONS
    }
    if true_label_of is None:
        return counts
    truth = decisions["clip"].map(true_label_of)
    is_right = (decisions["label"] == truth).to_numpy()
    is_better = (decisions["suggested"] == truth).to_numpy()
    accepted, corrected, doubted = (
        (decisions["decision"] == name).to_numpy() for name in (ACCEPT, CORRECT, DOUBT)
    )
    return counts | {
        "accept_precision": _share(is_right, accepted),
        "accept_recall": _share(accepted, is_right),
        "correct_precision": _share(is_better, corrected),
        "correct_recall": _share(corrected & is_better, ~is_right),
        "doubt_precision": _share(~is_right, doubted),
    }


def rounds_table(params: Params, layout: Layout) -> pd.DataFrame:
    """One row for each round that ran: round, and what `summary_of` says of it."""
    root = layout.root / params.corpus.root
    true_label_of = true_labels(root) if params.rounds and params.corpus.synthetic else None
    rows = [
        {"round": one} | summary_of(read_decisions(layout, FIRST + one), true_label_of)
        for one in params.rounds
    ]
    return pd.DataFrame(rows, columns=None if rows else ["round"])


def metrics(rounds: pd.DataFrame) -> dict[str, Any]:
    """What metrics/audit.json says of the rounds; nothing where none ran."""
    records = rounds.set_index("round").to_dict("index")
    return {"rounds": records} if records else {}


def _share(which: Bools, among: Bools) -> float | None:
    return round(float(which[among].mean()), 4) if among.any() else None
