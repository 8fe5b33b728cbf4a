"""The tutorial, typed line by line on a folder of recordings."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from tests.source_graph import ROOT
from tests.waveforms import noise, tone

pytestmark = pytest.mark.slow

RATE = 16_000
# Done by tests/test_setup.py; here they would take minutes.
SET_UP = ["make setup", ". .venv/bin/activate"]


def lines() -> list[str]:
    return re.findall(r"^    \$ (.+)$", tutorial(), re.MULTILINE)


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A clone, with recordings of three classes in kitchen/ and new ones in field/."""
    root = tmp_path / "earmark"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(root)], check=True)
    for path in ROOT.glob("docs/*.md"):  # as it stands here, committed or not
        (root / "docs" / path.name).write_bytes(path.read_bytes())
    for name, hertz in (("kettle", 2500), ("knife", 300), ("tap", 0)):
        (root / "kitchen" / name).mkdir(parents=True)
        for number in range(8):
            soundfile.write(root / "kitchen" / name / f"{number}.wav", clip(hertz, number), RATE)
    (root / "field").mkdir()
    scene = np.concatenate([clip(2500, 20), clip(300, 21), clip(0, 22)])
    soundfile.write(root / "field" / "scene.flac", np.tile(scene, 2), RATE)
    soundfile.write(root / "new.wav", clip(300, 23), RATE)
    return root


def clip(hertz: float, number: int) -> np.ndarray:
    """A second of a tone, or of noise alone where its frequency is 0."""
    hiss = noise(RATE, key=f"{hertz} {number}", level=600 if hertz else 6000) / 32_768
    return hiss + tone(hertz * (1 + number / 100), seconds=1.0, rate=RATE) if hertz else hiss


def test_every_line_of_the_tutorial_does_what_it_says(user: Path) -> None:
    typed = lines()
    assert typed[:2] == SET_UP
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "DVC_SITE_CACHE_DIR": str(user.parent / "cache")}
    said = {}
    for line in typed[2:]:
        done = subprocess.run(
            ["bash", "-c", line], cwd=user, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        said[line] = done.stdout
    assert "params.yaml and the corpus are sound" in said["python -m earmark validate"]
    assert said["python -m earmark predict new.wav"].startswith("new.wav: ")
    for page in ("report", "audit"):
        assert (user / "data" / page / "index.html").is_file()
    assert pd.read_csv(user / "tags.csv")["file"].unique().tolist() == ["field/scene.flac"]
    assert (user / "events.csv").read_text().startswith("file,start_seconds,end_seconds,tag,")
    pd.testing.assert_frame_equal(
        pd.read_csv(user / "tags.csv"), pd.read_csv(user / "elsewhere.csv")
    )
    answers = re.search(r"^    import earmark\n.*?(?=\Z|^\S)", tutorial(), re.DOTALL | re.MULTILINE)
    code = "\n".join(line.removeprefix("    ") for line in answers[0].splitlines())
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=user, env=environment, capture_output=True, text=True
    )
    assert "start_seconds" in done.stdout, done.stderr


def tutorial() -> str:
    return (ROOT / "docs" / "tutorial.md").read_text()
