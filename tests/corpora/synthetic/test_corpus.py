"""The demo corpus has the layout, the shares and the flaws it promises, the same every time."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from earmark.corpora.synthetic import corpus as demo
from earmark.corpora.synthetic.corpus import plan_clips, render_clip, write_corpus
from earmark.corpora.synthetic.options import N_SOUNDS, DemoOptions
from earmark.corpora.synthetic.sounds import SOUNDS

USUAL = DemoOptions(
    n_tags=16,
    n_train=360,
    n_test=120,
    verified_share=0.4,
    wrong_share=0.33,
    mean_seconds=3.5,
    max_seconds=15.0,
    background_snr_db=(20.0, 50.0),
)
TINY = dataclasses.replace(USUAL, n_tags=4, n_train=12, n_test=6, mean_seconds=0.8, max_seconds=1.5)


@pytest.fixture(scope="module")
def usual() -> pd.DataFrame:
    return plan_clips(USUAL, seed=7)


@pytest.fixture(scope="module")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "corpus"
    assert write_corpus(folder, TINY, seed=7, workers=1) == 18
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_plan_has_the_asked_sizes_and_every_tag_in_both_splits(usual: pd.DataFrame) -> None:
    assert list(usual.columns) == [
        *("fname", "label", "true_label", "manually_verified", "usage", "freesound_id"),
        *("license", "seconds", "split"),
    ]
    assert usual["split"].value_counts().to_dict() == {"train": 360, "test": 120}
    for _, rows in usual.groupby("split"):
        assert set(rows["true_label"]) == set(SOUNDS)


def test_tags_are_unequally_frequent(usual: pd.DataFrame) -> None:
    sizes = usual[usual["split"] == "train"]["true_label"].value_counts()
    assert 2.3 < sizes.max() / sizes.min() < 3.6


def test_about_two_fifths_of_every_tags_train_clips_are_verified_and_all_test_clips(
    usual: pd.DataFrame,
) -> None:
    train, test = (usual[usual["split"] == split] for split in ("train", "test"))
    assert train["manually_verified"].mean() == pytest.approx(0.4, abs=0.02)
    assert train.groupby("true_label")["manually_verified"].mean().between(0.3, 0.5).all()
    assert (test["manually_verified"] == 1).all()


def test_wrong_labels_are_the_asked_share_of_unverified_train_clips_and_nowhere_else(
    usual: pd.DataFrame,
) -> None:
    is_wrong = usual["label"] != usual["true_label"]
    is_unverified = usual["manually_verified"] == 0
    assert is_wrong.sum() == round(0.33 * is_unverified.sum())
    assert not is_wrong[~is_unverified].any()
    assert (usual[is_wrong]["split"] == "train").all()
    assert usual[is_wrong]["label"].nunique() > 10


@pytest.mark.parametrize("wrong_share", [0.0, 1.0])
def test_all_or_none_of_the_unverified_labels_can_be_wrong(wrong_share: float) -> None:
    clips = plan_clips(dataclasses.replace(TINY, wrong_share=wrong_share), seed=1)
    n_unverified = (clips["manually_verified"] == 0).sum()
    assert n_unverified >= 6
    assert (clips["label"] != clips["true_label"]).sum() == wrong_share * n_unverified


def test_names_and_ids_are_unique_and_shaped_as_in_the_reference_corpus(
    usual: pd.DataFrame,
) -> None:
    assert usual["fname"].str.fullmatch(r"[0-9a-f]{8}\.wav").all()
    assert usual["fname"].is_unique
    assert usual["freesound_id"].is_unique
    assert usual[usual["split"] == "train"]["fname"].is_monotonic_increasing
    assert (usual["license"] == "Attribution").mean() == pytest.approx(0.56, abs=0.08)
    assert set(usual["license"]) <= {
        *("Attribution", "Creative Commons 0", "Attribution-NonCommercial"),
    }


def test_a_fifth_of_the_test_clips_is_public(usual: pd.DataFrame) -> None:
    usage = usual[usual["split"] == "test"]["usage"]
    assert usage.value_counts().to_dict() == {"Private": 97, "Public": 23}
    assert (usual[usual["split"] == "train"]["usage"] == "").all()


def test_durations_are_log_normal_about_the_asked_mean_and_within_bounds() -> None:
    many = dataclasses.replace(USUAL, n_train=4000, max_seconds=30.0)
    seconds = plan_clips(many, seed=1)["seconds"]
    assert seconds.between(0.3, 30.0).all()
    assert seconds.mean() == pytest.approx(3.5, rel=0.06)
    assert np.log(seconds).std() == pytest.approx(0.8, abs=0.06)


def test_the_plan_follows_the_seed_alone(usual: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(plan_clips(USUAL, seed=7), usual)
    assert not set(plan_clips(USUAL, seed=8)["fname"]) & set(usual["fname"])


def test_there_are_as_many_sounds_as_a_corpus_may_ask_for() -> None:
    assert len(SOUNDS) == N_SOUNDS


def test_fewer_tags_are_the_first_of_the_list() -> None:
    assert set(plan_clips(TINY, seed=3)["true_label"]) == set(list(SOUNDS)[:4])


def test_a_rendered_clip_lasts_what_its_row_says_and_depends_on_seed_and_name() -> None:
    row = plan_clips(TINY, seed=2).iloc[0]
    waveform = render_clip(row, TINY, seed=2)
    assert waveform.dtype == np.int16
    assert len(waveform) == round(row["seconds"] * 44_100)
    assert np.abs(waveform.astype(np.int64)).max() > 300
    np.testing.assert_array_equal(waveform, render_clip(row, TINY, seed=2))
    renamed = {**row.to_dict(), "fname": "00000000.wav"}
    assert not np.array_equal(waveform, render_clip(renamed, TINY, seed=2))
    assert not np.array_equal(waveform, render_clip(row, TINY, seed=3))
    assert len(render_clip(row, TINY, seed=2, sample_rate=16_000)) == round(16_000 * row["seconds"])


def test_clips_are_recorded_with_silent_ends_and_at_many_levels() -> None:
    rows = plan_clips(dataclasses.replace(TINY, n_train=40, n_test=4), seed=5)
    clips = [render_clip(row, TINY, seed=5, sample_rate=16_000) for row in rows.to_dict("records")]
    peaks = np.array([np.abs(clip.astype(np.int64)).max() for clip in clips])
    assert peaks.max() > 4 * peaks.min()
    sounding = [
        np.flatnonzero(np.abs(clip) > 0.01 * peak) for clip, peak in zip(clips, peaks, strict=True)
    ]
    leads = np.array([first_loud[0] for first_loud in sounding]) / 16_000
    assert leads.max() > 0.15
    assert leads.std() > 0.03
    assert any(clip[0] != 0 for clip in clips)  # some ends are faint noise, others digital zeros
    assert any(not clip[:5].any() for clip in clips)


def test_the_files_are_laid_out_as_the_reference_corpus(tiny_corpus: Path) -> None:
    assert sorted(path.name for path in tiny_corpus.iterdir()) == [
        *("FSDKaggle2018.audio_test", "FSDKaggle2018.audio_train", "FSDKaggle2018.meta"),
    ]
    assert [path.name for path in tiny_corpus.parent.iterdir()] == ["corpus"]
    meta = tiny_corpus / "FSDKaggle2018.meta"
    train = pd.read_csv(meta / "train_post_competition.csv")
    test = pd.read_csv(meta / "test_post_competition_scoring_clips.csv")
    truth = pd.read_csv(meta / "truth.csv")
    names = ["fname", "label", "manually_verified", "freesound_id", "license"]
    assert list(train.columns) == names
    assert list(test.columns) == ["fname", "label", "usage", "freesound_id", "license"]
    assert list(truth.columns) == ["fname", "label"]
    for split, table in (("train", train), ("test", test)):
        folder = tiny_corpus / f"FSDKaggle2018.audio_{split}"
        assert sorted(path.name for path in folder.iterdir()) == list(table["fname"])
    assert set(truth["fname"]) == {*train["fname"], *test["fname"]}


def test_the_truth_differs_from_the_table_where_the_label_is_wrong(tiny_corpus: Path) -> None:
    meta = tiny_corpus / "FSDKaggle2018.meta"
    train = pd.read_csv(meta / "train_post_competition.csv", index_col="fname")
    truth = pd.read_csv(meta / "truth.csv", index_col="fname")["label"]
    is_wrong = train["label"] != truth[train.index]
    assert is_wrong.sum() == round(0.33 * (train["manually_verified"] == 0).sum())


def test_the_audio_is_16_bit_mono_at_44100_hz(tiny_corpus: Path) -> None:
    seconds = plan_clips(TINY, seed=7).set_index("fname")["seconds"]
    for path in tiny_corpus.rglob("*.wav"):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (44_100, 1, "PCM_16")
        assert info.duration == pytest.approx(seconds[path.name], abs=1e-4)
        assert 0.3 <= info.duration <= 1.5


def test_two_workers_write_the_same_bytes_as_one(tiny_corpus: Path, tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus", TINY, seed=7, workers=2)
    assert digests(tmp_path / "corpus") == digests(tiny_corpus)


def test_an_older_corpus_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    write_corpus(folder, TINY, seed=1, workers=1)
    before = digests(folder)
    write_corpus(folder, TINY, seed=2, workers=1)
    assert len(digests(folder)) == len(before) == 21
    assert not set(before.values()) & set(digests(folder).values())
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(demo, "write_tables", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_corpus(tmp_path / "corpus", TINY, seed=1, workers=1)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_other_things_in_it_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"thesis\.tex"):
        write_corpus(tmp_path, TINY, seed=1, workers=1)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_tags": 17}, "n_tags from 2 to 16"),
        ({"n_tags": 1}, "n_tags from 2 to 16"),
        ({"n_test": 3}, "a clip of every tag"),
        ({"wrong_share": 1.2}, "wrong_share from 0 to 1"),
        ({"mean_seconds": 0.1}, "mean_seconds"),
        ({"max_seconds": 31.0}, "max_seconds"),
        ({"background_snr_db": (30.0, 10.0)}, "background_snr_db"),
    ],
)
def test_options_that_no_corpus_could_meet_are_refused(
    change: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **change)  # type: ignore[arg-type]
