"""An answer of `validate` is given again where nothing changed, and never where anything did."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import earmark
from earmark.__main__ import app
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.settings import kept_answers
from earmark.settings.kept_answers import Line, Question
from tests.source_graph import ROOT

LINES = [Line("warning: many clips are short", is_error=True), Line("sound", is_error=False)]
PARAMS = {"model": {"weights": ["weights/a.safetensors"]}, "corrections": "labels.csv"}


@pytest.fixture
def layout(tmp_path, monkeypatch):
    """A workspace with code of its own, a corpus, weights and networks of the user's."""
    monkeypatch.setattr(kept_answers, "RECENT_SECONDS", 0.0)
    monkeypatch.setattr(earmark, "__file__", str(tmp_path / "earmark" / "__init__.py"))
    for name in (
        *("params.yaml", "dvc.yaml", "dvc.lock", "code.json", "metrics/decode.json"),
        *("earmark/__init__.py", "earmark/pages/page.html", "extensions/mine.py"),
        *("corpus/train/a.wav", "corpus/meta.csv", "weights/a.safetensors"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("as it was")
    return Layout(tmp_path)


def ask(layout: Layout, *, params_only: bool = False) -> Question:
    question = Question(layout, params_only=params_only)
    question.watch(PARAMS, ["corpus"], "extensions")
    return question


def is_kept(layout: Layout, *, params_only: bool = False) -> bool:
    return Question(layout, params_only=params_only).answer() == LINES


def written(name: str):
    def change(root: Path) -> None:
        before = (root / name).stat() if (root / name).exists() else None
        (root / name).write_text("as it is!")  # of the same length
        if before:
            os.utime(root / name, ns=(before.st_atime_ns, before.st_mtime_ns))

    return change


def link(root: Path) -> None:
    (root / "corpus/train/a.wav").rename(root / "a.wav")
    (root / "corpus/train/a.wav").symlink_to(root / "a.wav")


CHANGES = {
    "params": written("params.yaml"),
    "graph": written("dvc.yaml"),
    "lock": written("dvc.lock"),
    "lock of a running dvc": lambda root: (
        (root / ".dvc/tmp").mkdir(parents=True),
        (root / ".dvc/tmp/rwlock").write_text("{}"),
    ),
    "code.json": written("code.json"),
    "quarantine": written("metrics/decode.json"),
    "code": written("earmark/__init__.py"),
    "a template": written("earmark/pages/page.html"),
    "new code": written("earmark/new.py"),
    "own network": written("extensions/mine.py"),
    "new own network": written("extensions/new.py"),
    "recording": written("corpus/train/a.wav"),
    "new recording": written("corpus/train/b.wav"),
    "recording gone": lambda root: (root / "corpus/train/a.wav").unlink(),
    "recording now a link": link,
    "recording closed": lambda root: (root / "corpus/train/a.wav").chmod(0),
    "folder closed": lambda root: (root / "corpus/train").chmod(0o600),
    "table": written("corpus/meta.csv"),
    "weights": written("weights/a.safetensors"),
    "weights gone": lambda root: (root / "weights/a.safetensors").unlink(),
    "corrections that were not there": written("labels.csv"),
}
OF_THE_CORPUS = {"lock", "lock of a running dvc", "code.json", "quarantine", "table"}
OF_THE_CORPUS |= {name for name in CHANGES if name.startswith(("recording", "new rec", "folder"))}


def test_an_answer_is_given_again_while_nothing_changes(layout):
    assert not is_kept(layout)
    ask(layout).keep(LINES)
    assert is_kept(layout)
    (layout.root / "data").mkdir()
    (layout.root / "data" / "out.npy").write_text("of a stage")
    assert is_kept(layout)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_asks_again(layout, name):
    ask(layout).keep(LINES)
    CHANGES[name](layout.root)
    assert not is_kept(layout)


@pytest.mark.parametrize("name", CHANGES)
def test_params_alone_are_looked_at_again_where_they_read_what_changed(layout, name):
    ask(layout, params_only=True).keep(LINES)
    CHANGES[name](layout.root)
    assert is_kept(layout, params_only=True) == (name in OF_THE_CORPUS)


def test_an_answer_on_params_alone_is_none_on_the_corpus(layout):
    ask(layout, params_only=True).keep(LINES)
    assert not is_kept(layout)


@pytest.mark.parametrize(
    ("function", "value"),
    [("_machine", ["another processor"]), ("_libraries", ["torch-9.9.dist-info"])],
)
def test_another_machine_or_library_asks_again(layout, monkeypatch, function, value):
    ask(layout).keep(LINES)
    monkeypatch.setattr(kept_answers, function, lambda: value)
    assert not is_kept(layout)


def test_versions_of_what_is_installed_are_in_the_key(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    (tmp_path / "torch-2.11.0.dist-info").mkdir()
    before = kept_answers._libraries()
    (tmp_path / "torch-2.11.0.dist-info").rename(tmp_path / "torch-2.12.0.dist-info")
    assert kept_answers._libraries() != before


@pytest.mark.parametrize("name", ["params", "recording", "weights"])
def test_what_changes_during_the_look_leaves_no_answer(layout, name):
    question = ask(layout)
    CHANGES[name](layout.root)
    question.keep(LINES)
    assert not is_kept(layout)


def test_what_changed_during_the_look_and_back_leaves_no_answer(layout):
    question = ask(layout)
    layout.params.write_text("something else, which the look may have read")
    question.keep(LINES)
    layout.params.write_text("as it was")
    assert not is_kept(layout)


def test_a_file_that_changed_just_now_leaves_no_answer(layout, monkeypatch):
    monkeypatch.setattr(kept_answers, "RECENT_SECONDS", 3600.0)
    ask(layout).keep(LINES)
    assert not is_kept(layout)


def test_a_damaged_answer_asks_again(layout):
    ask(layout).keep(LINES)
    (path,) = (layout.home / "answers").iterdir()
    path.write_text(path.read_text()[:-9])
    assert Question(layout, params_only=False).answer() is None


def test_a_folder_that_nobody_may_write_to_stops_no_look(layout):
    layout.home.write_text("a file in its place")
    ask(layout).keep(LINES)
    assert not is_kept(layout)


def test_old_answers_go(layout, monkeypatch):
    monkeypatch.setattr(kept_answers, "N_KEPT", 2)
    for content in "abc":
        layout.params.write_text(content)
        ask(layout).keep(LINES)
    assert len(list((layout.home / "answers").iterdir())) == 2
    assert is_kept(layout)


def test_a_module_from_elsewhere_is_watched(layout, tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "their_network.py").write_text("width = 1")
    monkeypatch.syspath_prepend(folder)
    __import__("their_network")
    try:
        ask(layout).keep(LINES)
        assert is_kept(layout)
        (folder / "their_network.py").write_text("width = 2")
        assert not is_kept(layout)
    finally:
        del sys.modules["their_network"]


def test_the_command_says_the_same_again_without_a_look(layout, monkeypatch):
    looks = []

    def look(_, question, answer, *, params_only):
        looks.append(params_only)
        question.watch(PARAMS, ["corpus"], "extensions")
        for line in LINES:
            answer.say(line.text, is_error=line.is_error)

    monkeypatch.chdir(layout.root)
    monkeypatch.setattr("earmark.__main__._look", look)
    first, second = (CliRunner().invoke(app, ["validate"]) for _ in range(2))
    assert looks == [False]
    assert (first.stdout, first.stderr) == (second.stdout, second.stderr)
    assert first.stderr == "warning: many clips are short\n"
    (layout.root / "corpus/train/b.wav").write_text("one more")
    CliRunner().invoke(app, ["validate"])
    assert looks == [False, False]


def test_what_is_wrong_is_said_again_by_a_look(layout, monkeypatch):
    looks = []

    def look(_, question, *__, **___):
        looks.append(1)
        question.watch(PARAMS, ["corpus"], "extensions")
        raise UserError("the corpus is empty; fill it")

    monkeypatch.chdir(layout.root)
    monkeypatch.setattr("earmark.__main__._look", look)
    for _ in range(2):
        assert isinstance(CliRunner().invoke(app, ["validate"]).exception, UserError)
    assert len(looks) == 2


@pytest.mark.slow
def test_validate_loads_what_it_needs_and_nothing_when_nothing_changed(tmp_path):
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "extensions").mkdir()
    looks = []
    for _ in range(2):
        code = (
            "import sys, time; import earmark.settings.kept_answers as k; k.RECENT_SECONDS = 0\n"
            "from earmark.__main__ import main; sys.argv = ['earmark', 'validate', '--params-only']"
            "\ntry: main()\nfinally:\n    print([name for name in ('torch', 'pandas', 'mlflow',"
            " 'earmark.settings.corpus_validation') if name in sys.modules], file=sys.stderr)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        looks.append((done.stdout, done.stderr.splitlines()))
    assert looks[0][0] == looks[1][0] == "params.yaml is sound\n"
    assert looks[0][1][:-1] == looks[1][1][:-1]
    assert "torch" in looks[0][1][-1]
    assert "corpus_validation" not in looks[0][1][-1]
    assert looks[1][1][-1] == "[]"
