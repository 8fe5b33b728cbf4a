"""Ctrl-C while libraries are imported ends a command without a traceback, and no library call."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# As a user's Ctrl-C that comes while pydantic is imported, of which each command has need.
SLOW = """
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
class Finder:
    def find_spec(name, path, target=None):
        if name == "pydantic":
            os.kill(os.getpid(), signal.SIGINT)
import sys
sys.meta_path.insert(0, Finder)
"""


@pytest.mark.parametrize("command", [["-m", "stages.plan"], ["-m", "earmark", "validate"]])
def test_ctrl_c_during_the_imports_shows_no_traceback(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW)
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={"PYTHONPATH": str(tmp_path), "PATH": str(Path(sys.executable).parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_who_imports_the_library_keeps_its_handler() -> None:
    code = "import signal, stages, earmark.__main__; print(signal.getsignal(signal.SIGINT))"
    prepare = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    done = subprocess.run(
        [sys.executable, "-c", prepare + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "default_int_handler" in done.stdout
