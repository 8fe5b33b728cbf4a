"""Which GPUs there are, and when one takes a second stage."""

from pathlib import Path

import pytest

from earmark.repro.gpus import Gpus, has_room, visible_gpus

# What the driver's program says: two GPUs, and the memory of one in MiB.
NVIDIA_SMI = """#!/bin/sh
case "$*" in
  *memory*-i\\ 1*) echo "10000, 70000" ;;
  *memory*) echo "60000, 20000" ;;
  *index*) echo 0; echo 1 ;;
esac
"""


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(NVIDIA_SMI)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("two_gpus")
def test_the_driver_names_the_gpus_unless_the_user_has_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,GPU-5ee1")
    assert visible_gpus() == ["1", "GPU-5ee1"]
    for none in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", none)
        assert visible_gpus() == []


def test_without_a_driver_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == []
    assert not has_room("0", 1)


@pytest.mark.usefixtures("two_gpus")
def test_another_stage_fits_where_as_much_is_free_as_one_there_takes_and_a_quarter_more() -> None:
    assert has_room("0", 1)  # 60 GB free, one takes 20
    assert not has_room("1", 1)  # 10 GB free, one takes 70
    assert has_room("1", 9)  # one of nine takes 7.8: 9.7 are wanted


def test_a_gpu_takes_a_second_stage_when_the_first_has_taken_its_memory() -> None:
    asked: list[tuple[str, int]] = []

    def room(gpu: str, n_running: int) -> bool:
        asked.append((gpu, n_running))
        return n_running < 2

    gpus = Gpus(["0"], room)
    assert gpus.lend("a", now=0.0) == "0"
    assert gpus.lend("b", now=29.0) is None
    assert not asked  # what it takes is not known yet
    assert gpus.lend("b", now=31.0) == "0"
    assert gpus.lend("c", now=100.0) is None
    assert gpus.lend("c", now=100.1) is None  # the driver is not asked again at once
    gpus.take_back("a")
    assert gpus.lend("c", now=100.0) == "0"
    assert asked == [("0", 1), ("0", 2), ("0", 1)]
    assert gpus.lend("d", now=200.0) is None
    assert gpus.lend("d", now=229.0) is None
    assert gpus.lend("d", now=231.0) is None
    assert asked[3:] == [("0", 2), ("0", 2)]
