"""From crops to clips: the most confident crop, and the mean."""

import numpy as np
import pytest

from earmark.ensemble.crops import aggregate_clip, mean_over_crops
from tests.ensemble.probabilities import random_probabilities


def confident_crop(crops):
    return aggregate_clip(crops, aggregation="confident_crop", confidence=0.7)


def test_the_first_confident_crop_is_taken():
    probabilities, n_crops = confident_crop(np.array([[0.6, 0.4], [0.25, 0.75], [0.05, 0.95]]))
    assert probabilities.tolist() == [0.25, 0.75]
    assert n_crops == 2


def test_without_a_confident_crop_the_first_of_the_most_confident_is_taken():
    crops = np.array([[0.55, 0.45], [0.35, 0.65], [0.65, 0.35], [0.6, 0.4]])
    probabilities, n_crops = confident_crop(crops)
    assert probabilities.tolist() == [0.35, 0.65]
    assert n_crops == 4


def test_a_crop_at_the_threshold_is_confident():
    assert confident_crop(np.array([[0.7, 0.3], [1.0, 0.0]])).n_crops == 1


def test_no_crop_is_computed_after_a_confident_one():
    computed = []

    def crops():
        for top in (0.6, 0.8, 0.9):
            computed.append(top)
            yield np.array([top, 1 - top])

    assert confident_crop(crops()).n_crops == 2
    assert computed == [0.6, 0.8]


@pytest.mark.parametrize("aggregation", ["mean", "mean_of_random_crops"])
def test_a_mean_is_over_all_crops_in_double_precision(aggregation):
    crops = random_probabilities(np.random.default_rng(0), 7).astype(np.float32)
    probabilities, n_crops = aggregate_clip(iter(crops), aggregation=aggregation, confidence=0.7)
    assert (probabilities.dtype, n_crops) == (np.float64, 7)
    np.testing.assert_allclose(probabilities, crops.astype(np.float64).mean(axis=0))


def test_a_mean_over_crops_is_summed_in_the_precision_of_the_crops():
    crops = np.array([[1.0, 0.0], [1e-9, 1.0], [0.5, 0.5]])
    clip_starts = np.array([0, 2])
    double = mean_over_crops(crops, clip_starts)
    single = mean_over_crops(crops.astype(np.float32), clip_starts)
    assert double.tolist() == [[(1 + 1e-9) / 2, 0.5], [0.5, 0.5]]
    assert single.tolist() == [[0.5, 0.5], [0.5, 0.5]]


@pytest.mark.parametrize(
    ("starts", "message"),
    [
        ([1, 2], "must begin with 0"),
        ([], "must begin with 0"),
        ([0, 2, 2], "clip 1 has no crop"),
        ([0, 5], "clip 1 has no crop: clip_starts must rise below 5"),
    ],
)
def test_clips_without_crops_are_refused(starts, message):
    clip_starts = np.array(starts, dtype=int)
    with pytest.raises(ValueError, match=message):
        mean_over_crops(np.ones((5, 2)), clip_starts)


def test_a_clip_without_a_crop_is_refused():
    with pytest.raises(ValueError, match="at least one crop"):
        confident_crop([])


def test_an_unknown_aggregation_lists_the_valid_ones():
    with pytest.raises(
        ValueError, match="one of confident_crop, mean, mean_of_random_crops, got 'max'"
    ):
        aggregate_clip(np.ones((5, 2)), aggregation="max", confidence=0.7)
