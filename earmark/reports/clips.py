"""Which clips a report shows, and what is known of each: the data behind its matrix and its list.

Shapes: B rows (a labelled validation clip in its fold, or a labelled test clip), K tags.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.evaluation.points import Bools, Floats
from earmark.evaluation.predictions import ENSEMBLE, Predictions
from earmark.reports.excerpts import Excerpt

SETS = {"validation": "out of fold", "test": "test"}
MAX_ERRORS, RIGHT_PER_TAG = 400, 3  # excerpts of each set
_TOP = 3


class Row(NamedTuple):
    """A set of clips, and what the ensemble answers for each."""

    split: str
    predictions: Predictions  # of the labelled rows of one set
    answers: Bools  # (B, K)
    severity: Floats  # (B,), 0 where the answer is right


class Shown(NamedTuple):
    """The sets of clips of a report, by the names of SETS, and the clips that get an excerpt."""

    sets: dict[str, Row]
    excerpts: list[str]
    n_errors: int
    n_errors_heard: int


def shown_clips(ensemble: Predictions) -> Shown:
    """The labelled rows of the ensemble, and the clips to be heard.

    Those are all errors; of more than MAX_ERRORS one half are the worst, and the other the worst of
    each kind of error (a cell of the matrix) in turn, so that few cells are silent. And of each tag
    the right answers that are least confident.
    """
    sets = {}
    for split, name in SETS.items():
        rows = ensemble.where(split=split)
        if len(rows):
            sets[name] = Row(split, rows, answers_of(rows), severity_of(rows))
    chosen: dict[str, None] = {}  # an ordered set
    heard = n_errors = 0
    for one in sets.values():
        clips = one.predictions.clips["clip"].to_numpy()
        errors = _worst_first(one)
        chosen |= dict.fromkeys(clips[errors[:MAX_ERRORS]])
        n_errors, heard = n_errors + len(errors), heard + min(len(errors), MAX_ERRORS)
        chosen |= dict.fromkeys(clips[_right_ones(one)])
    return Shown(sets, list(chosen), n_errors, heard)


def _worst_first(row: Row) -> NDArray[np.int64]:
    """The rows of all errors, the most telling MAX_ERRORS first."""
    order = np.argsort(-row.severity, kind="stable")
    errors = order[row.severity[order] > 0]
    worst, rest = errors[: MAX_ERRORS // 2], errors[MAX_ERRORS // 2 :]
    kinds = pd.Series(_kinds(row)[errors])
    rank_in_kind = kinds.groupby(kinds).cumcount().to_numpy()[len(worst) :]
    return np.concatenate([worst, rest[np.argsort(rank_in_kind, kind="stable")]])


def _kinds(row: Row) -> NDArray[np.int64]:
    """A number for each kind of error `(B,)`: the cell of the matrix, or the tag that is most wrong
    and whether it is missed."""
    is_true, n_tags = row.predictions.targets > 0.5, len(row.predictions.task.tags)
    if row.predictions.answers is None:
        return np.asarray(row.predictions.labels * n_tags + row.answers.argmax(axis=1))
    p = row.predictions.probabilities
    wrong = np.where(is_true != row.answers, np.where(is_true, 1 - p, p), -1.0)
    tag = wrong.argmax(axis=1)
    return np.asarray(2 * tag + is_true[np.arange(len(tag)), tag])


def _right_ones(row: Row) -> list[int]:
    """Of each tag the right answers of the lowest probability."""
    found = []
    for tag in range(len(row.predictions.task.tags)):
        has_tag = row.predictions.targets[:, tag] > 0.5
        right = np.flatnonzero(has_tag & row.answers[:, tag] & (row.severity == 0))
        order = np.argsort(row.predictions.probabilities[right, tag], kind="stable")
        found += right[order[:RIGHT_PER_TAG]].tolist()
    return found


def answers_of(predictions: Predictions) -> Bools:
    """The tags `(B, K)` that are answered: the likeliest, or those above their thresholds."""
    if predictions.answers is not None:
        return predictions.answers.by_tag
    answers = np.zeros(predictions.probabilities.shape, dtype=np.bool_)
    answers[np.arange(len(predictions)), predictions.probabilities.argmax(axis=1)] = True
    return answers


def severity_of(predictions: Predictions) -> Floats:
    """How wrong each answer is `(B,)`: 0 if it is right, else 1 less the probability of what is
    true, of the tag where that is least."""
    is_true, answers = predictions.targets > 0.5, answers_of(predictions)
    p_true = np.where(is_true, predictions.probabilities, 1 - predictions.probabilities)
    is_judged = is_true if predictions.answers is None else is_true != answers
    wrong = np.where(is_judged, 1 - p_true, 0.0).max(axis=1)
    # not 0, which is right: a threshold near 1 leaves out what is nearly sure
    return np.where((is_true != answers).any(axis=1), np.maximum(wrong, 1e-6), 0.0)


def clip_data(
    shown: Shown,
    members: Mapping[str, Predictions],
    label_audit: pd.DataFrame,
    excerpts: Mapping[str, Excerpt],
) -> dict[str, Any]:
    """What the page's script reads: lists with an entry a row, tags and clips as numbers.

    Args:
        shown: of `shown_clips`.
        members: with the ensemble; their rows are in one order.
        label_audit: of all clips that it judges: clip, suggested, p_wrong and is_listed.
        excerpts: by clip.
    """
    tags = next(iter(shown.sets.values())).predictions.task.tags if shown.sets else []
    names = [ENSEMBLE, *sorted(name for name in members if name != ENSEMBLE)]
    audited = {row.clip: row for row in label_audit.itertuples(index=False)}
    rows: list[list[Any]] = []
    for number, one in enumerate(shown.sets.values()):
        top = [_top(members[member].where(split=one.split).probabilities) for member in names]
        p = one.predictions
        for i, clip in enumerate(p.clips.itertuples(index=False)):
            excerpt = excerpts.get(str(clip.clip))
            rows.append(
                [
                    str(clip.clip),
                    number,
                    str(clip.fold),
                    np.flatnonzero(p.targets[i] > 0.5).tolist(),
                    np.flatnonzero(one.answers[i]).tolist(),
                    int(bool(clip.verified)),
                    round(float(one.severity[i]), 4),
                    [of_member[i] for of_member in top],
                    _audited(audited.get(clip.clip)) if one.split == "validation" else 0,
                    [*excerpt] if excerpt else 0,
                ]
            )
    return {"tags": tags, "members": names, "sets": list(shown.sets), "rows": rows}


def _top(probabilities: Floats) -> list[list[float]]:
    """Of each row tag, probability, tag, probability, ... of the likeliest."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :_TOP]
    values = np.take_along_axis(probabilities, order, axis=1)
    pairs = zip(order.tolist(), values.tolist(), strict=True)
    return [
        [x for tag, p in zip(tags, ps, strict=True) for x in (tag, round(p, 3))]
        for tags, ps in pairs
    ]


def _audited(row: Any) -> Any:
    if row is None:
        return 0
    return [round(float(row.p_wrong), 3), str(row.suggested), int(row.is_listed)]


def script(data: Mapping[str, Any]) -> str:
    """The data as a script: a page from a disk may load no json."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return f"window.EARMARK = {text.replace('<', chr(92) + 'u003c')};\n"


class Matrix(NamedTuple):
    """A confusion matrix to click on: `counts` and `shares` of the clips of the actual tag."""

    set_number: int
    name: str
    tags: list[tuple[int, str]]  # number and name; some of them where there are many
    cells: list[list[tuple[int, float]]]
    n_left_out: int


class TagErrors(NamedTuple):
    """Where clips may have several tags: how many clips missed a tag, or got it wrongly."""

    set_number: int
    name: str
    rows: list[tuple[int, str, int, int, int]]  # number, tag, missed, false alarms, right


MAX_MATRIX_TAGS = 60


def matrices(shown: Shown) -> list[Matrix]:
    """The matrix of each set; of more than 60 tags those with the most errors."""
    found = []
    for number, (name, one) in enumerate(shown.sets.items()):
        p = one.predictions
        n_tags = len(p.task.tags)
        counts = np.zeros((n_tags, n_tags), dtype=np.int64)
        np.add.at(counts, (p.labels, one.answers.argmax(axis=1)), 1)
        kept = _most_confused(counts)
        sizes = np.maximum(counts.sum(axis=1), 1)
        cells = [
            [(int(counts[i, j]), round(float(counts[i, j] / sizes[i]), 3)) for j in kept]
            for i in kept
        ]
        names = [(int(i), p.task.tags[i]) for i in kept]
        found.append(Matrix(number, name, names, cells, n_tags - len(kept)))
    return found


def _most_confused(counts: NDArray[np.int64]) -> list[int]:
    off = counts * (1 - np.eye(len(counts), dtype=np.int64))
    order = np.argsort(-(off.sum(axis=0) + off.sum(axis=1)), kind="stable")
    return sorted(order[:MAX_MATRIX_TAGS].tolist())


def tag_errors(shown: Shown) -> list[TagErrors]:
    """The errors of each tag in each set, the tags with the most first."""
    found = []
    for number, (name, one) in enumerate(shown.sets.items()):
        is_true, answers = one.predictions.targets > 0.5, one.answers
        missed, alarms, right = (
            of_all.sum(axis=0).tolist()
            for of_all in (is_true & ~answers, ~is_true & answers, is_true & answers)
        )
        tags: Sequence[str] = one.predictions.task.tags
        rows = list(zip(range(len(tags)), tags, missed, alarms, right, strict=True))
        rows.sort(key=lambda row: (-(row[2] + row[3]), row[0]))
        found.append(TagErrors(number, name, rows))
    return found
