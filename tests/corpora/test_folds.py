"""Folds and roles: balance, no leak of sources, and errors that say the fix."""

import logging
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from earmark.corpora.folds import assign_folds, facts_of, merged_sources, roles


def clips_of(labels, *, verified=True, source=None, fold=None) -> pd.DataFrame:
    n_clips = len(labels)
    return pd.DataFrame(
        {
            "clip": [f"{i:05d}.wav" for i in range(n_clips)],
            "label": list(labels),
            "verified": np.broadcast_to(verified, n_clips),
            "source": pd.Series([None] * n_clips if source is None else source, dtype="str"),
            "fold": pd.array([None] * n_clips if fold is None else fold, dtype="Int64"),
        }
    )


@st.composite
def singles(draw) -> tuple[pd.DataFrame, int]:
    k = draw(st.integers(2, 5))
    sizes = draw(st.lists(st.integers(k, 12), min_size=1, max_size=5))
    labels = np.repeat([f"tag{i}" for i in range(len(sizes))], sizes)
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    return clips_of(rng.permutation(labels), verified=rng.random(len(labels)) < 0.4), k


@st.composite
def grouped(draw) -> tuple[pd.DataFrame, int]:
    clips, k = draw(singles())
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    source = rng.choice(["", "a", "b", "c", "d", None], len(clips))  # across labels, too
    source[0] = "a"
    return clips.assign(source=pd.Series(source, dtype="str")), k


def spread(folds: pd.Series, by) -> int:
    """The largest difference between two folds in the clips of a class."""
    counts = pd.crosstab(folds, by)
    return int((counts.max() - counts.min()).max())


@settings(max_examples=40, deadline=None)
@given(singles(), st.integers(0, 99))
def test_tags_and_verified_clips_and_sizes_are_even_to_within_one(case, seed):
    clips, k = case
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folds = assign_folds(clips, scheme="stratified", k=k, seed=seed)
    assert set(folds) == set(range(k))
    assert spread(folds, clips["label"]) <= 1
    cells = clips["label"] + clips["verified"].astype(str)
    table = pd.crosstab(folds, cells).reindex(range(k), fill_value=0)
    assert (table.max() - table.min()).max() <= 1
    assert np.ptp(np.bincount(folds, minlength=k)) <= 1


@settings(max_examples=40, deadline=None)
@given(grouped(), st.integers(0, 99), st.sampled_from(["stratified", "grouped"]))
def test_no_known_source_crosses_a_fold(case, seed, scheme):
    clips, k = case
    folds = assign_folds(clips, scheme=scheme, k=k, seed=seed)
    known = clips["source"].notna() & (clips["source"] != "")
    assert (folds[known].groupby(clips["source"][known]).nunique() == 1).all()
    assert folds.between(0, k - 1).all()


@settings(max_examples=20, deadline=None)
@given(grouped(), st.integers(0, 99))
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
    for fold, (_, held_out) in enumerate(splitter.split(clips, labels, source)):
        theirs.iloc[held_out] = fold
    ours = assign_folds(clips, scheme="grouped", k=5, seed=0)
    assert spread(ours, clips["label"]) <= spread(theirs, clips["label"])


def test_sources_of_verified_clips_are_spread_too():
    source = np.repeat(["s1", "s2", "s3", "s4"], [3, 3, 2, 2])
    clips = clips_of(["a"] * 10, source=source, verified=np.isin(source, ["s1", "s3"]))
    folds = assign_folds(clips, scheme="grouped", k=2, seed=0)
    assert spread(folds, clips["verified"]) == 1
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


def test_folds_and_roles_are_indexed_as_the_clips():
    clips = clips_of(["a", "b"] * 6).set_axis(range(100, 112), axis=0)
    folds = assign_folds(clips, scheme="stratified", k=3, seed=0)
    assert list(folds.index) == list(clips.index)
    assert list(roles_of(clips).index) == list(clips.index)


def roles_of(clips, **options) -> pd.DataFrame:
    given = {"scheme": "stratified", "k": 3, "folds": [0, 1, 2], "seed": 0}
    return roles(clips, **given | {"verified_validation_only": False} | options)


def test_every_clip_validates_in_one_fold_and_trains_in_the_others():
    clips = clips_of(["a", "b", "c"] * 5)
    table = roles_of(clips)
    assert list(table) == ["0", "1", "2"]
    assert ((table == "validation").sum(axis=1) == 1).all()
    assert ((table == "train").sum(axis=1) == 2).all()
    folds = assign_folds(clips, scheme="stratified", k=3, seed=0)
    assert (table["1"] == "validation").equals(folds == 1)


def test_only_the_folds_that_are_asked_for_are_given():
    clips = clips_of(["a", "b", "c"] * 5)
    assert roles_of(clips, folds=["2"]).equals(roles_of(clips)[["2"]])
    with pytest.raises(ValueError, match=r"folds must be among \['0', '1', '2'\], got \['3'\]"):
        roles_of(clips, folds=[3])


def test_unverified_clips_train_but_do_not_validate():
    clips = clips_of(["a", "b"] * 12, verified=np.arange(24) % 3 > 0)
    all_clips, verified = roles_of(clips), roles_of(clips, verified_validation_only=True)
    was_held_out = all_clips == "validation"
    is_verified = clips["verified"].to_numpy()[:, np.newaxis]
    assert (verified[was_held_out & is_verified] == "validation").sum().sum() == 16
    assert (verified[was_held_out & ~is_verified] == "").sum().sum() == 8
    assert (verified == "train").equals(all_clips == "train")


def test_a_fold_without_a_verified_clip_says_what_to_set():
    clips = clips_of(["a", "b"] * 6, verified=False)
    with pytest.raises(ValueError, match=r"fold 0 has no clip .* verified_validation_only: false"):
        roles_of(clips, verified_validation_only=True)


def test_equal_recordings_share_a_source_with_all_that_belongs_to_either():
    table = pd.DataFrame(
        {
            "clip": list("abcdefg"),
            "source": ["s1", "s1", "s2", "", "", "", ""],
            "equal_to": ["", "", "a", "", "d", "", "gone"],
        }
    )
    found = merged_sources(table)
    assert found[0] == found[1] == found[2] != ""
    assert found[3] == found[4] not in ("", found[0])
    assert found[5] == found[6] == ""


def test_without_equal_recordings_sources_stay_apart():
    table = pd.DataFrame({"clip": list("abc"), "source": ["s1", "s1", "s2"], "equal_to": ""})
    found = merged_sources(table)
    assert found[0] == found[1] != found[2] != ""


def test_official_folds_are_kept_and_renumbered():
    clips = clips_of(["a", "b"] * 6, fold=[5, 5, 1, 1, 3, 3] * 2)
    folds = assign_folds(clips, scheme="official", k=3, seed=0)
    assert folds.tolist() == [2, 2, 0, 0, 1, 1] * 2


def test_official_folds_that_do_not_fit_are_refused():
    clips = clips_of(["a", "b"] * 3, fold=[1, 1, 2, 2, None, 2])
    with pytest.raises(ValueError, match=r"1 clips have no official fold \(00004.wav"):
        assign_folds(clips, scheme="official", k=2, seed=0)
    with pytest.raises(ValueError, match=r"has 2 official folds, not 5: fix cv\.k"):
        assign_folds(clips.dropna(subset="fold"), scheme="official", k=5, seed=0)
    with pytest.raises(ValueError, match="has no column fold"):
        assign_folds(clips.drop(columns="fold"), scheme="official", k=2, seed=0)


def first_last(clips, **options) -> pd.DataFrame:
    return roles_of(clips, scheme="first_last", folds=["first", "last"], **options)


def test_first_and_last_part_are_xus():
    table = first_last(clips_of(["a", "b", "c"] * 3157 + ["a", "b"]))
    assert len(table) == 9473
    first, last = (table["first"] == "train"), (table["last"] == "train")
    assert (first.sum(), last.sum()) == (8000, 8000)
    assert first[:8000].all()
    assert last[1473:].all()
    assert (table == "validation").sum().tolist() == [1473, 1473]


def test_a_source_across_the_cut_does_not_validate():
    clips = clips_of(["a", "b"] * 5, source=["s", "", "", "", "", "", "", "", "", "s"])
    table = first_last(clips, first_share=0.6)
    assert table["first"].tolist() == ["train"] * 6 + ["validation"] * 3 + [""]
    assert table["last"].tolist() == ["", *["validation"] * 3, *["train"] * 6]


def test_a_table_sorted_by_class_is_refused_by_first_last():
    with pytest.raises(ValueError, match="fold first trains on no clip of c"):
        first_last(clips_of(["a"] * 5 + ["b"] * 5 + ["c"] * 2), first_share=0.8)
    with pytest.raises(ValueError, match="first_share must lie between 0 and 1, got 1"):
        first_last(clips_of(["a"] * 5), first_share=1)


def test_a_small_class_is_named_with_its_count_and_the_mend():
    clips = clips_of(["a"] * 9 + ["b"] * 2)
    with pytest.raises(ValueError, match=r"3 clips for 3 folds, but b has 2: .* lower cv\.k"):
        assign_folds(clips, scheme="stratified", k=3, seed=0)


@pytest.mark.parametrize("verified_validation_only", [False, True])
def test_a_class_of_one_source_cannot_be_held_out(verified_validation_only):
    labels = ["a"] * 9 + ["b"] * 6
    clips = clips_of(labels, source=[""] * 9 + ["s"] * 6, verified=np.array(labels) == "a")
    with pytest.raises(ValueError, match=r"trains on no clip of b.*leave the source empty"):
        roles_of(clips, verified_validation_only=verified_validation_only)


def test_a_class_of_few_sources_is_warned_of(caplog):
    clips = clips_of(["a"] * 9 + ["b"] * 6, source=[""] * 9 + ["s", "t"] * 3)
    with caplog.at_level(logging.WARNING):
        roles_of(clips)
    assert "class b has 2 sources for 3 folds" in caplog.text


def test_grouped_needs_sources():
    with pytest.raises(ValueError, match="no clip names its source; use stratified"):
        assign_folds(clips_of(["a", "b"] * 4), scheme="grouped", k=2, seed=0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: c.drop(columns="source"), r"lacks the columns \['source'\]"),
        (lambda c: c.iloc[:0], "is empty"),
        (lambda c: c.assign(clip="x.wav"), "clip x.wav stands in the clips table twice"),
        (lambda c: c.assign(label=None), "clip 00000.wav has no label"),
        (lambda c: c.assign(verified="yes"), "column verified must be bool"),
        (lambda c: c.set_axis([0] * len(c), axis=0), "index of the clips table must be unique"),
    ],
)
def test_a_table_that_cannot_be_split_is_refused(spoil, message):
    with pytest.raises(ValueError, match=message):
        assign_folds(spoil(clips_of(["a", "b"] * 4)), scheme="stratified", k=2, seed=0)


def test_unknown_schemes_and_a_single_fold_are_refused():
    clips = clips_of(["a", "b"] * 4)
    with pytest.raises(ValueError, match="must be stratified, grouped or official, got 'random'"):
        assign_folds(clips, scheme="random", k=2, seed=0)
    with pytest.raises(ValueError, match=r"cv\.k must be at least 2, got 1"):
        assign_folds(clips, scheme="stratified", k=1, seed=0)


@st.composite
def several_tags(draw) -> tuple[pd.DataFrame, int]:
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
@given(several_tags(), st.integers(0, 99))
def test_each_of_several_tags_is_spread_about_evenly(case, seed):
    clips, k = case
    folds = assign_folds(clips, scheme="stratified", k=k, seed=seed)
    tags = clips["label"].str.split(";").explode()
    assert spread(folds[tags.index].reset_index(drop=True), tags.reset_index(drop=True)) <= 2
    for name in tags.unique():  # no fold lacks a tag that could be in all of them
        assert folds[tags.index[tags == name]].nunique() == k


def test_a_label_of_several_tags_is_no_class_of_its_own():
    clips = clips_of(["a;b", "a", "b", "a", "b", "a;c", "c", "a"])
    assert assign_folds(clips, scheme="stratified", k=2, seed=0).nunique() == 2
    with pytest.raises(ValueError, match="3 clips for 3 folds, but c has 2"):
        assign_folds(clips, scheme="stratified", k=3, seed=0)


def test_sources_of_clips_with_several_tags_never_part():
    source = np.repeat([f"s{i}" for i in range(12)], 3)
    clips = clips_of(["a;b", "b", "a"] * 12, source=source)
    folds = assign_folds(clips, scheme="grouped", k=3, seed=0)
    assert (folds.groupby(source).nunique() == 1).all()
    assert np.bincount(folds).tolist() == [12, 12, 12]


def test_an_official_fold_that_trains_on_no_clip_of_a_tag_is_warned_of(caplog):
    """It may be one that is never run, such as that of a validation set."""
    clips = clips_of(["a;b", "a", "a", "a"], fold=[0, 0, 1, 1])
    roles_of(clips, scheme="official", k=2, folds=[0])
    assert "official fold 0 trains on no clip of b" in caplog.text


def test_folds_of_a_small_table_stay_what_they_are():
    """Other folds would make trained models worthless, so a change of them must be meant."""
    labels = ["a", "b", "c", "a", "b", "a", "a", "c", "b", "c", "a", "b"]
    clips = clips_of(labels, source=["s", "", "", "s", "t", "", "", "t", "", "", "", ""])
    folds = assign_folds(clips, scheme="stratified", k=3, seed=7)
    assert "".join(map(str, folds)) == "002012212010"


def facts(clips, *, equal_to, split="train", scheme="official", k=2, folds=(0, 1)) -> dict:
    clips = clips.assign(equal_to=equal_to, split=split)
    train = clips[clips["split"] == "train"]
    joint = train.assign(source=merged_sources(train))
    return facts_of(clips, roles_of(joint, scheme=scheme, k=k, folds=folds), scheme=scheme)


def test_official_folds_that_part_a_source_are_kept_counted_and_warned_of(caplog):
    clips = clips_of(
        ["a", "b"] * 4, source=["s", "", "t", "", "s", "", "t", ""], fold=[1, 1, 1, 1, 2, 2, 1, 2]
    )
    with caplog.at_level(logging.WARNING):
        found = facts(clips, equal_to="")
    assert found == {
        "scheme": "official",
        "folds_are_official": True,
        "folds": ["0", "1"],
        "train_clips": 8,
        "test_clips": 0,
        "sources_of_several_clips": 2,
        "sources_across_folds": 1,
        "equal_recordings_across_folds": 0,
        "sources_across_train_and_test": 0,
    }
    assert "official folds part 1 sources, such as that of clip 00000.wav" in caplog.text


def test_equal_recordings_across_official_folds_and_across_the_test_are_counted():
    clips = clips_of(
        ["a", "b"] * 4, source=["", "", "u", "", "", "", "", "u"], fold=[1, 1, 2, 2] * 2
    )
    equal = ["", "", "00000.wav", "00001.wav", "00000.wav", "", "00001.wav", ""]
    found = facts(clips, equal_to=equal, split=["train"] * 6 + ["test"] * 2)
    assert found["equal_recordings_across_folds"] == 2  # not 00004.wav, which is in the same fold
    assert found["sources_across_folds"] == 2
    assert found["sources_across_train_and_test"] == 2  # by an equal recording, and by u
    assert (found["train_clips"], found["test_clips"]) == (6, 2)


@pytest.mark.parametrize("scheme", ["stratified", "grouped", "first_last"])
def test_our_own_folds_part_nothing(scheme, caplog):
    source = ["s", "", "t", "", "", "", "t", "", "s", "", "", ""] * 2
    clips = clips_of(["a", "b", "c"] * 8, source=source)
    folds = ["first", "last"] if scheme == "first_last" else [0, 1, 2]
    equal = ["", "00000.wav"] + [""] * 22
    found = facts(clips, scheme=scheme, k=3, folds=folds, equal_to=equal)
    assert found["sources_across_folds"] == found["equal_recordings_across_folds"] == 0
    assert not found["folds_are_official"]
    assert "part" not in caplog.text
