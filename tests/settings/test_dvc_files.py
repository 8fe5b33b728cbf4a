"""What DVC cannot read is named by validate, with the command that restores it."""

import subprocess
from pathlib import Path

import pytest

from earmark.errors import UserError
from earmark.layout import Layout
from earmark.settings.dvc_files import dvc_problems, graph_problems
from earmark.settings.validation import stage_problems
from stages import code
from tests.params.raw_params import profile, sound
from tests.source_graph import ROOT

LOCK = """schema: '2.0'
stages:
  trim:
    cmd: python -m stages.trim
    outs:
    - path: data/trimmed
      hash: md5
      md5: 9d7bf075372908f55e2d945c39e0a613
      size: 2
"""
WHOLE = {
    "dvc.lock": LOCK,
    "dvc.yaml": (ROOT / "dvc.yaml").read_text(),
    ".dvc/config": "[core]\n    analytics = false\n[cache]\n    type = copy\n",
    ".dvc/tmp/rwlock": '{"read": {}, "write": {}}',
}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    for name, text in WHOLE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return Layout(tmp_path)


def test_sound_files_are_no_problem_and_neither_are_missing_ones(
    layout: Layout, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert dvc_problems(layout) == []
    assert dvc_problems(Layout(tmp_path_factory.mktemp("empty"))) == []


@pytest.mark.parametrize(
    ("name", "n"),
    [("dvc.lock", n) for n in (0, 3, 10, 20, 30, 70, 120, 150, len(LOCK) - 1)]
    + [("dvc.yaml", n) for n in (1300, 5000, 9000)]
    + [(".dvc/config", 35), (".dvc/tmp/rwlock", 9), (".dvc/tmp/rwlock", 0)],
)
def test_a_file_cut_short_is_one_line_with_its_fix(layout: Layout, name: str, n: int) -> None:
    (layout.root / name).write_text(WHOLE[name][:n])
    (line,) = dvc_problems(layout)
    assert line.startswith(f"{name}: cut short or damaged (")
    assert "\n" not in line
    if name != "dvc.yaml":
        assert "; run `rm " in line or name == ".dvc/config"


def test_what_git_knows_comes_back_from_git(layout: Layout) -> None:
    for command in (["init", "-q"], ["add", "dvc.lock"]):
        subprocess.run(["git", *command], cwd=layout.root, check=True)
    (layout.root / "dvc.lock").write_text(LOCK[:70])
    (line,) = dvc_problems(layout)
    assert "run `git checkout -- dvc.lock`, then `dvc repro` finds" in line


def test_a_graph_cut_between_two_stages_is_named_before_anything_that_follows_from_it(
    layout: Layout,
) -> None:
    params = sound(profile("demo"))
    (layout.root / "dvc.yaml").write_text(WHOLE["dvc.yaml"].split("\n  split:")[0])
    (problem,) = stage_problems(params, layout)
    assert problem.startswith("dvc.yaml: cut short or damaged (no stage plan in it); ")
    assert graph_problems(layout) == [problem]
    with pytest.raises(UserError, match=r"dvc\.yaml: cut short"):
        code.run(layout)
