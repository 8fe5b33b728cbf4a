"""The training loop, its schedules, batches and checkpoints."""

import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from earmark.errors import UserError
from earmark.features.segments import Crop
from earmark.labels import Task
from earmark.params import Recipe
from earmark.params.reading import read_yaml
from earmark.seeding import rng_for
from earmark.store import Store, StoreWriter
from earmark.taggers.device import Device
from earmark.taggers.input import Input
from earmark.taggers.tagger import Tagger
from earmark.training.batches import Examples, Sampler, standardisation
from earmark.training.checkpoints import work_folder
from earmark.training.loop import Fitted, Job, _validation_scores, fit, validate
from earmark.training.losses import soft_cross_entropy
from earmark.training.schedules import Plateau, learning_rate, triangular
from tests.source_graph import ROOT

TAGS = ["Bark", "Cough", "Flute"]
TASK = Task(TAGS, is_multi_label=False, aux_labels=[])
OPTIONS = {"growth": 4, "stem_channels": 4, "units": 1, "n_blocks": 2}
SHARED = read_yaml(ROOT / "profiles" / "base.yaml")["model"]
RECIPE = Recipe.model_validate(
    {
        **SHARED,
        "batch_size": 4,
        "epochs": 3,
        "patience": 3,
        "max_lr": 4e-3,
        "plateau_patience": 2,
        "validation_crops": 2,
        "checkpoint_seconds": 0.0,
    }
)


def recipe_with(**changes: Any) -> Recipe:
    return Recipe.model_validate({**RECIPE.model_dump(), **changes})


CPU = Device(name="cpu", precision="float32", channels_last=True)


class Silent:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.epochs: list[int] = []

    def log_epoch(self, epoch: int, values: dict[str, float]) -> None:
        assert values["epoch"] == epoch
        self.epochs.append(epoch)


def pulses(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every fourth frame louder."""
    return np.where(np.arange(len(rows)) % 4 == 0, 4.0, 0.0)[:, None] * np.ones(rows.shape[1])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Log-mel of 18 clips of 10 to 45 frames, one variant each: noise, pulses, or partials."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "features"
    with StoreWriter(folder, row_shape=(20,), dtype="float16", metadata={"silence": [-9.0]}) as out:
        for i in range(18):
            for variant in ("", "pitch"):
                rows = rng.normal(size=(int(rng.integers(10, 45)), 20))
                rows += [0, pulses(rows), pulses(rows.T).T][i % 3]
                out.append(rows.astype(np.float16), clip=f"c{i}", split="train", variant=variant)
    return Store.open(folder, in_memory=True)


def table(first: int, last: int) -> pd.DataFrame:
    return pd.DataFrame(
        {"clip": [f"c{i}" for i in range(first, last)],
         "label": [TAGS[i % 3] for i in range(first, last)],
         "verified": [i % 2 == 0 for i in range(first, last)]}
    )  # fmt: skip


def make_job(store: Store, **changes: Any) -> Job:
    train = Examples.select(store, table(0, 12), TASK)
    mean, std = standardisation(train, per="array")
    input_ = Input(
        kind="logmel", options={}, sample_rate=44_100, lengths=[32], aggregation="confident_crop", padding="right",
        silence=[-9.0], mean=mean, std=std,
    )  # fmt: skip
    torch.manual_seed(0)
    recipe = changes.pop("recipe", RECIPE)
    job = Job(
        name="tiny-0", seed=1, recipe=recipe, device=CPU,
        tagger=Tagger.new("densenet", OPTIONS, tags=TAGS, input_=input_),
        sampler=Sampler(examples=train, input=input_, recipe=recipe),
        validation=Examples.select(store, table(12, 18), TASK),
    )  # fmt: skip
    return replace(job, **changes)


def sampler_with(sampler: Sampler, **changes: Any) -> Sampler:
    """The same sampler under another recipe."""
    return replace(sampler, recipe=recipe_with(**changes))


def weights(fitted: Fitted) -> dict[str, NDArray[Any]]:
    return {key: value.numpy().copy() for key, value in fitted.tagger.network.state_dict().items()}


def test_the_cycle_climbs_in_half_cycle_updates_and_falls_in_as_many() -> None:
    rates = [triangular(i, base=0.001, peak=0.006, half_cycle=5) for i in range(11)]
    expected = [0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.005, 0.004, 0.003, 0.002, 0.001]
    assert rates == pytest.approx(expected)


def test_the_cycle_is_that_of_pytorch() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.001)
    reference = torch.optim.lr_scheduler.CyclicLR(
        optimizer, 0.001, 0.006, step_size_up=7, cycle_momentum=False
    )
    for update in range(40):
        expected = reference.get_last_lr()[0]
        assert triangular(update, base=0.001, peak=0.006, half_cycle=7) == pytest.approx(expected)
        optimizer.step()
        reference.step()


def test_the_plateau_lowers_the_scale_after_patience_epochs_without_a_better_loss() -> None:
    plateau = Plateau()
    for loss in (1.0, 0.9, 0.95, 0.95):
        plateau.step(loss, factor=0.1, patience=2)
    assert plateau.scale == pytest.approx(0.1)
    plateau.step(0.8, factor=0.1, patience=2)
    assert (plateau.scale, plateau.epochs_without_improvement) == (pytest.approx(0.1), 0)


def test_soft_cross_entropy_of_a_mixture_is_the_mixture_of_cross_entropies() -> None:
    logits = torch.randn(5, 3)
    first, second = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([1, 1, 0, 2, 0])
    eye = torch.eye(3)
    mixed = soft_cross_entropy(logits, 0.3 * eye[first] + 0.7 * eye[second])
    reference = partial(torch.nn.functional.cross_entropy, reduction="none")
    expected = 0.3 * reference(logits, first) + 0.7 * reference(logits, second)
    torch.testing.assert_close(mixed, expected)


def test_a_shuffled_epoch_holds_every_clip_once_in_batches_of_even_size(store: Store) -> None:
    sampler = sampler_with(make_job(store).sampler, batch_size=5)
    order = sampler.order(rng_for(0, "order"))
    assert sorted(np.concatenate(order).tolist()) == list(range(12))
    assert [len(batch) for batch in order] == [6, 6]


def test_balanced_batches_draw_every_class_equally_whatever_its_size(store: Store) -> None:
    clips = pd.concat([table(0, 12), table(12, 18).iloc[[0, 3]]])  # one more of Bark and of Bark
    examples = Examples.select(store, clips, TASK)
    sampler = replace(make_job(store).sampler, examples=examples)
    sampler = sampler_with(sampler, sampler="class_balanced", batch_size=6)
    drawn = np.concatenate(sampler.order(rng_for(0, "order")))
    labels = examples.targets[drawn].argmax(axis=1)
    counts = np.bincount(labels)
    assert counts.max() - counts.min() == 0
    bark = drawn[labels == 0]
    assert len(set(bark.tolist())) == len(bark), "no clip twice before its class is used up"


def test_a_batch_holds_variants_of_training_clips_and_pads_with_silence(store: Store) -> None:
    sampler = sampler_with(make_job(store).sampler, augmented_share=1.0)
    batch = sampler.gather(np.arange(12), rng_for(0, "batch"))
    assert batch.segments.shape == (12, 32, 20)
    for position, segment in enumerate(batch.segments):
        variant = store.rows(sampler.examples.lines[position][1])
        n_rows = min(len(variant), 32)
        assert any(
            (variant[start : start + n_rows] == segment[:n_rows]).all()
            for start in range(len(variant) - n_rows + 1)
        )
        assert (segment[n_rows:] == -9).all()


def test_all_rows_of_a_clip_are_trained_on_up_to_the_limit(store: Store) -> None:
    sampler = sampler_with(make_job(store).sampler, augmented_share=0.0)
    one_row = replace(sampler.input, lengths=[1])
    sampler = replace(sampler, all_rows=True, max_rows=15, input=one_row)
    batch = sampler.gather(np.arange(12), rng_for(0, "batch"))
    lengths = [len(sampler.examples.original(i)) for i in range(12)]
    assert len(batch.segments) == sum(min(length, 15) for length in lengths)


def test_standardised_training_clips_have_mean_0_and_deviation_1(store: Store) -> None:
    examples = Examples.select(store, table(0, 12), TASK)
    rows = np.concatenate([examples.original(i) for i in range(12)]).astype(np.float64)
    mean, std = standardisation(examples, per="array")
    assert (mean[0], std[0]) == pytest.approx((rows.mean(), rows.std()))
    means, stds = standardisation(examples, per="column")
    np.testing.assert_allclose(means, rows.mean(axis=0))
    np.testing.assert_allclose(stds, rows.std(axis=0))


def test_training_learns_and_keeps_the_best_epoch(store: Store, tmp_path: Path) -> None:
    recipe = recipe_with(epochs=40, patience=40, mixup_alpha=0.0, max_lr=0.02)
    fitted = fit(make_job(store, recipe=recipe), tmp_path / "checkpoint", Silent())
    values = [row["map_at_3"] for row in fitted.history]
    assert fitted.best["map_at_3"] == max(values) > 0.75
    assert fitted.best["epoch"] == values.index(max(values))
    labels = make_job(store).validation.targets.argmax(axis=1)
    again = (fitted.validation_probabilities.argmax(axis=1) == labels).mean()
    assert again == pytest.approx(fitted.best["accuracy"])


def test_training_stops_after_patience_epochs_without_a_better_one(
    store: Store, tmp_path: Path
) -> None:
    rates = {"base_lr": 1e-9, "max_lr": 1e-9}
    recipe = recipe_with(epochs=50, patience=2, **rates)
    fitted = fit(make_job(store, recipe=recipe), tmp_path / "checkpoint", Silent())
    assert len(fitted.history) < 50
    assert len(fitted.history) == fitted.best["epoch"] + 1 + 2


class Killed(Exception):  # noqa: N818 -- what happened
    pass


STAGED = {"optimizer": "sgd", "schedule": "multistep", "multistep_stages": 9, "plateau_patience": 1}


@pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.9}, STAGED], ids=["adam", "ema", "sgd"])
@pytest.mark.parametrize("stop_at", [2, 5, 7])
def test_a_training_killed_at_any_step_ends_in_the_same_weights(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop_at: int,
    changes: dict[str, Any],
) -> None:
    recipe = recipe_with(**changes)
    undisturbed = fit(make_job(store, recipe=recipe), tmp_path / "undisturbed", Silent())
    expected = weights(undisturbed)
    calls = 0
    gather = Sampler.gather

    def dying(self: Sampler, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == stop_at:
            raise Killed
        return gather(self, *args)

    monkeypatch.setattr(Sampler, "gather", dying)
    with pytest.raises(Killed):
        fit(make_job(store, recipe=recipe), tmp_path / "killed", Silent())
    watcher = Silent()
    resumed = fit(make_job(store, recipe=recipe), tmp_path / "killed", watcher)
    assert calls == stop_at + 9 - (stop_at - 1), "the rerun did only what was left"
    assert resumed.history == undisturbed.history
    assert watcher.epochs == [0, 1, 2]
    for key, value in weights(resumed).items():
        np.testing.assert_array_equal(value, expected[key], err_msg=key)


def test_a_finished_training_is_not_done_again(store: Store, tmp_path: Path) -> None:
    first = fit(make_job(store), tmp_path / "checkpoint", Silent())
    expected = weights(first)
    again = fit(make_job(store), tmp_path / "checkpoint", Silent())
    for key, value in weights(again).items():
        np.testing.assert_array_equal(value, expected[key])


def test_a_loss_that_is_no_number_ends_with_a_mend(store: Store, tmp_path: Path) -> None:
    rates = {"base_lr": 1e30, "max_lr": 1e30}
    recipe = recipe_with(gradient_clip=1e30, **rates)
    with pytest.raises(UserError, match="lower the learning rate"):
        fit(make_job(store, recipe=recipe), tmp_path / "checkpoint", Silent())


def test_validation_averages_the_segments_of_each_clip(store: Store) -> None:
    job = make_job(store)
    CPU.place(job.tagger.network)
    joint = validate(job.tagger, job.validation, CPU, RECIPE)
    rows = job.validation.original(0)
    starts = sorted({0, max(len(rows) - 32, 0)})
    crops = np.stack([job.tagger.input.cut(rows, Crop(start)) for start in starts])
    expected = job.tagger.probabilities(crops, CPU).mean(axis=0)
    np.testing.assert_allclose(joint[0], expected, rtol=1e-5)
    np.testing.assert_allclose(joint.sum(axis=1), 1.0, rtol=1e-5)


def test_the_rate_of_stages_falls_by_the_factor_and_decays_as_in_keras() -> None:
    recipe = recipe_with(schedule="multistep", base_lr=0.01, max_lr=0.01, lr_decay=1e-3)
    plateau = Plateau(scale=0.2, stage=1, stage_updates=500)
    rate = learning_rate(recipe, plateau, update=9000, n_batches=10)
    assert rate == pytest.approx(0.01 * 0.2 / 1.5)
    constant = recipe_with(schedule="constant", base_lr=0.002)
    assert learning_rate(constant, Plateau(), update=77, n_batches=10) == 0.002


def test_every_stage_starts_from_the_best_weights_and_training_ends_with_the_last(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from earmark.training import loop

    begun = []
    begin_stage = loop.State.begin_stage

    def seen(self: loop.State) -> None:
        begin_stage(self)
        state = self.network.state_dict()
        assert all(torch.equal(state[key], value) for key, value in self.best.items())
        assert not self.optimizer.state
        begun.append(self.progress.epoch)

    monkeypatch.setattr(loop.State, "begin_stage", seen)
    recipe = recipe_with(
        **{**STAGED, "multistep_stages": 2, "epochs": 60, "patience": 60, "base_lr": 1e-9}
    )
    fitted = fit(make_job(store, recipe=recipe), tmp_path / "checkpoint", Silent())
    assert len(begun) == 2
    assert len(fitted.history) == begun[-1] < 60


def test_an_average_of_the_weights_is_what_is_validated_and_kept(
    store: Store, tmp_path: Path
) -> None:
    plain = fit(make_job(store), tmp_path / "plain", Silent())
    averaged = fit(make_job(store, recipe=recipe_with(ema_decay=0.999)), tmp_path / "ema", Silent())
    assert not np.allclose(weights(plain)["head.weight"], weights(averaged)["head.weight"])
    labels = make_job(store).validation.targets.argmax(axis=1)
    again = (averaged.validation_probabilities.argmax(axis=1) == labels).mean()
    assert again == pytest.approx(averaged.best["accuracy"])


def test_frozen_layers_stay_as_they_are_batch_norm_included(store: Store, tmp_path: Path) -> None:
    job = make_job(store)
    before = {k: v.clone() for k, v in job.tagger.network.state_dict().items()}
    fitted = fit(
        replace(job, frozen=("features.0", "features.1")), tmp_path / "checkpoint", Silent()
    )
    after = fitted.tagger.network.state_dict()
    for key, value in before.items():
        is_frozen = key.startswith(("features.0", "features.1"))
        if is_frozen:
            torch.testing.assert_close(after[key], value, rtol=0, atol=0)
    assert any(not torch.equal(after[k], v) for k, v in before.items())
    with pytest.raises(UserError, match="no parameter begins with 'no_such'"):
        fit(replace(make_job(store), frozen=("no_such",)), tmp_path / "other", Silent())


def test_a_backbone_lr_multiplier_of_zero_trains_the_head_alone(
    store: Store, tmp_path: Path
) -> None:
    job = make_job(store, recipe=recipe_with(backbone_lr_multiplier=0.0, l2=0.0))
    head = job.tagger.network.tag_tensors()
    before = {k: v.clone() for k, v in job.tagger.network.named_parameters()}
    fitted = fit(replace(job, head=head), tmp_path / "checkpoint", Silent())
    for key, value in fitted.tagger.network.named_parameters():
        assert torch.equal(value, before[key]) == (key not in head), key


def test_a_monitor_that_does_not_fit_the_task_is_refused(store: Store, tmp_path: Path) -> None:
    job = make_job(store, recipe=recipe_with(monitor="roc_auc"))
    with pytest.raises(UserError, match="roc_auc does not fit a corpus with one tag per clip"):
        fit(job, tmp_path / "checkpoint", Silent())


def several_tags(first: int, last: int) -> pd.DataFrame:
    """Every third clip has two tags."""
    clips = table(first, last)
    both = clips["label"] == "Bark"
    return clips.assign(label=clips["label"].where(~both, "Bark;Cough"))


def test_clips_of_several_tags_are_learned_by_the_same_loop(store: Store, tmp_path: Path) -> None:
    task = Task.of(several_tags(0, 12))
    assert (task.is_multi_label, task.activation, task.tags) == (True, "sigmoid", TAGS)
    job = make_job(
        store,
        recipe=recipe_with(
            monitor="roc_auc",
            plateau_patience=40,
            epochs=40,
            patience=40,
            mixup_alpha=0.0,
            max_lr=0.02,
        ),
    )
    train, validation = (
        Examples.select(store, several_tags(*ends), task) for ends in ((0, 12), (12, 18))
    )
    tagger = Tagger.new(
        "densenet", OPTIONS, tags=TAGS, input_=job.tagger.input, activation="sigmoid"
    )
    sampler = replace(job.sampler, examples=train)
    job = replace(job, tagger=tagger, sampler=sampler, validation=validation)
    fitted = fit(job, tmp_path / "checkpoint", Silent())
    assert fitted.best["roc_auc"] > 0.8
    assert "accuracy" not in fitted.best


def test_a_second_task_has_its_own_soft_max_and_its_own_targets(
    store: Store, tmp_path: Path
) -> None:
    clips = table(0, 18).assign(aux_label=[f"event {i % 6}" for i in range(18)])
    task = Task.of(clips)
    assert task.aux_labels == [f"event {i}" for i in range(6)]
    job = make_job(store)
    train, validation = (Examples.select(store, part, task) for part in (clips[:12], clips[12:]))
    np.testing.assert_allclose(train.targets[:, 3:].argmax(axis=1), np.arange(12) % 6)
    tagger = Tagger.new(
        "densenet", OPTIONS, tags=TAGS, input_=job.tagger.input, aux_labels=task.aux_labels
    )
    sampler = replace(job.sampler, examples=train)
    fitted = fit(
        replace(job, tagger=tagger, sampler=sampler, validation=validation),
        tmp_path / "c",
        Silent(),
    )
    assert fitted.validation_probabilities.shape == (6, 3)
    np.testing.assert_allclose(fitted.validation_probabilities.sum(axis=1), 1, rtol=1e-5)


def test_new_clips_of_the_mix_stage_are_examples_of_their_own(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "f", row_shape=(), dtype="int16") as out:
        for clip, variant, partner in (
            ("a", "", ""), ("b", "", ""), ("a", "tempo", ""), ("a", "same_class", "b"),
            ("b", "pitch_fill", ""), ("stranger", "same_class", "a"),
        ):  # fmt: skip
            place = {"clip": clip, "variant": variant, "partner": partner}
            out.append(np.full(3, len(out._entries), dtype=np.int16), **place)
    clips = pd.DataFrame(
        {
            "clip": ["b", "a"],
            "label": "Bark",
            "aux_label": ["yap", "howl"],
            "verified": [True, False],
        }
    )
    task = Task(["Bark"], is_multi_label=False, aux_labels=["howl", "yap"])
    store = Store.open(tmp_path / "f")
    found = Examples.select(store, clips, task, with_new=True)
    assert found.clips == ["b", "a", "a", "b"]
    assert found.lines == [[1], [0, 2], [3], [4]]
    assert found.targets.tolist() == [[1, 0, 1], [1, 1, 0], [1, 0.5, 0.5], [1, 0, 1]]
    assert found.doubt.tolist() == [0, 1, 1, 0]
    assert Examples.select(store, clips, task).clips == ["b", "a"], "never in validation"


def test_one_at_a_time_works_in_a_folder_and_another_waits_for_it(tmp_path: Path) -> None:
    key = {"name": "densenet-0"}
    seen = []

    def work() -> None:
        with work_folder(tmp_path, key) as folder:
            seen.append((folder / "result").exists())

    with work_folder(tmp_path, key) as folder:
        other = threading.Thread(target=work)
        other.start()
        other.join(timeout=0.2)
        assert other.is_alive()
        (folder / "result").touch()
    other.join(timeout=30)
    assert seen == [True]


def test_other_keys_have_other_folders_and_the_same_key_the_same(tmp_path: Path) -> None:
    with work_folder(tmp_path, {"seed": 1}) as first, work_folder(tmp_path, {"seed": 2}) as second:
        assert first != second
    with work_folder(tmp_path, {"seed": 1}) as again:
        assert again == first


def test_frozen_layers_must_leave_something_to_train(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leaves nothing to train"):
        fit(replace(make_job(store), frozen=("",)), tmp_path / "checkpoint", Silent())


def test_answers_that_are_no_numbers_end_with_a_mend(store: Store) -> None:
    job = make_job(store)
    with torch.no_grad():
        job.tagger.network.head.bias.fill_(float("nan"))
    with pytest.raises(UserError, match="lower the learning rate"):
        _validation_scores(job.tagger, job)
