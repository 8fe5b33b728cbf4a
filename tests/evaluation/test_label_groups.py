"""Tags that count as one when scored."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.errors import UserError
from earmark.evaluation.label_groups import LabelGroups

TAGS = ["bed", "bird", "go", "no", "silence"]
UNKNOWN = {"unknown": ["bed", "bird"]}


def test_grouped_tags_have_the_maximum_of_their_probabilities_and_targets():
    groups = LabelGroups.of(TAGS, UNKNOWN)
    assert groups.tags == ["go", "no", "silence", "unknown"]
    probabilities = np.array([[0.2, 0.25, 0.3, 0.15, 0.1], [0.4, 0.2, 0.3, 0.1, 0.0]])
    np.testing.assert_allclose(groups(probabilities), [[0.3, 0.15, 0.1, 0.25], [0.3, 0.1, 0, 0.4]])
    targets = np.eye(5, dtype=np.float32)
    assert groups(targets)[:, 3].tolist() == [1, 1, 0, 0, 0]
    assert groups(targets).dtype == np.float32


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_the_likeliest_grouped_tag_is_that_of_the_likeliest_tag(seed: int):
    groups = LabelGroups.of(TAGS, UNKNOWN | {"quiet": ["silence"]})
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(5), 20)
    expected = groups.group_of[probabilities.argmax(axis=1)]
    assert np.array_equal(groups(probabilities).argmax(axis=1), expected)


def test_no_groups_leave_everything_as_it_is():
    groups = LabelGroups.of(TAGS, {})
    probabilities = np.random.default_rng(0).random((3, 5))
    assert groups.tags == TAGS
    assert np.array_equal(groups(probabilities), probabilities)


def test_a_group_may_keep_the_name_of_one_of_its_tags():
    assert LabelGroups.of(TAGS, {"bird": ["bird", "bed"]}).tags == ["bird", "go", "no", "silence"]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"unknown": ["bed", "cat"]}, r"label_groups\.unknown: cat is no tag of the corpus"),
        ({"a": ["bed"], "b": ["go", "bed"]}, r"label_groups\.b: bed is in a already"),
        ({"a": ["bed", "bed"]}, r"label_groups\.a: bed is in a already"),
        ({"a": []}, r"label_groups\.a: names no tag"),
        ({"go": ["bed", "bird"]}, r"label_groups\.go: go is a tag itself; list it"),
    ],
)
def test_groups_that_make_no_sense_are_refused_by_their_key(groups, message):
    with pytest.raises(UserError, match=rf"params\.yaml: evaluate\.{message}"):
        LabelGroups.of(TAGS, groups)
