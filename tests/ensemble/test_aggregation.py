"""The aggregations of the same crops are compared, and one is chosen without flattery."""

import numpy as np
import pandas as pd
import pytest

from earmark.ensemble.aggregation import choose, compared, describe
from earmark.evaluation.predictions import Predictions
from earmark.labels import Task

TAGS = ["cat", "dog"]
N_VALIDATION, N_TEST = 60, 20


def predictions(skill: list[float], *, sharpness: float = 1.0, seed: int = 0) -> Predictions:
    """Three groups of 20 validation clips and 20 test clips, with a group's skill each."""
    rng = np.random.default_rng(seed)
    labels = np.array(TAGS)[np.arange(N_VALIDATION + N_TEST) % 2]
    groups = np.repeat(["0", "1", "2", ""], 20)
    split = np.where(groups == "", "test", "validation")
    clips = pd.DataFrame({"label": labels, "split": split, "cross_fit_group": groups})
    clips["verified"] = True
    margin = np.repeat([*skill, 1.0], 20) + rng.normal(size=len(clips))
    right = 1 / (1 + np.exp(-sharpness * margin))
    is_cat = labels == "cat"
    p = np.where(is_cat, right, 1 - right)
    return Predictions.of("m", Task(TAGS, False, []), clips, np.stack([p, 1 - p], axis=1))


def test_the_better_one_is_taken_for_all_clips():
    good, poor = predictions([2.0] * 3), predictions([0.1] * 3)
    winner, chosen = choose({"mean_of_random_crops": poor, "confident_crop": good})
    assert winner == "confident_crop"
    np.testing.assert_array_equal(chosen.probabilities, good.probabilities)


def test_overconfidence_alone_does_not_lose():
    usual = predictions([1.0] * 3)
    better = predictions([1.3] * 3, sharpness=25.0)
    candidates = {"mean_of_random_crops": usual, "confident_crop": better}
    losses = [-np.log((p.probabilities * p.targets).sum(axis=1)).mean() for p in (usual, better)]
    assert losses[1] > losses[0], "as they are, the sharper ones are punished"
    assert choose(candidates)[0] == "confident_crop"


def test_the_clips_of_a_fold_have_the_choice_of_the_other_folds():
    # the confident crop shines on group 0 alone; without it the mean is the better
    mean, confident = predictions([0.8, 1.5, 1.5]), predictions([6.0, 1.0, 1.0])
    winner, chosen = choose({"mean_of_random_crops": mean, "confident_crop": confident})
    assert winner == "confident_crop"
    by_hand = np.concatenate([mean.probabilities[:20], confident.probabilities[20:]])
    np.testing.assert_array_equal(chosen.probabilities, by_hand)


def test_no_label_of_a_fold_changes_the_predictions_of_its_clips():
    mean, confident = predictions([0.8, 1.5, 1.5]), predictions([1.2, 1.4, 1.4], seed=1)
    before = choose({"mean_of_random_crops": mean, "confident_crop": confident})[1]
    for one in (mean, confident):
        one.targets[:20] = one.targets[:20, ::-1]
    after = choose({"mean_of_random_crops": mean, "confident_crop": confident})[1]
    np.testing.assert_array_equal(after.probabilities[:20], before.probabilities[:20])


def test_a_lone_group_is_not_scored_with_a_choice_that_it_made_itself():
    mean, confident = predictions([0.5] * 3), predictions([3.0] * 3)
    for one in (mean, confident):
        one.clips["cross_fit_group"] = one.clips["cross_fit_group"].where(
            one.clips["split"] == "test", "0"
        )
    winner, chosen = choose({"mean_of_random_crops": mean, "confident_crop": confident})
    assert winner == "confident_crop"
    np.testing.assert_array_equal(chosen.probabilities[:60], mean.probabilities[:60])
    np.testing.assert_array_equal(chosen.probabilities[60:], confident.probabilities[60:])


def test_a_description_shows_overconfidence_and_what_calibration_makes_of_it():
    sharp = describe(predictions([0.5] * 3, sharpness=6.0), n_crops=2.5)
    assert sharp["overconfidence"] > 0.1
    assert sharp["ece"] >= sharp["overconfidence"] - 1e-9
    assert sharp["ece_calibrated"] < sharp["ece"]
    assert sharp["temperature"] > 2
    assert sharp["n_crops"] == 2.5
    usual = describe(predictions([0.5] * 3), n_crops=1)
    assert {key: usual[key] for key in ("accuracy", "map_at_3")} == pytest.approx(
        {key: sharp[key] for key in ("accuracy", "map_at_3")}
    )
    assert usual["log_loss"] == pytest.approx(sharp["log_loss"], rel=1e-4), "after the temperature"


def test_the_log_loss_shown_is_the_one_that_decides():
    """On trusted clips alone, where there are enough: here those that do not fit are unverified."""
    one = predictions([1.0] * 3).take(np.tile(np.arange(N_VALIDATION), 4))
    wrong = np.arange(len(one)) % 3 == 0
    one.clips["verified"] = ~wrong
    one.targets[wrong] = one.targets[wrong, ::-1]
    trusted = one.take(~wrong)
    assert describe(one, n_crops=1)["log_loss"] == describe(trusted, n_crops=1)["log_loss"]


def test_several_tags_per_clip_are_described_and_chosen_likewise():
    def tags(skill: float) -> Predictions:
        one = predictions([skill] * 3)
        targets = np.random.default_rng(1).integers(0, 2, one.targets.shape).astype(float)
        noise = np.random.default_rng(2).normal(size=targets.shape)
        p = 1 / (1 + np.exp(-skill * (targets - 0.5) - noise))
        return Predictions("m", Task(TAGS, True, []), one.clips, targets, p)

    poor, good = tags(0.5), tags(4.0)
    assert choose({"mean_of_random_crops": poor, "confident_crop": good})[0] == "confident_crop"
    described = describe(good, n_crops=1)
    assert described["mean_average_precision"] > describe(poor, n_crops=1)["mean_average_precision"]
    assert described["log_loss"] < describe(poor, n_crops=1)["log_loss"]


def test_what_is_compared_are_the_rules_of_the_crops_that_are_there():
    assert compared("mean") == {"mean": "cover", "confident_crop": "cover"}
    of_random = {"mean_of_random_crops": "random", "confident_crop": "random"}
    assert compared("confident_crop") == compared("mean_of_random_crops") == of_random
    assert compared("best_out_of_fold") == {"mean": "cover", **of_random}
