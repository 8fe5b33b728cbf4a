"""What a run will cost: stages, time and disk, before it is started."""

from pathlib import Path
from typing import Any

import pytest

from earmark.layout import Layout
from earmark.params.reading import read_yaml
from earmark.settings import cost
from earmark.settings.cost import SINGLE_STAGES, Corpus, Cost, corpus_of, cost_of, parts_of
from stages import augment, class_mixing, decode, features, split, trim
from tests.corpora.corpus_trees import record
from tests.params.raw_params import changed, sound
from tests.source_graph import ROOT


@pytest.fixture
def _steady(monkeypatch):
    """Everything that is measured takes a hundredth of a second."""
    monkeypatch.setattr(cost, "_timed", lambda _: 0.01)
    monkeypatch.setattr(cost, "_processor_seconds", lambda _: 0.01)


@pytest.mark.usefixtures("_steady")
def test_the_stages_are_those_of_the_pipeline_and_the_disk_is_that_of_the_demo(tmp_path):
    done = cost_of(sound(read_yaml(ROOT / "params.yaml")), Layout(tmp_path))
    assert done is not None
    known = read_yaml(ROOT / "dvc.yaml")["stages"]
    locked = read_yaml(ROOT / "dvc.lock")["stages"]
    assert done.n_stages == sum(name.split("@")[0] in known for name in locked)
    assert done.n_bytes == pytest.approx(6.8e8, rel=0.1)  # `du data models` shows 0.68 GB
    assert done.times_the_sound < 4


@pytest.mark.usefixtures("_steady")
@pytest.mark.parametrize("key", ["epochs", "folds"])
def test_time_follows_epochs_and_folds(demo, tmp_path, key):
    usual: dict[str, Any] = {"model.epochs": 10, "cv.k": 2, "folds": [0, 1]}
    usual |= {"extractors": {}, "models.embedding": {}}  # which have epochs of their own
    doubles: dict[str, Any] = {
        "epochs": {"model.epochs": 20},
        "folds": {"cv.k": 4, "folds": [0, 1, 2, 3]},
    }
    costs = [
        cost_of(sound(changed(demo, changes)), Layout(tmp_path))
        for changes in (usual, {**usual, **doubles[key]})
    ]
    one, two = (done.training_seconds for done in costs if done is not None)
    assert two / one == pytest.approx(2)


@pytest.mark.usefixtures("_steady")
def test_each_round_of_labels_trains_its_model_on_every_fold(demo, tmp_path):
    group, models = next(iter(demo["models"].items()))
    model = next(iter(models))
    usual: dict[str, Any] = {"extractors": {}, "cv.k": 3, "folds": [0, 1, 2]}
    usual |= {"models": {name: {} for name in demo["models"]} | {group: {model: models[model]}}}
    usual |= {"label_rounds.feature": group, "label_rounds.model": model}
    once, thrice = (
        cost_of(sound(changed(demo, usual | {"rounds": rounds})), Layout(tmp_path))
        for rounds in ([], ["i", "ii"])
    )
    assert once is not None
    assert thrice is not None
    assert thrice.training_seconds / once.training_seconds == pytest.approx(3)
    assert thrice.n_stages - once.n_stages == 2 * (3 + 1)
    assert thrice.n_bytes == once.n_bytes  # their weights are not kept


def test_every_network_of_the_roster_takes_its_step(demo, tmp_path, monkeypatch):
    steps: list[object] = []
    monkeypatch.setattr(cost, "WHOLE_BATCH_SECONDS", 0.0)  # two clips are enough here
    measured = cost._step

    def noted(network: Any, *more: Any) -> None:
        steps.append(network)
        measured(network, *more)

    monkeypatch.setattr(cost, "_step", noted)
    done = cost_of(sound(demo), Layout(tmp_path))
    assert done is not None
    assert done.training_seconds > 0
    assert len(set(steps)) == 3 + 1  # models and extractors


def test_a_folder_counts_its_clips_and_reads_some_headers(demo, tmp_path):
    record(tmp_path / "recordings", "cat/1.wav", "dog/1.wav", seconds=2.0)
    folder = {"corpus.adapter": "folder", "corpus.root": "recordings", "demo": {}}
    assert corpus_of(sound(changed(demo, folder)), Layout(tmp_path)) == Corpus(2, 0, 2.0)
    (tmp_path / "recordings").rename(tmp_path / "elsewhere")
    assert cost_of(sound(changed(demo, folder)), Layout(tmp_path)) is None


def bytes_below(*folders: Path) -> int:
    """Of all files, those with several names once."""
    files = [path.stat() for folder in folders for path in folder.rglob("*") if path.is_file()]
    return sum({one.st_ino: one.st_size for one in files}.values())


@pytest.mark.slow
def test_the_disk_is_what_the_stages_before_training_take(demo, tmp_path):
    names = [f"{label}/{n}.wav" for label in ("cat", "dog") for n in range(4)]
    record(tmp_path / "recordings", *names, seconds=2.0)
    changes: dict[str, Any] = {"corpus.adapter": "folder", "corpus.root": "recordings", "demo": {}}
    changes |= {
        "trim.top_db": 200.0,
        "corpus.label_corrections": str(ROOT / "profiles/no_corrections.csv"),
    }
    params, layout = sound(changed(demo, changes)), Layout(tmp_path)
    for stage in (decode, trim, split, class_mixing, augment):
        stage.run(params, layout)
    for feature in params.features:
        features.run(params, layout, feature)
    corpus = corpus_of(params, layout)
    assert corpus is not None
    parts = parts_of(params.model_copy(update={"models": {}, "extractors": {}}), corpus)
    assert bytes_below(layout.data) == pytest.approx(parts.sound_bytes, rel=0.1)


def test_every_stage_without_a_matrix_is_counted():
    stages = read_yaml(ROOT / "dvc.yaml")["stages"]
    assert len([one for one in stages.values() if "matrix" not in one]) == SINGLE_STAGES


def test_the_line_is_rounded_to_what_an_estimate_can_say():
    line = str(Cost(39, 583.0, 7444.0, 1.15e9, 3.34, is_shared=True))
    assert line.startswith("a run from nothing: 39 stages, about 9 min 40 s on this machine")
    assert "(2 h 4 min of training" in line
    assert line.endswith("GB of disk, 3.3 times the sound, which DVC's cache shares")
    line = str(Cost(39, 583.0, 7444.0, 1.15e9, 3.34, is_shared=False))
    assert line.endswith("times the sound, which DVC's cache copies: as much again")


def test_a_header_that_promises_ages_does_not_count(demo, tmp_path):
    record(tmp_path / "recordings", "cat/1.flac", "dog/1.flac", seconds=2.0)
    path = tmp_path / "recordings" / "dog" / "1.flac"
    content = bytearray(path.read_bytes())
    content[21:26] = bytes([content[21] | 0x0F, *b"\xff" * 4])  # 2^36 - 1 samples
    path.write_bytes(content)
    folder = {"corpus.adapter": "folder", "corpus.root": "recordings", "demo": {}}
    assert corpus_of(sound(changed(demo, folder)), Layout(tmp_path)) == Corpus(2, 0, 2.0)


@pytest.mark.usefixtures("_steady")
def test_a_student_costs_its_training_and_the_tagging_of_all_that_has_no_label(demo, tmp_path):
    """By the same measurements: 0.01 s for each feature, and for a step."""
    entry = {**demo["models"]["logmel"]["densenet_logmel"], "teacher_weight": 0.7}
    record(tmp_path / "more", "a.wav", "b/c.wav", seconds=2.0)
    layout = Layout(tmp_path)

    def parts(**changes: Any) -> cost.Parts:
        params = sound(changed(demo, changes))
        corpus = corpus_of(params, layout)
        assert corpus is not None
        assert corpus.n_unlabelled == (2 if "unlabelled" in changes else 0)
        return parts_of(params, corpus)

    none = parts()
    without = parts(student={"logmel": {**entry, "made_clips": 0}})
    assert without.predicting > none.predicting  # test clips
    made = parts(student={"logmel": {**entry, "made_clips": 3}})
    assert made.trainings[-1] == pytest.approx(4 * without.trainings[-1])
    assert made.trainings[:-1] == without.trainings[:-1]
    n_train = demo["demo"]["synthetic"]["n_train"]
    of_clip = (made.predicting - without.predicting) / (3 * n_train)
    assert of_clip > 0.01 * len(demo["features"])  # each is extracted, and each network asked
    more = parts(student={"logmel": {**entry, "made_clips": 0}}, unlabelled="more")
    assert more.predicting - without.predicting == pytest.approx(2 * of_clip)
    assert more.trainings[-1] == pytest.approx((1 + 2 / n_train) * without.trainings[-1])
    assert parts(unlabelled="more") == none, "nobody learns them"
