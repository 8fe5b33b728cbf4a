"""Networks that are fitted at once, against scikit-learn's own pipelines."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from earmark.errors import UserError
from earmark.layout import Layout
from earmark.records import write_table
from earmark.store import Store, StoreWriter
from earmark.taggers.tagger import Tagger
from earmark.training.examples import Examples, Split, splits_within
from earmark.training.job import Fitted, Job
from earmark.training.logistic import STRENGTHS, UNTRIED, Regression, fit_at_once
from earmark.training.logistic import Rows as VectorRows
from earmark.training.loop import fit
from tests.source_graph import ROOT
from tests.training.conftest import (
    TASK,
    Rows,
    clip_table,
    logmel_input,
    make_job,
    recipe_with,
    weights_of,
)


def linear_job(
    store: Store, clips: pd.DataFrame | None = None, *, aux: bool = False, **recipe: Any
) -> Job:
    """The job of conftest, of a linear network on the mean of whole clips."""
    job = make_job(store, clips, recipe=recipe_with(**recipe))
    tagger = Tagger.new(
        "linear",
        {"n_inputs": 20},
        tags=job.tagger.tags,
        input_=logmel_input(lengths=[0]),
        aux_labels=["loud", "soft"] if aux else [],
        activation=job.tagger.activation,
    )
    return replace(job, tagger=tagger)


def means(examples: Examples, *, variant: int = 0) -> NDArray[np.float64]:
    """The mean row of each clip itself, or of its variant 1."""
    rows = [examples.store.rows(entries[variant]) for entries in examples.entries]
    return np.array([np.asarray(one, np.float64).mean(axis=0) for one in rows])


def labels_of(job: Job) -> NDArray[np.int64]:
    return job.train.tag_targets.argmax(axis=1)


def fitted(job: Job) -> Fitted:
    return fit_at_once(job, Rows())


def test_probabilities_are_those_of_scikit_learns_standardised_logistic_regression(store) -> None:
    job = linear_job(store, augmented_share=0.0)
    expected = make_pipeline(StandardScaler(), LogisticRegression(C=UNTRIED, max_iter=2000))
    expected.fit(means(job.train), job.train.tag_targets.argmax(axis=1))
    result = fitted(job)
    reference = expected.predict_proba(means(job.validation))
    np.testing.assert_allclose(result.validation_probabilities, reference, atol=2e-4)


def test_two_tags_have_the_probabilities_of_one_logit(store) -> None:
    clips = clip_table(0, 18)
    clips["label"] = np.where(clips["label"] == "Bark", "Bark", "Other")
    job = linear_job(store, clips, augmented_share=0.0)
    expected = make_pipeline(StandardScaler(), LogisticRegression(C=UNTRIED, max_iter=2000))
    expected.fit(means(job.train), job.train.tag_targets.argmax(axis=1))
    reference = expected.predict_proba(means(job.validation))
    np.testing.assert_allclose(fitted(job).validation_probabilities, reference, atol=2e-4)


def test_several_tags_are_one_regression_each(store) -> None:
    clips = clip_table(0, 18)
    clips["label"] = ["Bark;Cough", "Cough", "Flute"] * 6
    job = linear_job(store, clips, augmented_share=0.0, monitor="loss")
    one = LogisticRegression(C=UNTRIED, max_iter=2000)
    expected = make_pipeline(StandardScaler(), OneVsRestClassifier(one))
    expected.fit(means(job.train), job.train.tag_targets)
    reference = expected.predict_proba(means(job.validation))
    np.testing.assert_allclose(fitted(job).validation_probabilities, reference, atol=2e-4)


def test_a_variant_weighs_as_often_as_it_is_drawn(store) -> None:
    """Of a clip with one variant: 0.75 and 0.25."""
    job = linear_job(store, augmented_share=0.25)
    x, labels = np.concatenate([means(job.train), means(job.train, variant=1)]), labels_of(job)
    weights = np.repeat([0.75, 0.25], 12)
    scaler = StandardScaler().fit(x, sample_weight=weights)
    expected = LogisticRegression(C=UNTRIED, max_iter=2000)
    expected.fit(scaler.transform(x), np.tile(labels, 2), sample_weight=weights)
    reference = expected.predict_proba(scaler.transform(means(job.validation)))
    np.testing.assert_allclose(fitted(job).validation_probabilities, reference, atol=2e-4)


def test_the_strength_is_that_of_the_least_log_loss_of_held_out_clips_themselves(store) -> None:
    clips = clip_table(0, 18)
    clips.loc[[0, 4], "label"] = "Flute"  # which are no flutes: trust no clip too much
    job = linear_job(store, clips, augmented_share=0.5)
    part = np.arange(12) // 3 % 2 == 0
    result = fitted(replace(job, splits=[Split(part, ~part), Split(~part, part)]))
    both = np.concatenate([means(job.train), means(job.train, variant=1)])
    x, labels = StandardScaler().fit_transform(both), labels_of(job)

    def loss(strength: float) -> float:
        losses = []
        for train, held_out in ((part, ~part), (~part, part)):
            regression = LogisticRegression(C=strength / 2, max_iter=2000)
            regression.fit(x[np.tile(train, 2)], np.tile(labels[train], 2))
            p = regression.predict_proba(x[:12][held_out])
            losses += list(-np.log(p[np.arange(len(p)), labels[held_out]]))
        return float(np.mean(losses))

    assert result.kept["strength"] == min(STRENGTHS, key=loss)
    assert STRENGTHS[0] < result.kept["strength"] < STRENGTHS[-1], "the test tells something"


def test_an_unverified_clip_of_weight_0_is_as_if_it_were_not_there(store) -> None:
    clips = clip_table(0, 18)
    without = pd.concat([clips[:12][clips[:12]["verified"]], clips[12:]])
    job = linear_job(store, clips, noisy_label_weight=0.0)
    train = Examples.select(store, without[without["clip"].isin(job.train.clips)], TASK)
    expected = fitted(replace(linear_job(store, clips), train=train))
    for key, value in weights_of(fitted(job)).items():
        np.testing.assert_allclose(value, weights_of(expected)[key], atol=1e-6)


def test_half_weight_is_half_of_a_clip(store) -> None:
    """As if every verified clip were there twice, and its strength halved."""
    job = linear_job(store, noisy_label_weight=0.5, augmented_share=0.0)
    is_verified = job.train.unverified == 0
    twice = np.concatenate([np.arange(12), np.flatnonzero(is_verified)])
    x, labels = means(job.train)[twice], job.train.tag_targets.argmax(axis=1)[twice]
    expected = make_pipeline(StandardScaler(), LogisticRegression(C=UNTRIED / 2, max_iter=2000))
    reference = expected.fit(x, labels).predict_proba(means(job.validation))
    np.testing.assert_allclose(fitted(job).validation_probabilities, reference, atol=2e-4)


def test_a_clip_that_a_round_gives_no_weight_is_as_if_it_were_not_there(store) -> None:
    job, other = (linear_job(store, augmented_share=0.0) for _ in range(2))
    weights = np.where(np.arange(12) == 5, 0, 1).astype(np.float32)
    doubted = fitted(replace(job, train=replace(job.train, weights=weights)))
    without = fitted(replace(other, train=other.train.at(np.flatnonzero(weights))))
    np.testing.assert_allclose(
        doubted.validation_probabilities, without.validation_probabilities, atol=1e-5
    )


def test_no_clip_that_counts_is_one_line(store) -> None:
    clips = clip_table(0, 18).assign(verified=False)
    with pytest.raises(UserError, match="tiny-0: with this noisy_label_weight no training clip"):
        fitted(linear_job(store, clips, noisy_label_weight=0.0))


@pytest.mark.parametrize(("share", "is_spoiled"), [(0.0, False), (0.5, True)])
def test_variants_count_as_often_as_an_epoch_draws_them(
    store, tmp_path: Path, share: float, is_spoiled: bool
) -> None:
    silence = {"silence": [-9.0]}
    with StoreWriter(
        tmp_path / "other", row_shape=(20,), dtype="float16", metadata=silence
    ) as other:
        for entry, (clip, variant) in enumerate(store.index[["clip", "variant"]].values):
            rows = np.asarray(store.rows(entry))
            rows = rows + np.float16(clip == "c0") if variant else rows
            other.append(rows, clip=clip, split="train", variant=variant)
    results = [
        fitted(linear_job(one, augmented_share=share)).validation_probabilities
        for one in (store, Store.open(tmp_path / "other", in_memory=True))
    ]
    assert np.array_equal(*results) != is_spoiled


def test_a_tag_without_training_clips_is_improbable_and_nothing_is_nan(store) -> None:
    clips = clip_table(0, 18)
    clips.loc[:11, "label"] = ["Bark", "Cough"] * 6
    probabilities = fitted(linear_job(store, clips)).validation_probabilities
    assert (probabilities[:, 2] < 1e-3).all()
    assert np.isfinite(probabilities).all()


def test_the_history_has_one_row_with_what_the_epochs_of_others_have(store, tmp_path) -> None:
    watcher = Rows()
    row = fit_at_once(linear_job(store), watcher)
    others = fit(make_job(store, recipe=recipe_with(epochs=1)), tmp_path / "work", Rows())
    assert set(row.kept) == {*others.kept, "strength"}
    assert row.history == [row.kept]
    assert watcher.epochs == [1]
    assert np.isnan(row.kept["learning_rate"])


def test_an_auxiliary_task_is_left_out(store) -> None:
    result = fitted(linear_job(store, aux=True))
    weight = weights_of(result)["head.weight"]
    assert weight[:3].all(axis=1).all()
    assert not weight[3:].any()
    alone = fitted(linear_job(store)).validation_probabilities
    np.testing.assert_allclose(result.validation_probabilities, alone, atol=1e-6)


def write_folds(layout: Layout, **columns: list[str]) -> None:
    clips = clip_table(0, 6).assign(split="train", **columns)
    write_table(layout.folds, clips)


def selected(store: Store, *clips: str) -> Examples:
    table = clip_table(0, 6)
    return replace(Examples.select(store, table[table["clip"].isin(clips)], TASK), clips=[*clips])


def test_training_clips_are_divided_as_the_other_folds_divide_them(store, tmp_path) -> None:
    layout = Layout(tmp_path)
    t, v, u = "train", "validation", "unused"
    write_folds(layout, fold_0=[v, v, t, t, t, t], fold_1=[t, t, v, u, t, t],
                fold_2=[t, t, t, t, v, v])  # fmt: skip
    train = selected(store, "c2", "c3", "c4", "c5", "c2")  # the last is mixed of others
    first, second = splits_within(layout, "0", train)
    assert first.validation.tolist() == [True, False, False, False, False]
    assert first.train.tolist() == [False, False, True, True, False]
    assert second.validation.tolist() == [False, False, True, True, False]
    assert second.train.tolist() == [True, True, False, False, False]


def test_of_two_folds_the_clips_of_the_inner_split_are_held_out(store, tmp_path) -> None:
    layout = Layout(tmp_path)
    t, v = "train", "validation"
    write_folds(layout, fold_0=[v, v, v, t, t, t], fold_1=[t, t, t, v, v, v],
                inner_0=[False] * 5 + [True])  # fmt: skip
    (split,) = splits_within(layout, "0", selected(store, "c3", "c4", "c5"))
    assert split.train.tolist() == [True, True, False]
    assert split.validation.tolist() == [False, False, True]


def test_one_fold_without_an_inner_split_has_nothing_to_choose_by(store, tmp_path) -> None:
    layout = Layout(tmp_path)
    write_folds(layout, fold_0=["validation", *["train"] * 5])
    assert splits_within(layout, "0", selected(store, "c3", "c4")) == []


@pytest.mark.parametrize("is_multi_label", [False, True])
def test_fewer_clips_than_values_have_the_layer_that_all_values_would_have(is_multi_label) -> None:
    rng = np.random.default_rng(0)
    vectors, weights = rng.normal(size=(24, 150)), rng.uniform(0.5, 2, 24)
    labels = np.arange(24) % 3
    clips, is_original = np.arange(24), np.ones(24, bool)
    rows = VectorRows(vectors, np.eye(3)[labels], weights, clips, is_original)
    regression = Regression(rows, is_multi_label=is_multi_label)
    regression.fit(0.01)  # where the next one starts
    layer = regression.fit(0.1)
    for tag in range(3):
        wanted = (labels == tag).astype(int) if is_multi_label else labels
        direct = LogisticRegression(C=0.1, tol=1e-8, max_iter=5000)
        direct.fit(vectors, wanted, sample_weight=weights)
        weight = direct.coef_[0] if is_multi_label else direct.coef_[tag]
        np.testing.assert_allclose(layer.weight[tag], weight, atol=1e-3)
        assert np.linalg.norm(weight) > 0.1


# Up to where the solver begins, in a process that has loaded neither scikit-learn nor scipy.
THREADS = """
import sys
from unittest.mock import MagicMock
import threadpoolctl
from earmark.processes import set_threads
set_threads(2)
from earmark.training import logistic

def look(*_, **__):
    from sklearn.linear_model import LogisticRegression
    libraries = [one for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"]
    print(len(libraries), {one["num_threads"] for one in libraries})
    sys.exit()

assert not {"scipy", "sklearn"} & {*sys.modules}
logistic.check_metric = logistic._rows_of = logistic._standardised = MagicMock()
logistic._best_strength = look
logistic.fit_at_once(MagicMock(), None)
"""


@pytest.mark.slow
def test_the_solver_has_one_thread_of_each_library_that_it_loads() -> None:
    done = subprocess.run([sys.executable, "-c", THREADS], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "2 {1}\n", done.stderr
