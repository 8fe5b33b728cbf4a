"""Errors that the user can fix: one line each, without a traceback."""

import errno
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from earmark.wording import printable

_LONGEST = 160  # characters of a library's message


class UserError(Exception):
    """A problem in params.yaml, the corpus or the machine that the user can fix.

    `problems` holds all problems found, one line each: where it is, what is wrong, how to fix it.
    What a terminal would obey in a name is written out. A command ends with `exit_code`.
    """

    exit_code = 1

    def __init__(self, *problems: str) -> None:
        self.problems = tuple(printable(problem, keep="\n\t") for problem in problems)
        super().__init__("\n".join(self.problems))


class WrongUse(UserError):  # noqa: N818 -- it says what the user did
    """Arguments that do not fit one another, or name what is not there."""

    exit_code = 2


class SomeFailed(UserError):  # noqa: N818 -- it says how far a command came
    """Some of many items failed, each of which was named; the others are done."""

    exit_code = 3


def how_it_ended(code: int) -> str:
    """What became of a process: "was killed by SIGKILL", or "ended with exit code 3".

    Args:
        code: as `subprocess` and `multiprocessing` give it: negative where a signal ended it.
    """
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal has no name
        return f"was killed by signal {-code}"


class DamagedError(UserError):
    """An artifact that does not hold what was written, with the command that restores it."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: damaged ({reason}); restore it with `{restore_command(path)}`")

    def __reduce__(self) -> tuple[type["DamagedError"], tuple[Path, str]]:  # a worker may send it
        return DamagedError, (self.path, self.reason)


def restore_command(path: Path) -> str:
    """The command that restores an artifact of this repository, or of the one that it lies in."""
    here, path = Path.cwd(), Path(path).absolute()
    root = next((one for one in path.parents if (one / "dvc.yaml").exists()), here)
    name = path.relative_to(root) if path.is_relative_to(root) else path
    command = f"python -m earmark restore {shlex.quote(str(name))}"
    return command if root == here else f"cd {shlex.quote(str(root))} && {command}"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say that `path` is damaged, whatever goes wrong in a block that only reads it.

    Raises:
        DamagedError: its content is cut short, or is not what such a file holds.
        UserError: it does not exist.
        OSError: the system does not let it be read.
    """
    try:
        yield
    except (UserError, MemoryError, NameError, ImportError):  # the last two: bugs of ours
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path}: does not exist; run `dvc repro`, which makes it") from error
    except Exception as error:
        # A library that reads a cut file raises an OSError without a number.
        damaged = (None, errno.EISDIR, errno.ENOTDIR, errno.EINVAL, errno.EIO)
        if isinstance(error, OSError) and error.errno not in damaged:
            raise
        raise DamagedError(path, reason_of(error)) from error


def reason_of(error: BaseException) -> str:
    """What an error of a library says, in one line of bearable length."""
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    else:
        text = " ".join(str(error).split()) or type(error).__name__
    if type(error) is KeyError:  # others say it in words
        text = f"no {text}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rstrip()} ..."
