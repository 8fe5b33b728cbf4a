"""Keys that the labels of a corpus contradict are refused before anything is decoded."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from earmark.layout import Layout
from earmark.params.reading import parse_params
from earmark.settings.corpus_validation import corpus_problems
from tests.params.raw_params import ATTENTION, DENSENET, changed, sound


@pytest.fixture
def recordings(tmp_path) -> Path:
    """Two classes of six recordings, and a table in which some clips have both tags."""
    root = tmp_path / "recordings"
    lines = ["path,label"]
    for name in (f"{label}/{n}.wav" for label in ("cat", "dog") for n in range(6)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
        label = name.split("/")[0]
        lines.append(f"{name},{'cat;dog' if name[-5] in '02' else label}")
    (root / "several.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "corrections.csv").write_text("clip,decision,label\n")
    return root


def problems(demo: dict[str, Any], root: Path, table: str, changes: dict[str, Any]) -> list[str]:
    corpus = {
        "corpus.adapter": "folder",
        "corpus.root": str(root),
        "corpus.table": table,
        "corpus.label_corrections": "corrections.csv",
    }
    params = sound(changed(demo, {**corpus, "demo": {}, **changes}))
    return corpus_problems(params, Layout(root.parent))


MONITORS = [
    "model.monitor",
    "finetune.monitor",
    f"{DENSENET}.training.monitor",
    f"{ATTENTION}.training.monitor",
    "extractors.vggish.training.monitor",
]


@pytest.mark.parametrize("key", ["evaluate.metric", *MONITORS])
def test_a_metric_that_does_not_fit_is_refused_by_key(demo, recordings, key):
    (problem,) = problems(demo, recordings, "", {key: "roc_auc"})
    others = "" if key == "evaluate.metric" else ", loss"
    assert problem == (
        f"params.yaml: {key}: roc_auc does not fit a corpus with one tag per clip; "
        f"set one of map_at_3, accuracy, macro_f1{others}"
    )
    (problem,) = problems(demo, recordings, "several.csv", {key: "accuracy"})
    assert f"{key}: accuracy does not fit a corpus with several tags per clip" in problem
    assert "roc_auc" in problem


@pytest.mark.parametrize("key", MONITORS)
def test_the_loss_fits_every_corpus(demo, recordings, key):
    for table in ("", "several.csv"):
        assert problems(demo, recordings, table, {key: "loss"}) == []


@pytest.mark.parametrize("key", MONITORS)
def test_a_monitor_is_checked_before_the_demo_corpus_is_made(demo, tmp_path, key):
    assert corpus_problems(sound(demo), Layout(tmp_path)) == []
    (problem,) = corpus_problems(sound(changed(demo, {key: "roc_auc"})), Layout(tmp_path))
    assert f"{key}: roc_auc does not fit a corpus with one tag per clip" in problem


def test_every_misfit_is_reported_at_once(demo, recordings):
    changes = dict.fromkeys(["evaluate.metric", *MONITORS], "micro_f1")
    assert len(problems(demo, recordings, "", changes)) == len(changes)


def test_a_label_group_of_unknown_tags_is_refused(demo, recordings):
    (problem,) = problems(demo, recordings, "", {"evaluate.label_groups": {"pet": ["cow"]}})
    assert "evaluate.label_groups.pet: cow is no tag of the corpus" in problem


def test_a_folder_that_cannot_be_read_hides_no_other_line(demo, recordings, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    os.mkfifo(recordings / "cat" / "pipe.wav")
    with monkeypatch.context() as patch:  # chmod does not stop root
        patch.setattr(os, "scandir", refuse)
        patch.setattr(os, "access", lambda path, _: Path(path).name != "dog")
        lines = problems(demo, recordings, "", {})
    assert [line.split(" in ")[0] for line in lines] == [
        "corpus.root: 1 pipe",
        "corpus.root: 1 file or folder without read permission",
    ]


def test_missing_corrections_are_refused(demo, recordings):
    key = "corpus.label_corrections"
    (problem,) = problems(demo, recordings, "", {key: "nowhere.csv"})
    assert problem.startswith(f"{key}: ")


@pytest.mark.parametrize(
    ("scheme", "sources", "words"),
    [
        ("grouped", False, "cv.scheme is grouped, but no clip names its source; use stratified"),
        ("stratified", True, "trains on no clip of cat: .* one source; add clips of another, or"),
    ],
)
def test_a_table_that_cannot_be_split_is_refused_before_decoding(
    demo, recordings, scheme, sources, words
):
    lines = (recordings / "several.csv").read_text().splitlines()
    rows = [f"{line.split(',')[0]},{line.split('/')[0]}" for line in lines[1:]]
    rows = [f"{row},{row.split(',')[1] if sources else ''}" for row in rows]
    (recordings / "plain.csv").write_text("\n".join(["path,label,source", *rows]))
    (problem,) = problems(demo, recordings, "plain.csv", {"cv.scheme": scheme})
    assert re.search(words, problem), problem


def test_a_monitor_that_is_no_metric_is_refused_once(demo, recordings):
    params, (refusal,) = parse_params(changed(demo, {"model.monitor": "map_at_5"}), "params.yaml")
    assert "model.monitor" in refusal
    if params is not None:
        assert corpus_problems(params, Layout(recordings.parent)) == []
