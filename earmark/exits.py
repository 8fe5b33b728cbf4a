"""How every command ends: a fault that is none of our code's in one line, never in a traceback."""

import atexit
import errno
import gc
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper, UnsupportedOperation
from pathlib import Path

from earmark.errors import UserError, reason_of
from earmark.interrupts import raise_again
from earmark.wording import printable

INTERRUPTED = 130  # as a shell reports Ctrl-C
BROKEN_PIPE = 141  # and a program whose reader has gone, as in `... | head -1`
_OURS = ("earmark", "stages", "experiments", "benchmarks")
_FULL = "free disk space and run it again; it goes on where it stood"
_FIXES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: "write to another file system, or mount this one for writing",
    errno.EACCES: "correct the permissions and run it again",
    errno.EPERM: "correct the permissions and run it again",
    errno.EMFILE: "raise `ulimit -n` and run it again",
    errno.EISDIR: "it is a folder; move it away and run it again",
    errno.EFBIG: "raise `ulimit -f` and run it again",
    errno.EIO: "the disk or its connection fails; check it, and run it again",
}
# What libraries say whose errors carry no number of the system.
_NUMBER = re.compile(r"(?:os error|\[?errno:?) (\d+)", re.IGNORECASE)
_SQLITE = {"disk is full": errno.ENOSPC, "readonly database": errno.EROFS}
_MEMORY = re.compile(
    r"out of memory|not enough memory|can(?:'t|not) allocate memory|bad_alloc|failed to map", re.I
)
_LIBRARY = re.compile(r"library not found|cannot load library|cannot open shared object", re.I)


@contextmanager
def clean_exit(title: str = "", *, lower: str = "runtime.workers") -> Iterator[None]:
    """End the process in one line for each problem that is no bug of ours.

    Args:
        title: what each line begins with.
        lower: the key of params.yaml that takes less memory if it is lower.

    Raises:
        SystemExit: 1, or the `exit_code` of a UserError, with the problems on stderr; 130 after
            Ctrl-C, 141 if nobody reads the output.
    """
    _prepare_streams()
    _prepare_collector()
    raise_again()
    prefix = f"{title}: " if title else ""
    try:
        try:
            yield
        except SystemExit as end:  # typer's end of every command
            if isinstance(end.__context__, BrokenPipeError):
                raise end.__context__ from None
            if end.code == INTERRUPTED:  # typer has caught Ctrl-C, and printed nothing
                raise KeyboardInterrupt from None
            sys.stdout.flush()
            raise
        sys.stdout.flush()  # here a full disk or a closed pipe can still be told
    except UserError as error:
        text = "\n".join(prefix + problem for problem in error.problems)
        if error.exit_code == 1:
            sys.exit(text)
        print(text, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print(f"{prefix}stopped; run it again to go on", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        _silence(sys.stdout)
        sys.exit(BROKEN_PIPE)
    except Exception as error:
        problem = explain(error, lower)
        if problem is None:
            raise
        if isinstance(error, OSError) and not error.filename:
            _silence(sys.stdout)  # what is left in its buffer would be tried again at the end
        sys.exit(prefix + problem)


def _prepare_collector() -> None:
    """Search less for garbage: torch and MLflow make a million objects that stay, when imported.

    A short training spends a quarter of its time on it.
    """
    gc.set_threshold(5000)  # new objects before a search; by default 700, or 2000 since Python 3.13
    atexit.register(gc.freeze)  # else Python searches them all once more before it ends


def explain(error: BaseException, lower: str) -> str | None:
    """What went wrong and how to fix it, in one line; None where it is a bug of ours.

    What raised the error is looked at, and what that in turn was raised for.
    """
    seen: BaseException | None = error
    while seen is not None:
        if problem := _explain_one(seen, lower):
            return printable(problem)  # a path is as somebody named it
        seen = seen.__cause__ or seen.__context__
    return None


def _explain_one(error: BaseException, lower: str) -> str | None:
    if isinstance(error, UserError):
        return error.problems[0]
    name, text = type(error).__name__, str(error)
    if isinstance(error, MemoryError) or name == "OutOfMemoryError" or _MEMORY.search(text):
        fix = f"lower {lower} in params.yaml or end other programs, then run it again"
        return f"memory has run out ({reason_of(error)}); {fix}"
    if isinstance(error, ImportError | OSError) and _is_missing_library(error):
        return f"{reason_of(error)}; run `make setup`, or install that library"
    if isinstance(error, UnicodeEncodeError) and error.encoding not in ("utf-8", "utf8"):
        fix = "set PYTHONUTF8=1, or LC_ALL=C.UTF-8"
        return f"{error.object!a} cannot be written in this locale ({error.encoding}); {fix}"
    number = _number(error)
    if number is None:
        return None
    path = error.filename if isinstance(error, OSError) else None
    reason, fix = os.strerror(number), _FIXES.get(number, "fix that and run it again")
    if path is not None:
        return f"{os.fsdecode(path) if isinstance(path, bytes | str) else path}: {reason}; {fix}"
    text = reason_of(error)
    return f"{text}; {fix}" if reason.lower() in text.lower() else f"{reason} ({text}); {fix}"


def _is_missing_library(error: ImportError | OSError) -> bool:
    if isinstance(error, ModuleNotFoundError):
        return error.name is not None and error.name.split(".")[0] not in _OURS
    return bool(_LIBRARY.search(str(error)))


def _number(error: BaseException) -> int | None:
    """The number of the system's error behind one of any library."""
    if isinstance(error, OSError):
        if error.errno is not None:
            return error.errno
    elif type(error).__module__.split(".")[0] in ("builtins", *_OURS):
        return None  # a text of our own may name any number
    if match := _NUMBER.search(str(error)):
        return int(match[1])
    return next((number for words, number in _SQLITE.items() if words in str(error)), None)


def _prepare_streams() -> None:
    """Let no output fail for a character that the locale lacks, or a stream that is closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by `>&-`
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _silence(stream: object) -> None:
    """Let what is left for a stream go nowhere: Python would fail at it again when it ends."""
    if isinstance(stream, TextIOWrapper):
        with suppress(UnsupportedOperation), Path(os.devnull).open("wb") as null:
            os.dup2(null.fileno(), stream.fileno())
