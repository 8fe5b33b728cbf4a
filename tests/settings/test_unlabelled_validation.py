"""What is wrong with the folder of recordings without labels is one line each, before a run."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import soundfile

from earmark.layout import Layout
from earmark.params.roster import NO_RECORDINGS
from earmark.settings.unlabelled_validation import unlabelled_problems, unlabelled_warnings
from tests.params.raw_params import assert_one_problem, changed
from tests.params.raw_params import sound as sound_params
from tests.waveforms import tone


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A corpus of two clips, and a folder with two recordings of others."""
    for i, name in enumerate(
        ("corpus/cat/0.wav", "corpus/dog/1.wav", "field/2.wav", "field/x/3.wav")
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone(200.0 + 100 * i, seconds=0.5, rate=16_000), 16_000)
    (tmp_path / "profiles").mkdir()
    (tmp_path / NO_RECORDINGS).touch()
    return tmp_path


CORPUS = {"corpus.adapter": "folder", "corpus.root": "corpus", "corpus.table": "", "demo": {}}


def params_of(demo: dict[str, Any], folder: str, *, with_student: bool = True) -> Any:
    entry = {**demo["models"]["logmel"]["densenet_logmel"], "teacher_weight": 0.5, "made_clips": 0}
    student = {"student": {"logmel": entry}} if with_student else {}
    return sound_params(changed(demo, {**CORPUS, **student, "unlabelled": folder}))


def problems(demo: dict[str, Any], root: Path, folder: str) -> list[str]:
    return unlabelled_problems(params_of(demo, folder), Layout(root))


def test_a_sound_folder_and_none_have_nothing_to_say(demo, root):
    for folder in ("field", NO_RECORDINGS):
        assert problems(demo, root, folder) == []
        assert unlabelled_warnings(params_of(demo, folder), Layout(root)) == []


def test_an_empty_name_is_refused_with_the_params(demo):
    raw = changed(demo, {"unlabelled": ""})
    assert_one_problem(raw, "unlabelled: is empty", f"write {NO_RECORDINGS}")


def test_a_folder_that_is_missing_empty_or_a_file_is_refused(demo, root):
    (root / "empty").mkdir()
    (root / "notes.txt").touch()
    expected = {
        "nowhere": "nowhere: is not there; correct params.yaml",
        "empty": "empty: no audio in it (",
        "notes.txt": "notes.txt is a file; name a folder of recordings, or write",
    }
    for folder, words in expected.items():
        (line,) = problems(demo, root, folder)
        assert line.startswith("unlabelled: ")
        assert words in line
    (root / NO_RECORDINGS).unlink()
    (line,) = problems(demo, root, NO_RECORDINGS)
    assert "is missing; restore it" in line


def test_a_folder_that_a_stage_makes_need_not_be_there(demo, root):
    params = params_of(demo, "data/demo/more").model_copy(update={"demo": {"more": {}}})
    assert unlabelled_problems(params, Layout(root)) == []


def test_clips_of_the_corpus_among_them_are_told_and_a_folder_of_nothing_else_is_refused(
    demo, root
):
    shutil.copy(root / "corpus/dog/1.wav", root / "field/x/1 again.wav")
    (line,) = unlabelled_warnings(params_of(demo, "field"), Layout(root))
    assert line == (
        "unlabelled: 1 of 3 recordings are clips of the corpus, such as x/1 again.wav; "
        "they will be left out"
    )
    (line,) = problems(demo, root, "corpus")
    assert line.startswith("unlabelled: all of corpus are clips of the corpus; name a folder")


def test_headers_that_cannot_be_read_are_told(demo, root):
    (root / "field/bad.wav").write_bytes(b"no sound")
    (line,) = unlabelled_warnings(params_of(demo, "field"), Layout(root))
    assert line.startswith(
        "unlabelled: 1 of 3 headers looked at cannot be read, such as that of bad."
    )
    assert line.endswith("these recordings will be left out")


def test_a_folder_without_a_student_is_told(demo, root):
    params = params_of(demo, "field", with_student=False)
    (line,) = unlabelled_warnings(params, Layout(root))
    assert line.startswith("unlabelled: there is no student to learn field; add one")
