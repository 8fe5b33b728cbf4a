"""Memory that has run out, and the end of a process, are one line each."""

import errno

import numpy as np
import pytest
import torch

from earmark.errors import how_it_ended
from earmark.exits import clean_exit


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (3, "ended with exit code 3"),
        (-9, "was killed by SIGKILL"),
        (-11, "was killed by SIGSEGV"),
        (-40, "was killed by signal 40"),
    ],
)
def test_the_end_of_a_process_is_named(code, text):
    assert how_it_ended(code) == text


def fail_in(name: str) -> None:
    if name == "python":
        raise MemoryError
    if name == "numpy":
        np.empty(1 << 58, np.int8)
    if name == "torch":
        torch.empty(1 << 58, dtype=torch.int8)
    if name == "cuda":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.\nGPU 0 has ...")
    raise OSError(errno.ENOMEM, "Cannot allocate memory")


@pytest.mark.parametrize("name", ["python", "numpy", "torch", "cuda", "kernel"])
def test_memory_that_has_run_out_is_one_line_with_what_to_lower(name):
    with pytest.raises(SystemExit) as ended, clean_exit("train", lower="model.batch_size"):
        fail_in(name)
    line = str(ended.value)
    assert line.startswith("train: memory has run out (")
    assert "lower model.batch_size in params.yaml" in line
    assert "\n" not in line


def test_a_bug_of_ours_is_not_taken_for_want_of_memory():
    with pytest.raises(RuntimeError), clean_exit("train"):
        raise RuntimeError("shapes differ")
