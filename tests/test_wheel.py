"""The package that uses exported taggers: it installs, has its files, and names its libraries."""

import ast
import json
import os
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.inference.workspaces import exported_tagger, sound
from tests.source_graph import ROOT, sources

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with the wheel; libraries are those of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ["uv", "build", "--quiet", "--wheel", "--no-build-isolation", "--out-dir", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run(["uv", "venv", "-q", "-p", sys.executable, str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    install = [
        "uv",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--offline",
        "-p",
        str(python),
        str(wheel),
    ]
    subprocess.run(install, check=True)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv" / "bin"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported_tagger(tmp_path_factory)


def test_the_command_of_the_wheel_tags_with_a_bundle_and_imports_what_it_names(
    installed: Path, bundle: Path, tmp_path: Path
) -> None:
    sound(tmp_path / "a.wav")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [installed / "earmark", "predict", bundle, "a.wav", "--timeline", "-o", "tags.csv"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "tags.csv").read_text().count("\n") == 22
    code = (
        "import json, sys, earmark; t = earmark.load(sys.argv[1]); t.timeline('a.wav')\n"
        "loaded = [(name.split('.')[0], module) for name, module in sys.modules.items()]\n"
        "print(json.dumps([m.__file__ for name, m in loaded if name == 'earmark']))"
    )
    asked = [installed / "python", "-c", code, bundle]
    done = subprocess.run(
        asked, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    ours = [Path(path) for path in json.loads(done.stdout)]
    assert all(installed.parent in path.parents for path in ours), "not those of the repository"
    of_module = packages_distributions()
    modules = {name for path in ours for name in imported(path)} - {"earmark"}
    needed = {canonicalize_name(of_module[name][0]) for name in modules if name in of_module}
    assert {"torch", "soundfile"} <= needed <= closure(project()["dependencies"])


def test_the_wheel_has_every_module_and_nothing_else_of_the_repository(installed: Path) -> None:
    (site,) = (installed.parent / "lib").glob("python*/site-packages")
    found = {path.relative_to(site).as_posix() for path in (site / "earmark").rglob("*.py")}
    assert found == {path.as_posix() for path in sources("earmark")}
    assert not (site / "stages").exists()


def test_what_the_extras_name_is_what_the_lock_holds() -> None:
    pinned = {
        canonicalize_name(Requirement(line.split(" \\")[0]).name)
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if line[:1].isalnum()
    }
    extras = project()["optional-dependencies"]
    named = [*project()["dependencies"], *extras["onnx"], *extras["pipeline"]]
    assert {canonicalize_name(Requirement(one).name) for one in named} <= pinned


def imported(path: Path) -> set[str]:
    """The packages that a module imports as soon as it is imported."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names |= {one.name.split(".")[0] for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def closure(requirements: list[str]) -> set[str]:
    """The names of these libraries and of all that they need in turn."""
    found: set[str] = set()
    to_read = [Requirement(one) for one in requirements]
    while to_read:
        one = to_read.pop()
        name = canonicalize_name(one.name)
        if name in found or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        to_read += [Requirement(text) for text in distribution(name).requires or []]
    return found
