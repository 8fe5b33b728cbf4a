"""Every command ends in one line for what is no bug of ours, and in a traceback for what is one."""

import errno
import logging
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from earmark.__main__ import app, main, only_once
from earmark.errors import DamagedError, UserError
from earmark.exits import clean_exit, explain
from earmark.layout import Layout
from tests.source_graph import ROOT

FULL = os.strerror(errno.ENOSPC)


def ended_by(error: BaseException) -> object:
    with pytest.raises(SystemExit) as caught, clean_exit("trim"):
        raise error
    return caught.value.code


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


LINES = {
    "full": (OSError(errno.ENOSPC, FULL, "data/x"), "data/x: No space left on device; free disk"),
    "read-only": (OSError(errno.EROFS, "Read-only file system", "a"), "a: Read-only file system;"),
    "denied": (PermissionError(errno.EACCES, "Permission denied", "a"), "correct the permissions"),
    "folder": (IsADirectoryError(errno.EISDIR, "Is a directory", "a"), "move it away"),
    "large": (OSError(errno.EFBIG, "File too large", "a"), "a: File too large; raise `ulimit -f`"),
    "stdout": (OSError(errno.ENOSPC, FULL), "No space left on device; free disk space"),
    "pyarrow": (OSError("[Errno 28] Error writing bytes: No space left on device"), "free disk"),
    "sqlite": (sqlite3.OperationalError("database or disk is full"), "free disk space"),
    "below": (caused(ValueError("x"), sqlite3.OperationalError("database or disk is full")), FULL),
    "memory": (
        MemoryError("Unable to allocate 8 GiB"),
        "memory has run out (Unable to",
    ),
    "numpy": (
        MemoryError("Unable to allocate 64.0 B for an array with shape (8,) and data type float64"),
        "lower runtime.workers",
    ),
    "cuda": (torch.OutOfMemoryError("CUDA out of memory. Tried\nto"), "lower runtime.workers"),
    "cpu": (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "runtime.workers"),
    "package": (ModuleNotFoundError("No module named 'soxr'", name="soxr"), "run `make setup`"),
    "library": (
        OSError("sndfile library not found"),
        "not found; run `make setup`",
    ),
    "shared": (OSError("libsox.so: cannot open shared object file"), "install that library"),
    "locale": (UnicodeEncodeError("ascii", "Bär", 1, 2, "ordinal"), "set PYTHONUTF8=1"),
    "control": (OSError(errno.ENOSPC, FULL, "a\x1b[2J\nb"), r"a\x1b[2J\nb: No space left"),
    "damaged": (
        DamagedError(Path("plan.json"), "cut"),
        "plan.json: damaged (cut); restore",
    ),
}


@pytest.mark.parametrize(("error", "words"), LINES.values(), ids=list(LINES))
def test_what_is_no_bug_of_ours_ends_in_one_line(error: Exception, words: str) -> None:
    line = ended_by(error)
    assert isinstance(line, str)
    assert line.startswith("trim: ")
    assert words in line
    assert "\n" not in line


def test_a_weight_file_on_a_full_disk_or_in_no_folder_is_told_by_its_number(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="os error") as caught:
        save_file({"a": torch.zeros(1)}, tmp_path / "missing" / "a.safetensors")
    assert "No such file or directory" in str(explain(caught.value, "runtime.workers"))


@pytest.mark.parametrize(
    "bug",
    [
        KeyError("clip"),
        ValueError("expected (clips, tags), errno 28"),
        RuntimeError("shapes"),
        ModuleNotFoundError("No module named 'earmark.sounds'", name="earmark.sounds"),
        AssertionError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_bug_of_ours_keeps_its_traceback(bug: Exception) -> None:
    with pytest.raises(type(bug)) as caught, clean_exit("trim"):
        raise bug
    assert caught.value is bug


def test_each_problem_of_the_user_has_its_line() -> None:
    assert ended_by(UserError("a", "b")) == "trim: a\ntrim: b"


def test_ctrl_c_and_a_reader_that_has_gone_have_codes_of_their_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ended_by(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "trim: stopped; run it again to go on\n"
    assert ended_by(BrokenPipeError(errno.EPIPE, "Broken pipe")) == 141


@pytest.mark.slow
def test_a_reader_that_has_gone_is_told_through_typer() -> None:
    command = f"set -o pipefail; {sys.executable} -m earmark profile list | true"
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (141, "")


def test_a_working_directory_that_is_gone_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    with pytest.raises(UserError, match="the working directory is gone; cd into it again"):
        Layout.here()


@pytest.mark.parametrize("arguments", [["predict", ""], ["download", "x", "--into="]])
def test_an_empty_argument_is_not_the_working_directory(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["earmark", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert str(caught.value.code).endswith("is empty; give a name there, or leave it out")


def test_typer_shows_no_pretty_tracebacks() -> None:
    assert app.pretty_exceptions_enable is False


SCRIPT = """
import sys
from earmark.exits import clean_exit
with clean_exit("x"):
    for _ in range(100_000):
        print("B\\u00e4r")
"""


@pytest.mark.parametrize(
    ("shell", "code", "words"),
    [
        ("{} | head -1 >/dev/null; exit ${{PIPESTATUS[0]}}", 141, ""),
        ("{} >/dev/full", 1, "x: No space left on device; free disk space"),
        ("{} >&-", 0, ""),
        ("{} >/dev/null 2>&-", 0, ""),
        ("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {} >/dev/null", 0, ""),
    ],
    ids=["broken pipe", "full", "closed stdout", "closed stderr", "locale"],
)
def test_output_that_nobody_takes_ends_without_a_traceback(
    tmp_path: Path, shell: str, code: int, words: str
) -> None:
    script = tmp_path / "x.py"
    script.write_text(SCRIPT)
    command = shell.format(f"{sys.executable} {script}")
    done = subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert done.stderr.startswith(words)
    assert len(done.stderr.splitlines()) == bool(words)


def test_what_is_said_of_a_table_is_said_once():
    is_new = only_once()
    record = logging.makeLogRecord({"name": "earmark.corpora.text_tables", "msg": "did you mean?"})
    assert [is_new(record), is_new(record)] == [True, False]
