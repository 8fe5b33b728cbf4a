"""The student learns a mixture of labels and answers, on all training clips, and is kept whole."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from earmark.evaluation.predictions import ENSEMBLE, Predictions, write_predictions
from earmark.evaluation.temperature import temper
from earmark.labels import Task
from earmark.layout import Layout
from earmark.params import Params
from earmark.records import read_json, read_table, write_table
from earmark.seeding import rng_for
from earmark.store import Store, StoreWriter
from earmark.taggers.device import Device
from earmark.taggers.tagger import Tagger
from earmark.training import student
from earmark.training.batches import Sampler
from earmark.training.examples import Examples
from earmark.training.job import job_key
from earmark.training.student import Answers, out_of_fold_answers, student_job, train_student
from tests.training.conftest import TAGS, TASK, clip_table, logmel_input, recipe_with
from tests.training.test_run import checkpoints, count_batches, killed, layout, tiny_params

__all__ = ["layout"]

N_TEST = 40  # enough to tell the temperature
TEMPERATURE = 0.5  # of the ensemble on new clips
COSTS = {"clip_seconds": 10.0}
ENTRY = {
    "network": {"name": "densenet", "growth": 4, "stem_channels": 4, "units": 1, "n_blocks": 2},
    "input": {"segment_seconds": 0.4},
    "training": {"epochs": 2},
    "prediction": {"aggregation": "mean"},
}


def params_with(teacher_weight: float = 0.7, **changes: Any) -> Params:
    entry = {**ENTRY, **changes, "teacher_weight": teacher_weight, "made_clips": 0}
    return tiny_params(student={"logmel": entry})


def ensemble(*, turned: bool = False) -> Predictions:
    """Of the clips of `write_features`: validation in two folds, c02 in none, and test clips.

    `turned` gives each clip the answer of another.
    """
    train = [f"c{i:02}" for i in range(16) if i != 2]
    names = [*train, *(f"t{i:02}" for i in range(N_TEST))]
    is_test = np.arange(len(names)) >= len(train)
    numbers = np.array([int(name[1:]) for name in names])
    fold = np.where(is_test, "", (numbers % 2).astype(str))
    clips = pd.DataFrame({"clip": names, "split": np.where(is_test, "test", "validation")})
    clips = clips.assign(fold=fold, cross_fit_group=fold, source="", usage="", verified=True)
    clips = clips.assign(label=[TAGS[i % 3] for i in numbers], quarantined=False)
    clips.loc[len(clips) - 1, "quarantined"] = True
    rows = rng_for(1, "answers").dirichlet([1.0, 1.0, 1.0], len(names))
    rows[np.arange(len(names)), np.where(numbers % 4, numbers, numbers + 1) % 3] += (
        1  # mostly right
    )
    rows /= rows.sum(axis=1, keepdims=True)
    rows = np.roll(rows, 1, axis=0) if turned else rows
    return Predictions.of(ENSEMBLE, TASK, clips, rows)


def write_ensemble(layout: Layout, **options: Any) -> Predictions:
    """It beside folds in which c01 was dropped, and features of the test clips."""
    predictions = ensemble(**options)
    inference = {"n_crops": 2, "confidence": 0.7}
    metadata = {
        "tags": TAGS,
        "is_multi_label": False,
        "temperature": TEMPERATURE,
        "preparation": {"inference": inference, "seed": 1, "sample_rate": 44_100},
    }
    write_predictions(layout.ensemble, [predictions], metadata)
    folds = read_table(layout.folds)
    folds.loc[folds["clip"] == "c01", "split"] = "dropped"
    tests = predictions.clips.loc[predictions.clips["split"] == "test", ["clip", "label"]]
    tests = tests.assign(split="test", verified=True, fold_0="test")
    write_table(layout.folds, pd.concat([folds, tests], ignore_index=True))
    write_recordings(layout)
    before = Store.open(layout.features("logmel"), in_memory=True)
    rows: list[tuple[dict[Any, Any], Any]]
    rows = [(before.index.iloc[i].to_dict(), before.rows(i)) for i in range(len(before))]
    same = {"split": "test", "variant": "", "partner": ""}
    for clip in tests["clip"][:-1]:  # the last is in quarantine
        noise = rng_for(1, clip).normal(int(clip[1:]) % 3, 1, (50, 80)).astype(np.float16)
        rows.append(({"clip": clip, "sha256": clip, **same}, noise))
    silence = {"silence": [-9.0]}
    with StoreWriter(
        layout.features("logmel"), row_shape=(80,), dtype="float16", metadata=silence
    ) as store:
        for keys, frames in rows:
            kept = {name: keys[name] for name in ("clip", "split", "sha256", "variant", "partner")}
            store.append(frames, **kept)
    return predictions


def write_recordings(layout: Layout, *clips: str, take: int = 1) -> None:
    """What stage `unlabelled` makes of these; each answer is sure of another tag.

    Of two slashes at the beginning they are clips made of training clips.
    """
    answers = np.full((len(clips), len(TAGS)), 0.05, np.float64)
    answers[np.arange(len(clips)), np.arange(len(clips)) % len(TAGS)] = 0.9
    with StoreWriter(layout.unlabelled, row_shape=(80,), dtype="float16") as store:
        for clip in clips:
            rows = rng_for(take, clip).normal(0, 1, (40, 80)).astype(np.float16)
            variant = "made" if clip.startswith("//") else ""
            store.append(rows, clip=clip, variant=variant, drawn="", sha256=clip)
        store.add_table("answers", pd.DataFrame(answers, columns=TAGS))


def answers_of(rows: Mapping[str, list[float]]) -> Answers:
    return Answers(list(rows), np.array(list(rows.values())))


def test_a_target_is_a_share_of_label_and_answer_and_a_clip_without_answer_keeps_its_label(
    tmp_path: Path,
) -> None:
    entries = [
        ("a", "", ""),
        ("b", "", ""),
        ("c", "", ""),
        ("a", "tempo", ""),
        ("a", "same_class", "b"),
        ("a", "same_class", "c"),
        ("b", "pitch_fill", ""),
    ]
    with StoreWriter(tmp_path / "f", row_shape=(), dtype="int16") as out:
        for clip, variant, partner in entries:
            out.append(np.zeros(3, np.int16), clip=clip, variant=variant, partner=partner)
    clips = pd.DataFrame(
        {"clip": ["a", "b", "c"], "label": "Bark", "aux_label": "yap", "verified": True}
    )
    task = Task(["Bark", "Cough"], is_multi_label=False, aux_labels=["yap"])
    train = Examples.select(Store.open(tmp_path / "f"), clips, task, with_class_mixed=True)
    answers = answers_of({"b": [0.0, 1.0], "a": [0.5, 0.5]})
    learned = student.with_answers(train, answers, share=0.8)
    expected = {
        "a": [0.6, 0.4],
        "b": [0.2, 0.8],
        "c": [1.0, 0.0],
        "a and b": [0.4, 0.6],
        "a and c": [0.8, 0.2],
        "b again": [0.2, 0.8],
    }
    assert learned.clips == ["a", "b", "c", "a", "a", "b"]
    np.testing.assert_allclose(learned.learned_targets[:, :2], list(expected.values()), atol=1e-6)
    assert learned.learned_targets[:, 2].tolist() == [1.0] * 6  # of the auxiliary task
    np.testing.assert_array_equal(learned.targets, train.targets)
    np.testing.assert_array_equal(
        student.with_answers(train, answers, share=0.0).learned_targets, train.targets
    )


def test_batches_are_balanced_by_labels_and_learned_by_answers(store: Store) -> None:
    examples = Examples.select(store, clip_table(0, 12), TASK)
    soft = np.full((12, 3), 1 / 3, np.float32)
    examples = replace(examples, soft_targets=soft)
    recipe = recipe_with(sampler="class_balanced", batch_size=6)
    sampler = Sampler(examples=examples, input=logmel_input(), recipe=recipe)
    for units in sampler.order(rng_for(1, "order")):
        tags = examples.targets[sampler.units[units, 0]].argmax(axis=1)
        assert np.bincount(tags, minlength=3).tolist() == [2, 2, 2]
        batch = sampler.gather(units, rng_for(1, "batch"))
        np.testing.assert_array_equal(batch.targets, soft[:6])
    assert examples.at(np.array([3])).learned_targets.tolist() == [soft[3].tolist()]


def test_an_answer_is_calibrated_by_the_other_folds_and_no_label_of_its_own_moves_it() -> None:
    predictions = ensemble()
    answers = out_of_fold_answers(predictions)
    assert sorted(answers.clips) == sorted(set(answers.clips))
    assert not any(clip.startswith("t") for clip in answers.clips)
    turned = predictions.clips.assign(
        label=predictions.clips["label"].where(predictions.clips["fold"] != "0", TAGS[0])
    )
    again = out_of_fold_answers(Predictions.of(ENSEMBLE, TASK, turned, predictions.probabilities))
    is_even = np.array([int(clip[1:]) % 2 == 0 for clip in answers.clips])
    np.testing.assert_array_equal(
        again.probabilities[is_even], answers.probabilities[is_even]
    )  # of fold 0, whose labels changed
    assert (again.probabilities[~is_even] != answers.probabilities[~is_even]).any()


def test_it_trains_on_every_clip_but_dropped_ones_and_validates_on_none(layout: Layout) -> None:
    write_ensemble(layout)
    job = student_job(params_with(), layout)
    assert job.train.clips == [f"c{i:02}" for i in range(16) if i != 1]
    assert len(job.validation) == 0
    assert job.name == "student-all"
    assert job.recipe.epoch_choice == "last"
    unanswered = job.train.clips.index("c02")
    soft = job.train.learned_targets
    np.testing.assert_array_equal(soft[unanswered], job.train.targets[unanswered])
    changed = (soft != job.train.targets).any(axis=1)
    assert changed.sum() > len(changed) // 4  # where the ensemble is not sure of the label


def test_work_in_progress_is_that_of_these_very_answers(layout: Layout) -> None:
    write_ensemble(layout)
    key = job_key(student_job(params_with(), layout), "")
    assert job_key(student_job(params_with(), layout), "") == key
    assert job_key(student_job(params_with(0.6), layout), "") != key
    metadata = read_json(layout.ensemble / "ensemble.json")
    write_predictions(layout.ensemble, [ensemble(turned=True)], metadata)
    assert job_key(student_job(params_with(), layout), "") != key


def test_recordings_without_labels_are_learned_by_their_answers_beside_all_clips(
    layout: Layout,
) -> None:
    write_ensemble(layout)
    without = student_job(params_with(), layout)
    write_recordings(layout, "/a.wav", "/b/c.wav")
    job = student_job(params_with(), layout)
    n = len(without.train)
    assert job.train.clips == [*without.train.clips, "/a.wav", "/b/c.wav"]
    assert np.array_equal(job.train.learned_targets[:n], without.train.learned_targets)
    added = job.train.learned_targets[n:]
    assert added == pytest.approx(np.array([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05]]))
    assert job.train.tag_targets[n:].tolist() == [[1, 0, 0], [0, 1, 0]]
    recordings = Store.open(layout.unlabelled)
    for i in range(2):
        assert np.array_equal(job.train.original(n + i), recordings.rows(i))
    assert np.array_equal(job.train.original(0), without.train.original(0))
    assert job.tagger.input == without.tagger.input, "standardised on the clips that have labels"
    assert job.train.weights[n:].tolist() == [1, 1]
    assert job.train.unverified[n:].tolist() == [0, 0]
    key = job_key(job, "")
    assert key != job_key(without, "")
    write_recordings(layout, "/a.wav", "/b/c.wav", take=2)
    assert job_key(student_job(params_with(), layout), "") != key
    _, batch = next(iter(enumerate(job.sampler.order(rng_for(1, "order")))))
    assert job.sampler.gather(batch, rng_for(1, "crops")).targets.shape[1] == len(TAGS)


@pytest.mark.slow
def test_made_clips_are_learned_as_recordings_and_counted_for_themselves(layout: Layout) -> None:
    write_ensemble(layout)
    write_recordings(layout, "/a.wav", "//1 of c00", "//2 of c00")
    job = student_job(params_with(), layout)
    assert job.train.clips[-3:] == ["/a.wav", "//1 of c00", "//2 of c00"]
    assert job.train.tag_targets[-3:].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    train_student(params_with(), layout, costs=COSTS)
    known = read_json(layout.student / "student.json")
    assert (known["n_clips"], known["n_unlabelled"], known["n_made"]) == (15, 1, 2)


@pytest.mark.slow
def test_it_is_kept_with_all_that_it_takes_to_answer_and_its_answers_for_test_clips(
    layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    predictions = write_ensemble(layout)
    with caplog.at_level("INFO", "earmark"):
        fitted = train_student(params_with(), layout, costs=COSTS)
    assert "student-all: kept epoch 2 of 2, training map_at_3" in caplog.text
    assert not checkpoints(layout)
    assert not any("validation" in name for row in fitted.history for name in row)
    curve = read_table(layout.student / "learning_curve.csv")
    assert curve["epoch"].tolist() == [1, 2]

    known = read_json(layout.student / "student.json")
    assert (known["n_clips"], known["n_answered"]) == (15, 15)
    assert known["costs"] == COSTS
    table = read_table(layout.student / "test.parquet", *TAGS)
    test = np.asarray(predictions.clips["split"] == "test")
    assert len(table) == N_TEST
    np.testing.assert_array_equal(table.to_numpy()[-1], predictions.probabilities[test][-1])

    cpu = Device(name="cpu", precision="float32", channels_last=False)
    tagger = Tagger.load(layout.model("student", "all"), cpu)
    answering = tagger.metadata["answering"]
    assert answering["aggregation"] == "mean"
    assert answering["temperature"] == known["temperature"]
    store = Store.open(layout.features("logmel"), in_memory=True)
    row = store.index.index[store.index["clip"] == "t03"][0]
    crops = tagger.input.covering_segments(store.rows(row))
    alone = tagger.clip_probabilities(crops, cpu, batch_size=8).mean(axis=0)
    np.testing.assert_allclose(table.to_numpy()[3], alone, atol=0.02)  # bfloat16 beside float32


def test_it_is_as_confident_as_the_calibrated_ensemble_by_no_label() -> None:
    """A student with the ensemble's own logits, three times as large, is cooled by three more."""
    test = ensemble()
    test = test.take(np.asarray(test.clips["split"] == "test"))
    sharp = temper(test.probabilities, 1 / 3, is_multi_label=False)
    found = student._temperature(sharp, test, TEMPERATURE)
    assert found == pytest.approx(3 * TEMPERATURE, rel=1e-3)
    unlabelled = replace(test, targets=np.zeros_like(test.targets))
    assert student._temperature(sharp, unlabelled, TEMPERATURE) == found
    few = test.take(np.arange(29))
    assert student._temperature(sharp[:29], few, TEMPERATURE) == 1.0


@pytest.mark.slow
def test_a_kill_while_outputs_are_written_costs_no_training(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ensemble(layout)
    batches = count_batches(monkeypatch)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("earmark.training.student.write_table", killed)
        train_student(params_with(), layout, costs=COSTS)
    n_batches = len(batches)
    assert n_batches
    assert not layout.student.exists()
    train_student(params_with(), layout, costs=COSTS)
    assert len(batches) == n_batches
    assert (layout.student / "test.parquet").exists()
