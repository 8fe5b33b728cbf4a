"""Work in progress: one process at a time, nothing lost by a kill, nothing kept that is done."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from earmark.store import Store
from earmark.training.checkpoints import (
    KEPT_DAYS,
    State,
    copy_weights,
    resume,
    work_in_progress,
)
from earmark.training.optimizers import build_optimizer
from tests.training.conftest import CPU, make_job

KEY = {"name": "densenet-0"}


def test_finished_work_leaves_no_checkpoint(tmp_path: Path) -> None:
    with work_in_progress(tmp_path, KEY) as checkpoint:
        checkpoint.touch()
    assert list((tmp_path / "work").iterdir()) == [], "not even its lock files"


def test_work_that_is_broken_off_keeps_its_checkpoint_for_the_next_run(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), work_in_progress(tmp_path, KEY) as checkpoint:
        checkpoint.touch()
        raise KeyboardInterrupt
    with work_in_progress(tmp_path, KEY) as again:
        assert again == checkpoint
        assert again.exists()


def test_other_keys_have_other_checkpoints(tmp_path: Path) -> None:
    with (
        work_in_progress(tmp_path, {"seed": 1}) as first,
        work_in_progress(tmp_path, {"seed": 2}) as second,
    ):
        assert first != second


def test_those_that_wait_find_the_finished_checkpoint_and_the_last_removes_it(
    tmp_path: Path,
) -> None:
    has_checkpoint = []

    def work() -> None:
        with work_in_progress(tmp_path, KEY) as checkpoint:
            has_checkpoint.append(checkpoint.exists())

    others = [threading.Thread(target=work) for _ in range(2)]
    with work_in_progress(tmp_path, KEY) as checkpoint:
        for other in others:
            other.start()
        for other in others:
            other.join(timeout=0.2)
        assert all(other.is_alive() for other in others)
        checkpoint.touch()
    for other in others:
        other.join(timeout=30)
    assert has_checkpoint == [True, True]
    assert not checkpoint.exists()


def test_work_left_by_a_kill_is_removed_after_two_weeks(tmp_path: Path) -> None:
    left = {}
    for seed in (1, 2):
        with pytest.raises(KeyboardInterrupt), work_in_progress(tmp_path, {"seed": seed}) as path:
            path.touch()
            left[seed] = path
            raise KeyboardInterrupt
    long_ago = time.time() - (KEPT_DAYS + 1) * 86_400
    for path in (*left[1].parent.iterdir(), left[1].parent):
        os.utime(path, (long_ago, long_ago))
    with work_in_progress(tmp_path, KEY):
        pass
    assert not left[1].parent.exists()
    assert left[2].exists()


def test_a_loaded_state_is_the_one_that_was_saved(store: Store, tmp_path: Path) -> None:
    states = []
    for seed in (0, 1):
        job = make_job(store)
        network = CPU.place(job.tagger.network)
        torch.manual_seed(seed)
        for parameter in network.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer = build_optimizer(network, job)
        optimizer.step()
        states.append(State(network, optimizer, copy_weights(network), copy_weights(network)))
    saved, loaded = states
    saved.progress.history.append({"epoch": 1, "train_loss": 0.5})
    saved.progress.plateau.scale = 0.1
    saved.save(tmp_path / "checkpoint")
    assert not torch.equal(loaded.best["head.weight"], saved.best["head.weight"])
    assert resume(loaded, tmp_path / "checkpoint", lambda progress: progress.epoch > 0) is False
    assert loaded.progress != saved.progress
    assert not torch.equal(loaded.best["head.weight"], saved.best["head.weight"])
    assert resume(loaded, tmp_path / "checkpoint", lambda progress: progress.epoch == 0) is True
    assert loaded.progress == saved.progress
    for ours, theirs in (
        (loaded.network.state_dict(), saved.network.state_dict()),
        (loaded.best, saved.best),
        (loaded.average, saved.average),
    ):
        assert all(torch.equal(ours[key], value) for key, value in theirs.items())
    moments = [state.optimizer.state_dict()["state"] for state in (loaded, saved)]
    for index, of_parameter in moments[1].items():
        for name, value in of_parameter.items():
            assert torch.equal(moments[0][index][name], value)
            assert moments[0][index][name].stride() == value.stride(), "the same vector paths"


def made_state(store: Store) -> State:
    job = make_job(store)
    network = job.tagger.network
    return State(network, build_optimizer(network, job), copy_weights(network))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def reshape(path: Path) -> None:
    tensors = load_file(path)
    tensors["best.head.weight"] = torch.zeros(2, 2)
    with safe_open(path, "pt") as file:
        save_file(tensors, path, file.metadata())


def spoil(path: Path) -> None:
    tensors = load_file(path)
    tensors["network.head.weight"][0, 0] = torch.nan
    with safe_open(path, "pt") as file:
        save_file(tensors, path, file.metadata())


def drop_progress(path: Path) -> None:
    save_file(load_file(path), path)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "a").touch()


DAMAGES = [cut, zero, reshape, spoil, drop_progress, make_folder, lambda path: path.write_text("")]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_discarded_with_one_line_and_changes_nothing(
    tmp_path: Path,
    store: Store,
    damage: Callable[[Path], object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    saved, state = made_state(store), made_state(store)
    path = tmp_path / "checkpoint.safetensors"
    saved.save(path)
    damage(path)
    before, progress = copy_weights(state.network), state.progress
    assert resume(state, path) is False
    (line,) = caplog.messages
    assert line.startswith(f"{path}: damaged (")
    assert line.endswith("; discarded, training starts again")
    assert not path.exists()
    assert state.progress == progress
    assert not state.optimizer.state
    assert all(torch.equal(before[k], v) for k, v in state.network.state_dict().items())


def test_without_a_checkpoint_nothing_is_said(
    tmp_path: Path, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    assert resume(made_state(store), tmp_path / "checkpoint.safetensors") is False
    assert caplog.messages == []


def test_what_is_no_lock_file_is_no_obstacle(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), work_in_progress(tmp_path, KEY) as checkpoint:
        raise KeyboardInterrupt
    folder = checkpoint.parent
    (folder / "lock").unlink()
    (folder / "lock").mkdir()
    (folder.parent / "stray").write_text("a file among the folders")
    with work_in_progress(tmp_path, KEY) as again:
        again.touch()
    assert not folder.exists()
