"""Errors that the user can fix: one line each, without a traceback."""

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager

_SAID_BY_TORCH = ("can't allocate memory", "not enough memory", "out of memory")


class UserError(Exception):
    """A problem in params.yaml, the corpus or the machine that the user can fix.

    `problems` holds all problems found, one line each: where it is, what is wrong, how to fix it.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


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


@contextmanager
def explain_memory(lower: str) -> Iterator[None]:
    """Let an end of the memory within the block be one line.

    Args:
        lower: the key of params.yaml that takes less memory if it is lower.

    Raises:
        UserError: Python, numpy, torch or a call of the system got no memory.
    """
    try:
        yield
    except Exception as error:
        if not _is_out_of_memory(error):
            raise
        reason = " ".join((str(error) or type(error).__name__).split())
        fix = f"lower {lower} in params.yaml or end other programs, then run it again"
        raise UserError(f"memory has run out ({reason[:200]}); {fix}") from error


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError):  # numpy's and Arrow's are kinds of it
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _SAID_BY_TORCH)
