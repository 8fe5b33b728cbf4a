"""What is damaged comes back from DVC's cache, from git, or by its stage."""

import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo

from earmark.errors import UserError
from earmark.layout import Layout
from earmark.restoring import restore

pytestmark = pytest.mark.slow  # runs DVC


def git(root: Path, *words: str) -> None:
    name = ("-c", "user.name=x", "-c", "user.email=x@y")
    subprocess.run(["git", *name, *words], cwd=root, check=True, capture_output=True)


GRAPH = """\
stages:
  evaluate:
    cmd: cat now >m.json && mkdir -p data/r && cp now data/r/a && echo run >>runs
    outs:
      - m.json: {cache: false}
      - data/r
  second:
    cmd: cp now data/b
    deps: [data/r]
    outs: [data/b]
"""


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A workspace whose run wrote another m.json than git has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (tmp_path / "data").mkdir()
    for name, text in {"dvc.yaml": GRAPH, "now": "new", "m.json": "old", "data/R.md": "x"}.items():
        (tmp_path / name).write_text(text)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "dvc.yaml", "m.json", "data/R.md")
    git(tmp_path, "commit", "-qm", "one")
    with Repo(str(tmp_path)) as repo:
        repo.reproduce()
    return Layout(tmp_path)


def test_a_metric_comes_back_as_this_run_wrote_it(ran: Layout) -> None:
    path = ran.root / "m.json"
    path.write_text("cu")
    assert restore(Path("m.json"), ran) == ["m.json: made again by stage evaluate"]
    assert path.read_text() == "new"
    git(ran.root, "add", "m.json")
    path.write_text("cu")
    assert restore(Path("m.json"), ran) == ["m.json: restored from git"]
    assert path.read_text() == "new"


def test_a_folder_comes_back_with_each_output_below_it(ran: Layout) -> None:
    for name in ("r/a", "b"):
        path = ran.data / name
        path.chmod(0o644)
        path.unlink()
        path.write_text("cut")
    (whole,) = (ran.root / ".dvc" / "cache").rglob("*.dir")
    whole.unlink()
    whole.mkdir()  # a folder where the object should be
    lines = restore(Path("data"), ran)
    assert [line.split(":")[0] for line in lines] == ["data/r", "data/r", "data/b"]
    assert [(ran.data / name).read_text() for name in ("r/a", "b", "R.md")] == ["new", "new", "x"]
    (ran.data / "R.md").write_text("cut")
    assert restore(Path("data/R.md"), ran) == ["data/R.md: restored from git"]


def test_a_cut_dvc_yaml_comes_back_from_git(ran: Layout) -> None:
    (ran.root / "dvc.yaml").write_text(GRAPH[:40])
    assert restore(Path("dvc.yaml"), ran) == ["dvc.yaml: restored from git"]
    with pytest.raises(UserError, match="nothing: not known to git or DVC"):
        restore(Path("nothing"), ran)


def test_restore_reverts_one_damaged_file_and_never_several_changed_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("earmark.restoring._restore_outputs", lambda *_: [])  # DVC knows none
    names = ["params.yaml", "code/a.py", "code/b.py", "metrics/a.json", "metrics/b.json"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("whole")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "a"]):
        git(tmp_path, *command)
    for name in names[:4]:
        (tmp_path / name).write_text("edited")
    for path, words in {
        "": "is the whole repository",
        "code/..": "is the whole repository",
        "code": r"code: has 2 changed files, code/a\.py, code/b\.py; name",
    }.items():
        with pytest.raises(UserError, match=words):
            restore(Path(path), Layout.here())
    with pytest.raises(UserError, match="not known to git"):
        restore(Path("code/*.py"), Layout.here())
    assert {(tmp_path / name).read_text() for name in names[:4]} == {"edited"}
    assert restore(Path("metrics"), Layout.here()) == ["metrics/a.json: restored from git"]
    assert (tmp_path / "metrics/a.json").read_text() == "whole"
