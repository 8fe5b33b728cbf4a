"""Work that takes processor time, in a module that a new process imports at once."""

import time
from collections.abc import Callable


def busy(seconds: float) -> Callable[[], object]:
    def work() -> None:
        start = time.process_time()
        while time.process_time() - start < seconds:
            pass

    return work


def made_slowly(seconds: float) -> Callable[[], object]:
    busy(seconds)()
    return lambda: None
