"""The student: one network that learns what the ensemble answers for its own training clips.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2. The
answers are those out of fold, so that no teacher learned the clip that it answers for. Recordings
without labels, where a folder of them is given, and clips that are made of training clips it learns
by the answers of all folds.
Shapes: N clips, K tags, A auxiliary labels, B test clips.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.corpora.stored_tables import read_folds
from earmark.ensemble.tagging import tag_clip
from earmark.ensemble.tuning import MIN_UNLABELLED
from earmark.errors import UserError
from earmark.evaluation.calibration import tempered_out_of_fold
from earmark.evaluation.predictions import (
    ENSEMBLE,
    Predictions,
    read_metadata,
    read_predictions,
)
from earmark.evaluation.temperature import fit_temperature, temper
from earmark.features.augmentations import supported_augmentations
from earmark.labels import Task
from earmark.layout import Layout
from earmark.params import Params, Recipe
from earmark.params.roster import ALL, STUDENT, reads_all, recipe_of, student_of
from earmark.records import read_table, write_json, write_table
from earmark.store import Store
from earmark.taggers.device import Device
from earmark.taggers.tagger import Tagger
from earmark.training.augmentation import applicable
from earmark.training.building import new_start, seed_weights
from earmark.training.examples import Examples
from earmark.training.job import Fitted, Job
from earmark.training.run import description, learning_curve, train_job
from earmark.whole_files import whole_folder

Floats = NDArray[np.floating[Any]]


def train_student(
    params: Params, layout: Layout, *, costs: Mapping[str, Any], code: str = ""
) -> Fitted:
    """Train the student on all training clips, and let it predict the test clips.

    It is kept under models/student/all/; its learning curve, its probabilities of test clips and
    what is known of it under data/training/student/.

    Args:
        costs: of a clip, for the student and for the ensemble; kept beside it.
        code: as for `train_model`.

    Raises:
        UserError: params.yaml has no student, or its training diverges.
    """
    job = student_job(params, layout)
    write = partial(_write_outputs, params=params, costs=costs)
    return train_job(job, params, layout, stage=STUDENT, code=code, write=write)


def student_job(params: Params, layout: Layout) -> Job:
    """The training of the student, ready to start: on all training clips, validated on none."""
    if (student := student_of(params)) is None:
        raise UserError("params.yaml: student: there is none; docs/training.md shows one")
    feature, entry = student
    supported = supported_augmentations(params.features[feature].type, whole_clips=reads_all(entry))
    recipe = applicable(recipe_of(params, entry), supported)
    seed_weights(recipe.seed, STUDENT, ALL)
    store = Store.open(layout.features(feature), in_memory=True)
    answers = out_of_fold_answers(read_predictions(layout.ensemble, ENSEMBLE))
    train, none = _examples(layout, store, recipe)
    train = with_answers(train, answers, share=entry.teacher_weight)
    key = f"{STUDENT}.{feature}"
    start = new_start(params, layout, entry, feature, store, train, key=key, name=STUDENT)
    train = with_unlabelled(train, *_unlabelled(layout))
    origin = {"random_start": start_} if (start_ := store.metadata.get("random_start")) else {}
    return Job(
        member=STUDENT,
        fold=ALL,
        recipe=recipe,
        tagger=start.tagger,
        train=train,
        validation=none,
        device=Device.choose(params.runtime),
        checkpoint_seconds=params.runtime.checkpoint_seconds,
        frozen=tuple(entry.training.frozen),
        head=start.head,
        metadata=origin | start.metadata,
    )


def _examples(layout: Layout, store: Store, recipe: Recipe) -> tuple[Examples, Examples]:
    """All clips that train in some fold, and none to validate on."""
    folds = read_folds(layout)
    train = folds[folds["split"] == "train"]
    task = Task.of(train)
    every = Examples.select(store, train, task, with_class_mixed=recipe.class_mixed_clips)
    return every, every.at(np.empty(0, dtype=np.intp))


def _unlabelled(layout: Layout) -> tuple[Store, Floats]:
    """What stage `unlabelled` left: the rows of N sounds, and the answers `(N, K)`."""
    answers = read_table(layout.unlabelled / "answers.parquet")
    return Store.open(layout.unlabelled, in_memory=True), answers.to_numpy()


class Answers(NamedTuple):
    """What a teacher answers for some clips: calibrated probabilities `(N, K)`."""

    clips: list[str]
    probabilities: Floats


def out_of_fold_answers(ensemble: Predictions) -> Answers:
    """What the ensemble answers for each training clip, by networks that never trained on it.

    Calibrated by the temperatures of the other folds, so that a share of a target is as likely as
    it says; the mean where several folds validate a clip.
    """
    validation = ensemble.validation
    tempered = replace(validation, probabilities=tempered_out_of_fold(validation))
    by_clip = tempered.mean_by_clip()
    return Answers(list(by_clip.clips["clip"]), by_clip.probabilities)


def with_answers(train: Examples, answers: Answers, *, share: float) -> Examples:
    """Mix `share` of the teacher's answer into each clip's target.

    A clip that has no answer keeps its target. A clip of class_mixing, made of two, has the mean of
    both.

    Args:
        train: N clips, of which augmented variants are no clips of their own.
        answers: of the same tags, in the same order.
        share: between 0 and 1.
    """
    row_of = {clip: row for row, clip in enumerate(answers.clips)}
    partners = train.store.index.get("partner", pd.Series("", index=train.store.index.index))
    soft, n_tags = train.targets.copy(), len(train.task.tags)
    for position, clip in enumerate(train.clips):
        partner = str(partners.iloc[train.entries[position][0]])
        made_of = [row_of.get(one) for one in (clip, partner) if one]
        given = train.targets[position, :n_tags]
        answered = [given if row is None else answers.probabilities[row] for row in made_of]
        soft[position, :n_tags] = (1 - share) * given + share * np.mean(answered, axis=0)
    return replace(train, soft_targets=soft)


def with_unlabelled(train: Examples, recordings: Store, answers: Floats) -> Examples:
    """Add recordings and made clips that nobody labelled: their targets are the answers alone.

    No teacher has seen any recording, so the ensemble answers as it does for new ones. Most have
    seen what a clip is made of, but not as it is now: on the demo they teach far better than the
    third of the networks that has not (docs/training.md). An auxiliary task learns nothing of them.

    Args:
        train: the examples that have soft targets, whose store has no entry of these recordings.
        recordings: one entry each.
        answers: calibrated probabilities, `(N, K)`.
    """
    if not len(recordings):
        return train
    assert isinstance(train.store, Store), "a student reads one feature"
    assert train.soft_targets is not None, "a student learns answers"
    n, first = len(recordings), len(train.store)
    soft = np.zeros((n, train.targets.shape[1]), dtype=np.float32)
    soft[:, : answers.shape[1]] = answers
    likely = answers >= (0.5 if train.task.is_multi_label else answers.max(axis=1, keepdims=True))
    hard = np.zeros_like(soft)  # what a balanced sampler goes by
    hard[:, : answers.shape[1]] = likely
    none = np.zeros(n, dtype=np.float32)
    return replace(
        train,
        store=train.store.followed_by(recordings),
        clips=[*train.clips, *recordings.index["clip"]],
        entries=[*train.entries, *([first + i] for i in range(n))],
        targets=np.concatenate([train.targets, hard]),
        unverified=np.concatenate([train.unverified, none]),
        weights=np.concatenate([train.weights, none + 1]),
        is_corrected=np.concatenate([train.is_corrected, none.astype(bool)]),
        soft_targets=np.concatenate([train.soft_targets, soft]),
    )


def _write_outputs(
    job: Job, fitted: Fitted, layout: Layout, *, params: Params, costs: Mapping[str, Any]
) -> None:
    (entry,) = params.student.values()
    metadata, ensemble = read_metadata(layout.ensemble), read_predictions(layout.ensemble, ENSEMBLE)
    test = ensemble.take(np.asarray(ensemble.clips["split"] == "test"))
    answering = {
        "aggregation": entry.prediction.aggregation,
        "is_multi_label": metadata["is_multi_label"],
        "preparation": metadata["preparation"],
        **({"thresholds": metadata["thresholds"]} if "thresholds" in metadata else {}),
    }
    answerer = fitted.tagger.folded(job.device)  # as `predict --student` asks it
    probabilities = _test_probabilities(job, answerer, test, answering)
    answering["temperature"] = _temperature(probabilities, test, metadata["temperature"])
    variants = read_table(layout.unlabelled / "index.parquet").get("variant", pd.Series(dtype=str))
    n_made = int((variants != "").sum())
    known = {
        "feature": job.tagger.input.feature,
        "teacher_weight": entry.teacher_weight,
        "n_clips": len(set(job.train.clips)) - len(variants),
        "n_unlabelled": len(variants) - n_made,
        "n_made": n_made,
        "n_answered": int(ensemble.validation.clips["clip"].nunique()),
        "temperature": answering["temperature"],
        "costs": costs,
    }
    kept = {**description(job, fitted), "answering": answering}
    fitted.tagger.save(layout.model(STUDENT, ALL), kept)
    with whole_folder(layout.student) as part:
        write_table(part / "learning_curve.csv", learning_curve(job, fitted))
        table = pd.DataFrame(probabilities, columns=ensemble.task.tags)
        write_table(part / "test.parquet", table)
        write_json(part / "student.json", known)


def _test_probabilities(
    job: Job, tagger: Tagger, test: Predictions, answering: Mapping[str, Any]
) -> Floats:
    """Return `(B, K)`; a quarantined clip has what the ensemble has: how often tags are."""
    index = job.train.store.index
    originals = index[index.get("variant", "") == ""]
    position_of = dict(zip(originals["clip"], originals.index, strict=True))
    probabilities = test.probabilities.copy()
    rows = zip(test.clips["clip"], test.clips["quarantined"], strict=True)
    for row, (clip, is_quarantined) in enumerate(rows):
        if not is_quarantined:
            position = position_of[clip]
            probabilities[row] = tag_clip(
                tagger,
                job.train.store.rows(position),
                aggregation=answering["aggregation"],
                preparation=answering["preparation"],
                member=job.member,
                fold=job.fold,
                sha256=str(index.loc[position, "sha256"]),
                device=job.device,
            ).probabilities
    return probabilities


def _temperature(probabilities: Floats, test: Predictions, temperature: float) -> float:
    """What makes the student as confident as the calibrated ensemble, by no label.

    All labelled clips that it could be told on have trained it. On test clips, which neither has
    seen, the ensemble's answers stand for labels; 1 where there are too few of them.
    """
    rows = ~np.asarray(test.clips["quarantined"], dtype=bool)
    if rows.sum() < MIN_UNLABELLED:
        return 1.0
    is_multi_label = test.task.is_multi_label
    answers = temper(test.probabilities[rows], temperature, is_multi_label=is_multi_label)
    return fit_temperature(probabilities[rows], answers, is_multi_label=is_multi_label)
