"""From predictions to metrics and report: the ensemble and evaluate stages on small corpora."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from earmark.errors import UserError
from earmark.evaluation.points import MULTI_CLASS_METRICS, MULTI_LABEL_METRICS
from earmark.evaluation.scores import AS_GIVEN
from earmark.evaluation.temperature import temper
from earmark.layout import Layout
from earmark.params import Params
from earmark.params.reading import load_params
from earmark.records import read_json, read_table, write_json, write_table
from earmark.store import StoreWriter
from stages import ensemble, evaluate
from tests.reports.small_report import write_sound
from tests.source_graph import ROOT

pytestmark = pytest.mark.usefixtures("undrawn")

TAGS = ["bark", "bell", "cello", "cough"]
SKILL = {"good": 4.0, "poor": 1.0}
LACKING = min(SKILL)
STARTS = {name: "soundnet weights" if name == LACKING else "" for name in SKILL}
METRICS = {
    "scores.json",
    "summary.json",
    "calibration.json",
    "reliability.csv",
    "coverage.csv",
    "aggregation.csv",
    "learning_curves.csv",
    "per_class.csv",
    "confusion.csv",
    "confusion_pairs.csv",
    "submission.csv",
    "test_predictions.csv",
}


def params(**evaluate_: Any) -> Params:
    usual = load_params(ROOT / "params.yaml")
    chosen = usual.evaluate.model_copy(update={"metric": "map_at_3", "n_resamples": 50} | evaluate_)
    return usual.model_copy(update={"evaluate": chosen})


def make(root: Path, *, n_tags_per_clip: int, folds: tuple[str, ...] = ("0", "1")) -> Layout:
    """60 clips of 30 recordings and 20 test clips, two members' crops of each, and curves."""
    layout, rng = Layout(root), np.random.default_rng(0)
    n_train, n = 60, 80
    source = [f"r{i // 2}" if i < n_train else "" for i in range(n)]
    targets = np.zeros((n, len(TAGS)))
    for row in targets:
        row[rng.choice(len(TAGS), int(rng.integers(1, n_tags_per_clip + 1)), replace=False)] = 1
    labels = [";".join(np.array(TAGS)[row > 0]) for row in targets]
    split = np.where(np.arange(n) < n_train, "train", "test")
    names = [f"{i:02}.wav" for i in range(n)]
    clips = pd.DataFrame({"clip": names, "label": labels, "split": split, "source": source})
    clips = clips.assign(verified=True, usage="", quarantined=False, equal_to="", path=names)
    write_table(layout.clips, clips)
    (root / "profiles").mkdir()
    (root / "profiles/no_corrections.csv").write_text("clip,decision,label\n")
    table = clips[["clip", "split", "label", "verified"]]
    fold_of = (np.arange(n) // 2 % 2).astype(str)
    for fold in folds:
        split_in_fold = np.where(fold_of == fold, "validation", "train")
        table = table.assign(**{f"fold_{fold}": np.where(split == "test", "test", split_in_fold)})
    write_table(layout.folds, table)
    write_json(layout.plan, {"members": dict.fromkeys(SKILL, "logmel"), "folds": list(folds)})
    for member, skill in SKILL.items():
        for fold in folds:
            metadata = {"tags": TAGS, "aggregation": "mean", "random_start": STARTS[member]}
            folder = layout.predictions(member, fold)
            with StoreWriter(folder, row_shape=(4,), dtype="float32", metadata=metadata) as store:
                for i in np.flatnonzero((split == "test") | (fold_of == fold)):
                    logits = skill * (targets[i] - 0.5) + rng.normal(size=(2, 4))
                    odds = np.exp(logits)
                    total = odds.sum(axis=1, keepdims=True) if n_tags_per_clip == 1 else 1 + odds
                    store.append((odds / total).astype(np.float32), clip=names[i], crops="cover")
            keys = {"model": member, "fold": fold, "epoch_choice": "last"}
            curve = {**keys, "epoch": [1, 2], "train_loss": [1.0, 0.5]}
            known = (*MULTI_CLASS_METRICS, *MULTI_LABEL_METRICS)
            metrics = {name: [0.4, 0.6] for name in known}
            rates = dict.fromkeys(("learning_rate", "learning_rate_low", "learning_rate_high"), 0.1)
            values = {"validation_loss": [1.0, 0.6], **metrics, **rates}
            write_table(layout.learning_curve(member, fold), pd.DataFrame(curve | values))
    nothing = pd.DataFrame({"clip": [], "reason": []})
    write_table(layout.decoded / "quarantine.parquet", nothing)
    return layout


def test_members_are_compared_with_the_baseline_in_report_and_metrics(tmp_path):
    layout = make(tmp_path, n_tags_per_clip=1)
    write_json(layout.plan, read_json(layout.plan) | {"baselines": ["poor"]})
    assert ensemble.run(params(), layout)["baselines"] == ["poor"]
    scores = evaluate.run(params(), layout)
    assert list(scores["baseline"]["members"]) == ["good"]
    assert scores["baseline"]["members"]["good"]["beats"]
    assert scores["notes"][0].startswith("good beats the baseline, poor: out-of-fold map_at_3 ")
    assert "good beats the baseline, poor" in (layout.report / "index.html").read_text()
    over = read_json(layout.metrics / "scores.json")["baseline"]["members"]["good"]
    assert over["beats"]
    difference = over["difference"]
    assert 0 < difference["low"] < difference["value"] < difference["high"]


def test_baselines_alone_are_compared_with_nothing(tmp_path):
    layout = make(tmp_path, n_tags_per_clip=1)
    write_json(layout.plan, read_json(layout.plan) | {"baselines": sorted(SKILL)})
    ensemble.run(params(), layout)
    assert "baseline" not in evaluate.run(params(), layout)
    assert "baseline" not in read_json(layout.metrics / "scores.json")


def csv(layout: Layout, name: str) -> pd.DataFrame:
    return pd.read_csv(layout.metrics / f"{name}.csv", keep_default_na=False)


@pytest.mark.slow
@pytest.mark.drawn
def test_one_tag_per_clip_goes_from_predictions_to_report(tmp_path):
    layout = make(tmp_path, n_tags_per_clip=1)
    metadata = ensemble.run(params(rejection_threshold=0.4), layout)
    scores = evaluate.run(params(rejection_threshold=0.4), layout)
    assert {path.name for path in layout.metrics.iterdir()} == METRICS
    assert (layout.report / "index.html").read_text().startswith("<!DOCTYPE html>")
    told = f"{LACKING} started from random values: no weight file was given."
    assert f"{told} The paper starts from soundnet weights." in scores["notes"]
    assert told in (layout.report / "index.html").read_text()
    assert scores["models"][LACKING]["random_start"] == "soundnet weights"
    assert json.loads((layout.metrics / "scores.json").read_text()) == scores
    assert metadata["preparation"]["rejection_threshold"] == 0.4
    assert "thresholds" not in metadata
    accuracy = scores["ensemble"]["out_of_fold"]["accuracy"]
    assert accuracy["over"] == "recordings"
    assert " over recordings; data/report" in evaluate.closing_line(scores)
    assert scores["gain"]["n_groups"] == 30
    assert len(csv(layout, "confusion")) == 60
    assert csv(layout, "submission")["label"].str.split(" ").map(len).eq(3).all()
    clips = (layout.report / "clips.js").read_text()
    data = json.loads(clips.removeprefix("window.EARMARK = ").removesuffix(";\n"))
    assert data["members"] == ["ensemble", *sorted(SKILL)]
    assert [sum(row[1] == part for row in data["rows"]) for part in (0, 1)] == [60, 20]
    page = (layout.report / "index.html").read_text()
    for part in ("What each member adds", "Other thresholds", "Other confidences", "constant 0."):
        assert part in page
    calibration = read_json(layout.metrics / "calibration.json")
    assert calibration["temperature"] == metadata["temperature"]
    assert calibration["out_of_fold"]["rejection_threshold"] == 0.4


@pytest.mark.parametrize("n_tags", [1, 3])
def test_labels_of_test_clips_change_no_byte_of_the_ensemble(tmp_path, n_tags):
    layout = make(tmp_path, n_tags_per_clip=n_tags)
    clips, folds = read_table(layout.clips), read_table(layout.folds)
    ensemble.run(params(), layout)
    before = (layout.ensemble / "ensemble.json").read_bytes()
    for table, path in ((clips, layout.clips), (folds, layout.folds)):
        is_test = table["split"] == "test"
        write_table(path, table.assign(label=table["label"].mask(is_test, "bark")))
    ensemble.run(params(), layout)
    assert (layout.ensemble / "ensemble.json").read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("n_tags", [1, 3])
def test_corrected_labels_are_scored_beside_the_given_ones(tmp_path, n_tags):
    layout = make(tmp_path, n_tags_per_clip=n_tags)
    metric = "accuracy" if n_tags == 1 else "micro_f1"
    ensemble.run(params(metric=metric), layout)
    before = evaluate.run(params(metric=metric), layout)
    assert AS_GIVEN not in before["ensemble"]
    assert "as given" not in evaluate.closing_line(before)
    assert "labels as given" not in (layout.report / "index.html").read_text()
    folds = read_table(layout.folds)
    folds.loc[0, "label"] = next(tag for tag in TAGS if tag not in folds.loc[0, "label"])
    dropped = folds.index.isin([2, 3, 4])
    columns = ["split", "fold_0", "fold_1"]
    folds.loc[dropped, columns] = folds.loc[dropped, columns].replace(
        {"train": ""} | {"validation": "dropped"}
    )
    folds.loc[dropped, "split"] = "dropped"
    write_table(layout.folds, folds)
    ensemble.run(params(metric=metric), layout)
    scores = evaluate.run(params(metric=metric), layout)
    for name, entry in {"ensemble": scores["ensemble"], **scores["models"]}.items():
        was = before["ensemble"] if name == "ensemble" else before["models"][name]
        assert entry["out_of_fold"]["n_clips"] == 57
        assert entry[AS_GIVEN]["n_clips"] == 60
        if name != "ensemble":  # its weights are learned on corrected labels
            value = was["out_of_fold"]["map_at_3"]["value"]
            assert entry[AS_GIVEN]["map_at_3"]["value"] == pytest.approx(value)
        assert entry[AS_GIVEN][metric]["value"] != entry["out_of_fold"][metric]["value"]
    summary = read_json(layout.metrics / "summary.json")
    assert summary[AS_GIVEN][metric] != summary["out_of_fold"][metric]
    assert " as given; " in evaluate.closing_line(scores)
    page = (layout.report / "index.html").read_text()
    assert page.index("labels as corrected") < page.index("out of fold, labels as given")


def test_several_tags_per_clip_go_from_predictions_to_report(tmp_path):
    layout = make(tmp_path, n_tags_per_clip=3)
    metadata = ensemble.run(params(metric="roc_auc"), layout)
    scores = evaluate.run(params(metric="roc_auc"), layout)
    assert {path.name for path in layout.metrics.iterdir()} == METRICS
    assert metadata["is_multi_label"]
    assert metadata["weights"]["good"] > 0.8
    assert scores["models"]["good"]["out_of_fold"]["roc_auc"]["value"] > 0.9
    summary = read_json(layout.metrics / "summary.json")
    assert list(summary["test"]) == ["roc_auc", "mean_average_precision"]
    assert csv(layout, "confusion").empty
    table = csv(layout, "per_class").set_index("tag")
    assert table["threshold"].to_dict() == pytest.approx(metadata["thresholds"])
    # what is submitted is what `predict` would answer: tempered, above the tags' thresholds
    clips = read_table(layout.ensemble / "clips.parquet")
    probabilities = read_table(layout.ensemble / "ensemble.parquet")[clips["split"] == "test"]
    tempered = temper(probabilities.to_numpy(), metadata["temperature"], is_multi_label=True)
    assert (metadata["calibration"]["n_unlabelled"], metadata["mean_temperatures"]) == (
        0,
        {"good": 1.0, "poor": 1.0, "ensemble": 1.0},
    )
    above = tempered >= np.array([metadata["thresholds"][tag] for tag in TAGS]) - 1e-12
    for label, answers in zip(csv(layout, "submission")["label"], above, strict=True):
        assert set(label.split(";")) - {""} == set(np.array(TAGS)[answers])


def test_a_lone_fold_is_scored_with_thresholds_of_its_other_half(tmp_path):
    layout = make(tmp_path, n_tags_per_clip=3, folds=("0",))
    metadata = ensemble.run(params(metric="micro_f1"), layout)
    scores = evaluate.run(params(metric="micro_f1"), layout)
    assert scores["ensemble"]["out_of_fold"]["n_clips"] == 30
    assert any("one fold" in note for note in metadata["notes"])
    clips = read_table(layout.ensemble / "clips.parquet")
    assert (clips.groupby("source")["cross_fit_group"].nunique() == 1).all()


def test_grouped_tags_are_scored_as_one(tmp_path):
    layout = make(tmp_path, n_tags_per_clip=1)
    ensemble.run(params(), layout)
    apart = evaluate.run(params(), layout)
    grouped = evaluate.run(params(label_groups={"animal": ["bark", "cough"]}), layout)
    assert csv(layout, "per_class")["tag"].tolist() == ["animal", "bell", "cello"]
    accuracy = [s["ensemble"]["out_of_fold"]["accuracy"]["value"] for s in (apart, grouped)]
    assert accuracy[1] >= accuracy[0]
    assert any("animal counts as one tag of bark, cough" in note for note in grouped["notes"])
    assert (layout.metrics / "calibration.json").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"metric": "roc_auc"},
            r"evaluate\.metric: roc_auc does not fit a corpus with one tag per clip",
        ),
        ({"label_groups": {"x": ["mew"]}}, r"evaluate\.label_groups\.x: mew is no tag"),
    ],
)
def test_what_does_not_fit_the_corpus_is_refused_before_any_scoring(tmp_path, changes, message):
    layout = make(tmp_path, n_tags_per_clip=1)
    ensemble.run(params(), layout)
    with pytest.raises(UserError, match=message):
        evaluate.run(params(**changes), layout)
    assert not layout.metrics.exists()


@pytest.mark.slow
@pytest.mark.drawn
def test_the_same_predictions_give_the_same_bytes(tmp_path):
    layout = make(tmp_path, n_tags_per_clip=3)
    write_sound(layout, [f"{i:02}.wav" for i in range(70)])
    outs = []
    for _ in range(2):
        ensemble.run(params(metric="roc_auc"), layout)
        evaluate.run(params(metric="roc_auc"), layout)
        paths = sorted([*layout.metrics.iterdir(), layout.ensemble / "ensemble.json"])
        page = sorted(path for path in layout.report.rglob("*") if path.is_file())
        assert {path.suffix for path in page} == {".html", ".js", ".mp3", ".png"}
        outs.append([path.read_bytes() for path in [*paths, *page]])
    assert outs[0] == outs[1]


COST = {"networks": 4, "parameters": 2_000_000, "multiply_adds": 90_000_000}
SMALL = {"networks": 1, "parameters": 100_000, "multiply_adds": 3_000_000}


def leave_student(layout: Layout, n_clips: int) -> None:
    """What its training leaves: it answers TAGS[0] for every test clip."""
    costs = {"clip_seconds": 10.0, "ensemble": COST, "student": SMALL}
    known = {"teacher_weight": 0.7, "n_clips": 60, "n_answered": 60, "temperature": 1.0}
    known |= {"n_unlabelled": 900, "n_made": 120}
    write_json(layout.student / "student.json", {**known, "costs": costs})
    table = pd.DataFrame(np.tile([0.7, 0.1, 0.1, 0.1], (n_clips, 1)), columns=TAGS)
    write_table(layout.student / "test.parquet", table)


@pytest.mark.slow
@pytest.mark.parametrize("n_tags_per_clip", [1, 3])
def test_a_student_stands_beside_the_ensemble_on_test_clips_alone(tmp_path, n_tags_per_clip):
    layout = make(tmp_path, n_tags_per_clip=n_tags_per_clip)
    ensemble.run(params(), layout)
    metric = "accuracy" if n_tags_per_clip == 1 else "mean_average_precision"
    before = evaluate.run(params(metric=metric), layout)
    assert "student" not in before
    assert "<h2>Student</h2>" not in (layout.report / "index.html").read_text()
    leave_student(layout, 20)
    scores = evaluate.run(params(metric=metric), layout)
    student = scores.pop("student")
    assert scores == before
    assert "out_of_fold" not in student
    difference = student["gain"]["difference"]["value"]
    value = student["test"][metric]["value"]
    assert difference == value - scores["ensemble"]["test"]["all"][metric]["value"]
    page = (layout.report / "index.html").read_text()
    assert "Neither it nor any of its teachers has seen a test clip." in page
    assert f"<td>student</td><td>{value:.3f} " in page
    assert "30 times as many for the ensemble" in page
    assert "Of 900 recordings without labels and 120 clips made of training clips it" in page
    summary = read_json(layout.metrics / "summary.json")
    assert summary["student"] == {metric: round(value, 6)}


def test_without_test_clips_the_page_says_that_nothing_unseen_is_left(tmp_path):
    layout = make(tmp_path, n_tags_per_clip=1)
    clips = read_table(layout.clips)
    write_table(layout.clips, clips[clips["split"] == "train"])
    ensemble.run(params(), layout)
    leave_student(layout, 0)
    assert "test" not in evaluate.run(params(), layout)["student"]
    assert "Nothing unseen is left to score it on" in (layout.report / "index.html").read_text()
