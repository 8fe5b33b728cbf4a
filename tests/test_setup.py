"""`make setup` on machines of other kinds: which Python it takes, what it installs, what it says.

The Pythons on PATH are stand-ins that answer for their version; pip and uv are never reached. Those
marked slow make real environments of dummy packages out of a local index.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from earmark.tracking.model import pins
from tests.source_graph import ROOT

HASH = "--hash=sha256:" + "0" * 64
TOOLS = ["awk", "bash", "cat", "chmod", "cksum", "dirname"]
TOOLS += ["env", "grep", "id", "mkdir", "rm", "touch"]
LINK = {
    "torch": "2.11.0",
    "torchaudio": "2.11.0",
    "nvidia-nvtx": "13.0",
    "setuptools": "81",
    "uv": "0",
}


class Machine:
    """A clone of the files that set-up reads, and a PATH that holds what this machine has."""

    def __init__(self, root: Path) -> None:
        self.root, self.bin = root / "the clone of o'brien", root / "bin"
        (self.root / ".ci").mkdir(parents=True)
        self.bin.mkdir()
        (self.root / ".ci/setup").write_bytes((ROOT / ".ci/setup").read_bytes())
        (self.root / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
        (self.root / "requirements.txt").write_text(f"tqdm==4.70.1 \\\n    {HASH}\n")
        for tool in TOOLS:
            self.link(tool)
        self.program("sox", "exit 0")

    def link(self, tool: str) -> None:
        (self.bin / tool).symlink_to(shutil.which(tool, path="/usr/bin:/bin"))

    def program(self, name: str, script: str) -> None:
        (self.bin / name).write_text(f"#!/bin/bash\n{script}\n")
        (self.bin / name).chmod(0o755)

    def python(self, name: str, version: str, *, has_ensurepip: bool = True) -> None:
        """A stand-in: answers for its version, makes a .venv of stand-ins, and installs nothing."""
        inner = self.script(version, has_ensurepip=True)
        self.program(
            name,
            self.script(version, has_ensurepip=has_ensurepip)
            + f'if [ "$2" = venv ]; then mkdir -p .venv/bin .venv/lib/python{version}\n'
            f"cat >.venv/bin/python <<'END'\n#!/bin/bash\n{inner}\nEND\n"
            "chmod +x .venv/bin/python; echo $PWD/.venv >.venv/bin/activate\n"
            f'echo "made by {name}"; fi\n',
        )

    @staticmethod
    def script(version: str, *, has_ensurepip: bool) -> str:
        return (
            f'case "$*" in *version_info*) echo {version};; --version) echo Python {version}.0;; '
            f"*ensurepip*) exit {int(not has_ensurepip)};; "
            '*"pip install"*) echo "pip: $*"; echo "index: $PIP_INDEX_URL";; esac\n'
        )

    def run(self, *, code: int = 0, **variables: str) -> list[str]:
        """The lines of `.ci/setup`, which ends with `code`."""
        done = subprocess.run(
            ["/bin/bash", ".ci/setup"],
            cwd=self.root,
            env={"PATH": str(self.bin), "HOME": str(self.root), **variables},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        lines = (done.stdout + done.stderr).splitlines()
        assert done.returncode == code, lines
        return lines


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def maker(lines: list[str]) -> list[str]:
    return [line.removeprefix("made by ") for line in lines if line.startswith("made by")]


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
@pytest.mark.parametrize("name", ["python3", "python", "python{}"])
def test_any_python_from_3_11_to_3_14_is_found(machine, version, name):
    machine.python(name.format(version), version)
    lines = machine.run()
    assert maker(lines) == [name.format(version)]
    assert lines[-1] == "setup: done"


def test_a_python_that_fits_is_taken_past_shims_old_ones_and_those_without_venv(machine):
    machine.program("python3.11", "echo 'pyenv: python3.11: command not found' >&2; exit 127")
    machine.python("python3.12", "3.12", has_ensurepip=False)
    machine.python("python3", "3.9")
    machine.python("python3.14", "3.14")
    assert maker(machine.run()) == ["python3.14"]


@pytest.mark.parametrize("version", ["2.7", "3.9", "3.10", "3.15"])
def test_without_a_python_that_fits_one_line_says_what_to_install(machine, version):
    machine.python("python3", version)
    (line,) = machine.run(code=1)
    assert line.startswith(f"setup: no Python from 3.11 to 3.14 is here (python3: Python {version}")
    assert "uv python install" in line
    assert "make setup PYTHON=" in line
    assert not (machine.root / ".venv").exists()


def test_a_python_that_was_named_must_fit(machine):
    machine.python("python3.11", "3.11")
    machine.python("other", "3.10")
    assert machine.run(code=1, PYTHON="other") == [
        "setup: PYTHON=other is no Python from 3.11 to 3.14 (Python 3.10.0)"
    ]
    assert machine.run(code=1, PYTHON="none") == [
        "setup: PYTHON=none is no Python from 3.11 to 3.14 (it does not run)"
    ]
    machine.program("tool", "echo tool 9.4; echo Copyright")
    assert machine.run(code=1, PYTHON="tool") == [
        "setup: PYTHON=tool is no Python from 3.11 to 3.14 (tool 9.4)"
    ]


def test_without_root_what_only_root_can_install_is_said(machine):
    machine.program("id", "echo 1000")
    machine.program("apt-get", "echo apt-get must not run; exit 1")
    machine.python("python3", "3.13", has_ensurepip=False)
    assert machine.run(code=1) == [
        "setup: python3 makes no virtual environments; as root: apt-get install python3.13-venv"
    ]
    (machine.bin / "sox").unlink()
    machine.python("python3", "3.13")
    *_, done, sox = machine.run(code=1)
    assert done == "setup: done"
    assert sox.startswith("setup: the sox program is missing; install it, such as: brew install")


def test_debian_s_missing_packages_are_installed(machine):
    (machine.bin / "sox").unlink()
    (machine.bin / "id").unlink()
    machine.program("id", "echo 0")
    machine.python("python3", "3.13", has_ensurepip=False)
    machine.program("apt-get", f'echo "apt-get $*" >>{machine.bin}/log')
    machine.run()
    log = (machine.bin / "log").read_text()
    assert "Lock::Timeout=300 -y -qq python3.13-venv\n" in log
    assert "Lock::Timeout=300 -y -qq sox\n" in log


def test_uv_is_taken_where_it_is_and_pip_where_it_fails(machine):
    machine.python("python3.11", "3.11")
    machine.program("uv", 'echo "uv: $*"')
    lines = machine.run()
    assert any(line.startswith("uv: pip install") for line in lines)
    assert not any(line.startswith("pip:") for line in lines)
    (machine.root / "requirements.txt").write_text(f"tqdm==4.70.0 \\\n    {HASH}\n")
    machine.program("uv", "exit 2")
    lines = machine.run()
    assert lines.count("setup: uv could not; trying pip") == 1
    assert all("--require-hashes" in line for line in lines if line.startswith("pip:"))


def test_twice_does_nothing_and_another_lock_installs_again(machine):
    machine.python("python3.11", "3.11")
    assert machine.run()
    assert machine.run() == []
    (machine.root / "requirements.txt").write_text(f"tqdm==4.70.0 \\\n    {HASH}\n")
    lines = machine.run()
    assert maker(lines) == []
    assert lines[-1] == "setup: done"


@pytest.mark.parametrize(
    "what", ["moved", "broken off", "no Python behind it", "an old Python", "named"]
)
def test_a_venv_that_cannot_serve_is_made_anew_with_a_line(machine, what):
    machine.python("python3.11", "3.11")
    machine.python("python3.12", "3.12")
    machine.run()
    venv = machine.root / ".venv"
    if what == "moved":
        machine.root = machine.root.rename(machine.root.with_name("elsewhere"))
    elif what == "broken off":
        (venv / ".installing").touch()
    elif what == "no Python behind it":
        (venv / "bin/python").unlink()
        (venv / "bin/python").symlink_to("/nowhere/python3.11")
    elif what == "an old Python":
        (venv / "lib/python3.11").rename(venv / "lib/python3.9")
    lines = machine.run(**({"PYTHON": "python3.12"} if what == "named" else {}))
    assert lines[0].startswith(
        "setup: making .venv anew: it was broken off, moved, or is of another"
    )
    assert maker(lines) == ["python3.12" if what == "named" else "python3.11"]
    assert machine.run() == []


def test_a_set_up_that_fails_says_so_and_starts_again(machine):
    machine.python("python3.11", "3.11")
    whole = (machine.bin / "python3.11").read_text()
    machine.program("python3.11", whole.replace('echo "pip: $*"', "exit 1"))
    lines = machine.run(code=1)
    assert lines[-1].startswith("setup: not finished, see above")
    machine.python("python3.11", "3.11")
    assert machine.run()[0].startswith("setup: making .venv anew: it was broken off")


def test_the_index_of_torch_is_remembered_without_anybody_else_reading_it(machine):
    machine.python("python3.11", "3.11")
    (machine.root / "requirements.txt").write_text(lock_of(LINK))
    lines = machine.run(EARMARK_TORCH_INDEX="https://me:secret@example.org/cpu")
    assert [line for line in lines if "secret" in line] == [
        "index: https://me:secret@example.org/cpu"  # in the environment, not in arguments
    ]
    assert (machine.root / ".venv/.torch_index").stat().st_mode & 0o077 == 0
    assert machine.run() == []
    lines = machine.run(EARMARK_TORCH_INDEX="")
    assert lines[0].startswith("setup: making .venv anew")


def lock_of(packages: dict[str, str], hashes: dict[str, str] | None = None) -> str:
    hashes = hashes or dict.fromkeys(packages, "0" * 64)
    return "# by hand\n" + "".join(
        f"{name}=={version} \\\n    --hash=sha256:{hashes[name]}\n"
        for name, version in packages.items()
    )


def make_index(folder: Path, packages: dict[str, str], *, local: str = "") -> dict[str, str]:
    """A simple index of dummy wheels; returns their hashes."""
    hashes = {}
    for name, version in packages.items():
        home, plain = folder / name, name.replace("-", "_")
        home.mkdir(parents=True)
        wheel = home / f"{plain}-{version}{local}-py3-none-any.whl"
        info = f"{plain}-{version}{local}.dist-info"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(
                f"{info}/METADATA",
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}{local}\n",
            )
            archive.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            archive.writestr(f"{info}/RECORD", "")
        (home / "index.html").write_text(
            f'<a href="{wheel.name.replace("+", "%2B")}">{wheel.name}</a>'
        )
        hashes[name] = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return hashes


def installed(root: Path) -> set[str]:
    return {
        path.name.removesuffix(".dist-info")
        for path in root.glob(".venv/lib/python*/site-packages/*.dist-info")
    }


@pytest.mark.slow
@pytest.mark.parametrize("by", ["pip", "uv"])
def test_torch_comes_from_the_index_that_is_named_without_cuda_and_the_rest_by_hash(
    machine, tmp_path, by
):
    """Real environments by this Python, of dummy packages."""
    packages = LINK | {"tqdm": "4.70.1"}
    hashes = make_index(tmp_path / "pypi", packages)
    make_index(tmp_path / "cpu", {"torch": "2.11.0", "torchaudio": "2.11.0"}, local="+cpu")
    (machine.bin / "python3").symlink_to(Path(sys.executable).resolve())
    if by == "uv":
        (machine.bin / "uv").symlink_to(shutil.which("uv") or pytest.skip("no uv is here"))
    index = (tmp_path / "pypi").as_uri()
    given = {"PIP_INDEX_URL": index, "UV_DEFAULT_INDEX": index, "PIP_CONFIG_FILE": os.devnull}
    given["UV_CACHE_DIR"] = str(tmp_path / "cache")
    given["EARMARK_TORCH_INDEX"] = (tmp_path / "cpu").as_uri()

    lock = machine.root / "requirements.txt"
    lock.write_text(lock_of(packages, hashes | {"setuptools": "1" * 64}))
    assert machine.run(**given, code=1)[-1].startswith("setup: not finished")

    lock.write_text(lock_of(packages, hashes))
    lines = machine.run(**given)
    assert lines[-1] == "setup: done", lines
    assert {"torch-2.11.0+cpu", "torchaudio-2.11.0+cpu", "tqdm-4.70.1"} <= installed(machine.root)
    assert "nvidia_nvtx-13.0" not in installed(machine.root)
    assert machine.run(**given) == []


@pytest.mark.slow
def test_two_set_ups_at_once_wait_for_each_other(machine):
    machine.link("sleep")
    (machine.bin / "python3").symlink_to(Path(sys.executable).resolve())
    venv.create(machine.root / ".venv", symlinks=True)
    machine.program("uv", "sleep 1; echo uv")
    command = ["/bin/bash", ".ci/setup"]
    env = {"PATH": str(machine.bin), "HOME": str(machine.root)}
    both = [
        subprocess.Popen(command, cwd=machine.root, env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = sorted((one.communicate(timeout=120)[0] for one in both), key=len)
    assert [one.returncode for one in both] == [0, 0]
    assert outputs[0] == "setup: waiting for another one\n"
    assert outputs[1].endswith("setup: done\n")


def lock(path: str) -> dict[str, list[str]]:
    """Name -> the lines of its entries in a lock."""
    entries: dict[str, list[str]] = {}
    for entry in re.split(r"\n(?=[a-z0-9])", (ROOT / path).read_text()):
        if "==" in entry:
            entries.setdefault(entry.split("==")[0], []).append(entry)
    return entries


def direct(path: str) -> dict[str, str]:
    lines = [line.split(" #")[0].strip() for line in (ROOT / path).read_text().splitlines()]
    found = [re.fullmatch(r"([\w.-]+)(.*)", line) for line in lines if line and line[0] != "#"]
    return {match[1].lower().replace(".", "-"): match[2] for match in found if match}


@pytest.mark.parametrize("path", ["requirements", ".ci/requirements"])
def test_every_direct_dependency_is_locked_and_every_entry_has_hashes(path):
    locked = lock(f"{path}.txt")
    for name, bound in direct(f"{path}.in").items():
        (entry,) = locked[name]
        if bound.startswith("=="):
            assert entry.startswith(f"{name}{bound}")
        elif bound:
            (found, limit) = entry.split()[0].split("==")[1], bound.removeprefix("<")
            assert [int(n) for n in found.split(".")[:2]] < [int(n) for n in limit.split(".")]
    for name, entries in locked.items():
        for entry in entries:
            assert "--hash=sha256:" in entry, name


def test_one_version_of_each_package_serves_all_pythons_and_systems():
    assert [name for name, entries in lock("requirements.txt").items() if len(entries) > 1] == []


def test_what_only_some_systems_need_is_marked():
    locked = lock("requirements.txt")
    for name, (entry,) in locked.items():
        head = entry.splitlines()[0]
        if name.startswith(("nvidia-", "cuda-")) or name == "triton":
            assert "sys_platform == 'linux'" in head
    assert "sys_platform == 'win32'" in locked["pywin32"][0]
    assert "python_full_version >= '3.13'" in locked["audioop-lts"][0]


def test_mlflow_s_model_names_each_pin_as_pip_reads_it():
    named = [Requirement(pin) for pin in pins(ROOT / "requirements.txt")]
    assert {one.name for one in named} == lock("requirements.txt").keys()
    assert all(len(one.specifier) == 1 for one in named)
