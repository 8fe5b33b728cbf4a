"""`python -m stages.decode` on a tiny corpus, one of whose workers is killed, and once more."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from ruamel.yaml import YAML

from earmark.layout import Layout
from earmark.params.reading import read_yaml
from earmark.settings.profiles import overlay
from earmark.store import Store
from tests import waveforms
from tests.processes import children_of, is_running, wait_until
from tests.source_graph import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc"),
]
ROUNDS, CLIPS = 4, 240


def write_workspace(root: Path) -> None:
    """The sources, a corpus that is resampled, and the params for it."""
    for folder in ("earmark", "stages", "extensions", "profiles"):
        shutil.copytree(ROOT / folder, root / folder)
    shutil.copy(ROOT / "dvc.yaml", root)
    for tag, hertz in (("cat", 300), ("dog", 500)):
        (root / "recordings" / tag).mkdir(parents=True)
        for clip in range(CLIPS // 2):
            sound = waveforms.tone(hertz + clip, seconds=2.0, rate=48_000)
            path = root / "recordings" / tag / f"{clip}.wav"
            soundfile.write(path, np.asarray(sound), 48_000, subtype="PCM_16")
    raw = read_yaml(ROOT / "params.yaml")
    overlay(raw, {"corpus": {"adapter": "folder", "root": "recordings", "synthetic": False}})
    overlay(raw, {"runtime": {"workers": 3}})
    with (root / "params.yaml").open("w") as file:
        YAML().dump(raw, file)


def start(root: Path, module: str) -> subprocess.Popen[str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("DVC_")}
    return subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=root,
        env=inherited,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def has_workers(pid: int) -> bool:
    return len(children_of(pid)) == 3


def test_decode_ends_in_one_line_when_a_worker_is_killed_and_the_rerun_goes_on(tmp_path):
    write_workspace(tmp_path)
    code = start(tmp_path, "stages.code")
    _, err = code.communicate(timeout=300)
    assert code.returncode == 0, err
    rng = random.Random(1)
    for _ in range(ROUNDS):
        stage = start(tmp_path, "stages.decode")
        try:
            assert wait_until(partial(has_workers, stage.pid), seconds=60)
            time.sleep(rng.uniform(0, 0.05))
            workers = children_of(stage.pid)
            os.kill(rng.choice(workers), signal.SIGKILL)
            _, err = stage.communicate(timeout=30)
        finally:
            stage.kill()
        assert stage.returncode == 1, err
        (line,) = err.splitlines()
        assert line.startswith("decode: worker process ")
        assert "was killed by SIGKILL" in line
        assert "lower runtime.workers in params.yaml (it is 3)" in line
        assert not any(map(is_running, workers))
        assert not (tmp_path / "data" / "decoded").exists()
    stage = start(tmp_path, "stages.decode")
    _, err = stage.communicate(timeout=60)
    assert stage.returncode == 0, err
    assert len(Store.open(Layout(tmp_path).decoded)) == CLIPS
