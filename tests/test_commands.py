"""No name in params.yaml is run by the shell that DVC hands a stage's command to."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from dvc.exceptions import DvcException
from dvc.repo import Repo
from ruamel.yaml import YAML

from tests.source_graph import ROOT

HOSTILE = [
    "x;touch PWNED",
    "x$(touch PWNED)",
    "x`touch PWNED`",
    "x\ntouch PWNED\n",
    "x' touch P 'x",
]
# Stands in for `python`: appends its arguments to a file, one json list a line.
STAND_IN = """\
#!/usr/bin/env python3
import json, sys
open("arguments.jsonl", "a").write(json.dumps(sys.argv[1:]) + "\\n")
"""


def workspace(folder: Path, params: dict[str, Any]) -> Path:
    shutil.copy(ROOT / "dvc.yaml", folder)
    shutil.copy(ROOT / "code.json", folder)
    with (folder / "params.yaml").open("w") as file:
        YAML().dump(params, file)
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")
    return folder


def base_params() -> dict[str, Any]:
    params: dict[str, Any] = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    return params


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_reaches_the_stage_as_one_argument(name: str, tmp_path: Path) -> None:
    params = base_params()
    for group, models in params["models"].items():
        if models:
            params["models"][group] = {name: next(iter(models.values()))}
    params["folds"] = [name]
    for section in ("features", "extractors", "demo"):
        params[section][name] = next(iter(params[section].values()))
    root = workspace(tmp_path, params)
    python = root / "bin" / "python"
    python.parent.mkdir()
    python.write_text(STAND_IN)
    python.chmod(0o755)
    before = set(root.iterdir())
    env = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}

    with Repo(str(root)) as repo:
        commands = [stage.cmd for stage in repo.index.stages if name in stage.addressing]
    for command in commands:
        subprocess.run(command, shell=True, cwd=root, env=env, check=True)

    assert len(commands) >= 8
    assert set(root.iterdir()) - before <= {root / "arguments.jsonl", root / ".dvcignore"}
    calls = [json.loads(line) for line in (root / "arguments.jsonl").read_text().splitlines()]
    assert len(calls) == len(commands)
    assert all(name in call for call in calls)


@pytest.mark.parametrize("fold", [{"x;touch PWNED": 0}, ["x;touch PWNED"]])
def test_a_fold_that_is_no_name_is_refused_by_dvc(fold: object, tmp_path: Path) -> None:
    """The keys of a mapping are what DVC does not quote."""
    root = workspace(tmp_path, {**base_params(), "folds": [fold]})

    with Repo(str(root)) as repo, pytest.raises(DvcException):
        print([stage.cmd for stage in repo.index.stages])
