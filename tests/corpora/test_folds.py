"""Folds: balanced, no source in two of them, and errors that say the fix."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from earmark.corpora.folds import assign_folds
from tests.corpora.clip_tables import clips_of, splits_of


@st.composite
def clips_without_sources(draw) -> tuple[pd.DataFrame, int]:
    k = draw(st.integers(2, 5))
    sizes = draw(st.lists(st.integers(k, 12), min_size=1, max_size=5))
    labels = np.repeat([f"tag{i}" for i in range(len(sizes))], sizes)
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    return clips_of(rng.permutation(labels), verified=rng.random(len(labels)) < 0.4), k


@st.composite
def clips_with_sources(draw) -> tuple[pd.DataFrame, int]:
    clips, k = draw(clips_without_sources())
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    source = rng.choice(np.array(["", "a", "b", "c", "d", None]), len(clips))  # across labels, too
    source[0] = "a"
    return clips.assign(source=pd.Series(source, dtype="str")), k


def largest_difference(folds: pd.Series, by: pd.Series) -> int:
    """Between two folds, in the number of their clips of one class."""
    counts = pd.crosstab(folds, by)
    return int((counts.max() - counts.min()).max())


@settings(max_examples=40, deadline=None)
@given(clips_without_sources(), st.integers(0, 99))
def test_tags_and_verified_clips_and_sizes_are_even_to_within_one(case, seed):
    clips, k = case
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folds = assign_folds(clips, scheme="stratified", k=k, seed=seed)
    assert set(folds) == set(range(k))
    assert largest_difference(folds, clips["label"]) <= 1
    cells = clips["label"] + clips["verified"].astype(str)
    table = pd.crosstab(folds, cells).reindex(range(k), fill_value=0)
    assert (table.max() - table.min()).max() <= 1
    assert np.ptp(np.bincount(folds, minlength=k)) <= 1


@settings(max_examples=40, deadline=None)
@given(clips_with_sources(), st.integers(0, 99), st.sampled_from(["stratified", "grouped"]))
def test_no_known_source_crosses_a_fold(case, seed, scheme):
    clips, k = case
    folds = assign_folds(clips, scheme=scheme, k=k, seed=seed)
    known = clips["source"].notna() & (clips["source"] != "")
    assert (folds[known].groupby(clips["source"][known]).nunique() == 1).all()
    assert folds.between(0, k - 1).all()


@settings(max_examples=20, deadline=None)
@given(clips_with_sources(), st.integers(0, 99))
def test_the_order_of_the_rows_does_not_matter(case, seed):
    clips, k = case
    folds = assign_folds(clips, scheme="stratified", k=k, seed=seed)
    shuffled = clips.sample(frac=1, random_state=seed)
    again = assign_folds(shuffled, scheme="stratified", k=k, seed=seed)
    assert list(again.index) == list(shuffled.index)
    pd.testing.assert_series_equal(folds, again.loc[clips.index])


def test_sources_are_balanced_as_well_as_scikit_learn_does():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 9, 120)
    source = np.repeat([f"s{i}" for i in range(120)], sizes)
    labels = np.repeat(rng.choice(["a", "b", "c"], 120, p=[0.6, 0.3, 0.1]), sizes)
    clips = clips_of(labels, source=source)
    theirs = pd.Series(0, index=clips.index)
    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    for fold, (_, validation) in enumerate(splitter.split(clips, labels, source)):
        theirs.iloc[validation] = fold
    ours = assign_folds(clips, scheme="grouped", k=5, seed=0)
    assert largest_difference(ours, clips["label"]) <= largest_difference(theirs, clips["label"])


def test_sources_of_verified_clips_are_spread_too():
    source = np.repeat(["s1", "s2", "s3", "s4"], [3, 3, 2, 2])
    clips = clips_of(["a"] * 10, source=source, verified=np.isin(source, ["s1", "s3"]))
    folds = assign_folds(clips, scheme="grouped", k=2, seed=0)
    assert largest_difference(folds, clips["verified"]) == 1
    assert np.bincount(folds).tolist() == [5, 5]


def test_a_source_of_two_tags_goes_where_its_rarer_tag_is_missing():
    clips = clips_of(
        ["common"] * 10 + ["rare"] * 4 + ["common"] * 2 + ["rare"] + ["common"] * 100,
        source=["s1"] * 10 + ["s2"] * 4 + ["s3"] * 3 + [""] * 100,
    )
    folds = assign_folds(clips, scheme="stratified", k=2, seed=0)
    assert pd.crosstab(folds, clips["label"]).to_dict() == {
        "common": {0: 56, 1: 56},
        "rare": {0: 1, 1: 4},
    }


def test_the_seed_decides_the_folds():
    clips = clips_of(["a", "b"] * 30)
    one, same, other = (assign_folds(clips, scheme="stratified", k=3, seed=s) for s in (1, 1, 2))
    assert one.equals(same)
    assert not one.equals(other)


def test_folds_and_splits_are_indexed_as_the_clips():
    clips = clips_of(["a", "b"] * 6).set_axis(range(100, 112), axis=0)
    folds = assign_folds(clips, scheme="stratified", k=3, seed=0)
    assert list(folds.index) == list(clips.index)
    assert list(splits_of(clips).index) == list(clips.index)


def test_official_folds_keep_their_numbers():
    clips = clips_of(["a", "b"] * 6, fold=[5, 5, 1, 1, 3, 3] * 2)
    folds = assign_folds(clips, scheme="official", k=3, seed=0)
    assert folds.tolist() == [5, 5, 1, 1, 3, 3] * 2


def test_official_folds_that_do_not_fit_are_refused():
    clips = clips_of(["a", "b"] * 3, fold=[1, 1, 2, 2, None, 2])
    with pytest.raises(ValueError, match=r"1 clips have no official fold \(00004.wav"):
        assign_folds(clips, scheme="official", k=2, seed=0)
    with pytest.raises(ValueError, match=r"has 2 official folds, not 5; set cv\.k"):
        assign_folds(clips.dropna(subset="fold"), scheme="official", k=5, seed=0)
    with pytest.raises(ValueError, match="has no column fold"):
        assign_folds(clips.drop(columns="fold"), scheme="official", k=2, seed=0)


def test_a_small_class_is_named_with_its_count_and_the_fix():
    clips = clips_of(["a"] * 9 + ["b"] * 2)
    with pytest.raises(ValueError, match=r"3 clips for 3 folds, but b has 2; .* lower cv\.k"):
        assign_folds(clips, scheme="stratified", k=3, seed=0)


def test_grouped_needs_sources():
    with pytest.raises(ValueError, match="no clip names its source; use stratified"):
        assign_folds(clips_of(["a", "b"] * 4), scheme="grouped", k=2, seed=0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: c.drop(columns="source"), r"lacks the columns \['source'\]"),
        (lambda c: c.iloc[:0], "is empty"),
        (lambda c: c.assign(clip="x.wav"), "clip x.wav is in the clips table twice; delete one"),
        (lambda c: c.assign(label=None), "clip 00000.wav and 7 more have no label; fill it in"),
        (lambda c: c.assign(verified="yes"), "column verified must be bool"),
        (lambda c: c.set_axis([0] * len(c), axis=0), "index of the clips table must be unique"),
    ],
)
def test_a_table_that_cannot_be_dealt_into_folds_is_refused(spoil, message):
    with pytest.raises(ValueError, match=message):
        assign_folds(spoil(clips_of(["a", "b"] * 4)), scheme="stratified", k=2, seed=0)


def test_unknown_schemes_and_a_single_fold_are_refused():
    clips = clips_of(["a", "b"] * 4)
    with pytest.raises(ValueError, match="must be stratified, grouped or official, got 'random'"):
        assign_folds(clips, scheme="random", k=2, seed=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"cv\.k must be at least 2, got 1"):
        assign_folds(clips, scheme="stratified", k=1, seed=0)


@st.composite
def clips_of_several_tags(draw) -> tuple[pd.DataFrame, int]:
    """Clips of one to three of up to six tags, each tag in at least k of them."""
    k = draw(st.integers(2, 4))
    names = [f"tag{i}" for i in range(draw(st.integers(2, 6)))]
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    labels = [name for name in names for _ in range(k)]
    for _ in range(draw(st.integers(10, 60))):
        some = rng.choice(names, rng.integers(1, min(3, len(names)) + 1), replace=False)
        labels.append(";".join(sorted(some)))
    return clips_of(rng.permutation(labels), verified=rng.random(len(labels)) < 0.4), k


@settings(max_examples=40, deadline=None)
@given(clips_of_several_tags(), st.integers(0, 99))
def test_each_of_several_tags_is_spread_about_evenly(case, seed):
    clips, k = case
    folds = assign_folds(clips, scheme="stratified", k=k, seed=seed)
    tags = clips["label"].str.split(";").explode()
    assert (
        largest_difference(folds[tags.index].reset_index(drop=True), tags.reset_index(drop=True))
        <= 2
    )
    for name in tags.unique():  # no fold lacks a tag that could be in all of them
        assert folds[tags.index[tags == name]].nunique() == k


def test_a_label_of_several_tags_is_no_class_of_its_own():
    clips = clips_of(["a;b", "a", "b", "a", "b", "a;c", "c", "a"])
    assert assign_folds(clips, scheme="stratified", k=2, seed=0).nunique() == 2
    with pytest.raises(ValueError, match="3 clips for 3 folds, but c has 2"):
        assign_folds(clips, scheme="stratified", k=3, seed=0)


def test_sources_of_clips_with_several_tags_stay_in_one_fold():
    source = np.repeat([f"s{i}" for i in range(12)], 3)
    clips = clips_of(["a;b", "b", "a"] * 12, source=source)
    folds = assign_folds(clips, scheme="grouped", k=3, seed=0)
    assert (folds.groupby(source).nunique() == 1).all()
    assert np.bincount(folds).tolist() == [12, 12, 12]


def test_folds_of_a_small_table_stay_what_they_are():
    """Other folds would make trained models worthless, so a change of them must be meant."""
    labels = ["a", "b", "c", "a", "b", "a", "a", "c", "b", "c", "a", "b"]
    clips = clips_of(labels, source=["s", "", "", "s", "t", "", "", "t", "", "", "", ""])
    folds = assign_folds(clips, scheme="stratified", k=3, seed=7)
    assert "".join(map(str, folds)) == "002012212010"
