"""The training loop, its schedules, batches and checkpoints."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from earmark.errors import UserError
from earmark.inference import Device, Input, Tagger
from earmark.params import Recipe
from earmark.seeding import rng_for
from earmark.store import Store, StoreWriter
from earmark.training.batches import Examples, Sampler, standardisation
from earmark.training.checkpoints import work_folder
from earmark.training.loop import Fitted, Job, fit, validate
from earmark.training.losses import mixup, soft_cross_entropy
from earmark.training.schedules import Plateau, triangular

TAGS = ["Bark", "Cough", "Flute"]
RECIPE = Recipe(
    mixup_alpha=0.2,
    batch_size=4,
    epochs=3,
    patience=3,
    monitor="map_at_3",
    base_learning_rate=1e-3,
    max_learning_rate=4e-3,
    half_cycle_epochs=1.0,
    plateau_factor=0.1,
    plateau_patience=2,
    l2=1e-4,
    gradient_clip=5.0,
    augmented_share=0.5,
    validation_crops=2,
    checkpoint_seconds=0.0,
)
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
    with StoreWriter(folder, row_shape=(20,), dtype="float16", about={"silence": [-9.0]}) as out:
        for i in range(18):
            for variant in ("", "pitch"):
                rows = rng.normal(size=(int(rng.integers(10, 45)), 20))
                rows += [0, pulses(rows), pulses(rows.T).T][i % 3]
                out.append(rows.astype(np.float16), clip=f"c{i}", split="train", variant=variant)
    return Store.open(folder, in_memory=True)


def table(first: int, last: int) -> pd.DataFrame:
    return pd.DataFrame(
        {"clip": [f"c{i}" for i in range(first, last)],
         "label": [TAGS[i % 3] for i in range(first, last)]}
    )  # fmt: skip


def make_job(store: Store, **changes: Any) -> Job:
    train = Examples.select(store, table(0, 12), TAGS)
    mean, std = standardisation(train, per="array")
    input_ = Input(
        kind="logmel", options={}, sample_rate=44_100, segment_rows=32, rule="recrop",
        silence=[-9.0], mean=mean, std=std,
    )  # fmt: skip
    torch.manual_seed(0)
    options = {"growth": 4, "stem_channels": 4, "units": 1, "n_blocks": 2}
    sampler = Sampler(
        examples=train, input=input_, batch_size=4, balanced=False, augmented_share=0.5
    )
    job = Job(
        name="tiny-0", seed=1, recipe=RECIPE, tagger=Tagger.new("densenet", options, TAGS, input_),
        sampler=sampler, validation=Examples.select(store, table(12, 18), TAGS), device=CPU,
    )  # fmt: skip
    return replace(job, **changes)


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
    assert (plateau.scale, plateau.bad_epochs) == (pytest.approx(0.1), 0)


def test_soft_cross_entropy_of_a_mixture_is_the_mixture_of_cross_entropies() -> None:
    logits = torch.randn(5, 3)
    first, second = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([1, 1, 0, 2, 0])
    eye = torch.eye(3)
    mixed = soft_cross_entropy(logits, 0.3 * eye[first] + 0.7 * eye[second])
    reference = torch.nn.functional.cross_entropy
    expected = 0.3 * reference(logits, first) + 0.7 * reference(logits, second)
    torch.testing.assert_close(mixed, expected)


def test_mixup_blends_inputs_and_targets_with_one_share_and_one_partner() -> None:
    x, targets = torch.eye(6), torch.eye(6)
    mixed, mixed_targets = mixup(x, targets, alpha=0.4, rng=rng_for(3, "mixup"))
    torch.testing.assert_close(mixed, mixed_targets)
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(6))
    shares = {round(float(value), 5) for row in mixed for value in row if 0 < value < 1}
    assert len(shares) == 2
    assert sum(shares) == pytest.approx(1.0, abs=1e-4)


def test_mixup_with_alpha_zero_changes_nothing() -> None:
    x = torch.randn(4, 2)
    assert mixup(x, x, alpha=0.0, rng=rng_for(0))[0] is x


def test_a_shuffled_epoch_holds_every_clip_once_in_batches_of_even_size(store: Store) -> None:
    sampler = replace(make_job(store).sampler, batch_size=5)
    order = sampler.order(rng_for(0, "order"))
    assert sorted(np.concatenate(order).tolist()) == list(range(12))
    assert [len(batch) for batch in order] == [6, 6]


def test_balanced_batches_draw_every_class_equally_whatever_its_size(store: Store) -> None:
    clips = pd.concat([table(0, 12), table(12, 18).iloc[[0, 3]]])  # one more of Bark and of Bark
    examples = Examples.select(store, clips, TAGS)
    sampler = replace(make_job(store).sampler, examples=examples, balanced=True, batch_size=6)
    drawn = np.concatenate(sampler.order(rng_for(0, "order")))
    counts = np.bincount(examples.labels[drawn])
    assert counts.max() - counts.min() == 0
    bark = drawn[examples.labels[drawn] == 0]
    assert len(set(bark.tolist())) == len(bark), "no clip twice before its class is used up"


def test_a_batch_holds_variants_of_training_clips_and_pads_with_silence(store: Store) -> None:
    sampler = replace(make_job(store).sampler, augmented_share=1.0)
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
    sampler = make_job(store).sampler
    sampler = replace(
        sampler, all_rows=True, max_rows=15, augmented_share=0.0,
        input=replace(sampler.input, segment_rows=1),
    )  # fmt: skip
    batch = sampler.gather(np.arange(12), rng_for(0, "batch"))
    lengths = [len(sampler.examples.original(i)) for i in range(12)]
    assert len(batch.segments) == sum(min(length, 15) for length in lengths)


def test_standardised_training_clips_have_mean_0_and_deviation_1(store: Store) -> None:
    examples = Examples.select(store, table(0, 12), TAGS)
    rows = np.concatenate([examples.original(i) for i in range(12)]).astype(np.float64)
    mean, std = standardisation(examples, per="array")
    assert (mean[0], std[0]) == pytest.approx((rows.mean(), rows.std()))
    means, stds = standardisation(examples, per="column")
    np.testing.assert_allclose(means, rows.mean(axis=0))
    np.testing.assert_allclose(stds, rows.std(axis=0))


def test_training_learns_and_keeps_the_best_epoch(store: Store, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(
        update={"epochs": 40, "patience": 40, "mixup_alpha": 0.0, "max_learning_rate": 0.02}
    )
    fitted = fit(make_job(store, recipe=recipe), tmp_path / "checkpoint", Silent())
    values = [row["map_at_3"] for row in fitted.history]
    assert fitted.best["map_at_3"] == max(values) > 0.75
    assert fitted.best["epoch"] == values.index(max(values))
    labels = make_job(store).validation.labels
    again = (fitted.validation_probabilities.argmax(axis=1) == labels).mean()
    assert again == pytest.approx(fitted.best["accuracy"])


def test_training_stops_after_patience_epochs_without_a_better_one(
    store: Store, tmp_path: Path
) -> None:
    recipe = RECIPE.model_copy(
        update={"epochs": 50, "patience": 2, "base_learning_rate": 1e-9, "max_learning_rate": 1e-9}
    )
    fitted = fit(make_job(store, recipe=recipe), tmp_path / "checkpoint", Silent())
    assert len(fitted.history) < 50
    assert len(fitted.history) == fitted.best["epoch"] + 1 + 2


class Killed(Exception):  # noqa: N818 -- what happened
    pass


@pytest.mark.parametrize("stop_at", [2, 5, 7])
def test_a_training_killed_at_any_step_ends_in_the_same_weights(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    undisturbed = fit(make_job(store), tmp_path / "undisturbed", Silent())
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
        fit(make_job(store), tmp_path / "killed", Silent())
    watcher = Silent()
    resumed = fit(make_job(store), tmp_path / "killed", watcher)
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
    recipe = RECIPE.model_copy(
        update={"base_learning_rate": 1e30, "max_learning_rate": 1e30, "gradient_clip": 1e30}
    )
    with pytest.raises(UserError, match="lower max_learning_rate"):
        fit(make_job(store, recipe=recipe), tmp_path / "checkpoint", Silent())


def test_validation_averages_the_segments_of_each_clip(store: Store) -> None:
    job = make_job(store)
    CPU.place(job.tagger.network)
    joint = validate(job.tagger, job.validation, CPU, RECIPE)
    rows = job.validation.original(0)
    starts = sorted({0, max(len(rows) - 32, 0)})
    crops = np.stack([job.tagger.input.cut(rows, start) for start in starts])
    expected = job.tagger.probabilities(crops, CPU).mean(axis=0)
    np.testing.assert_allclose(joint[0], expected, rtol=1e-5)
    np.testing.assert_allclose(joint.sum(axis=1), 1.0, rtol=1e-5)


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
