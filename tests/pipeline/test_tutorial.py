"""The tutorial, typed line by line on a folder of recordings."""

import json
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


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone, with recordings of three classes in kitchen/ and new ones in field/."""
    root = tmp_path_factory.mktemp("user") / "earmark"
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
    output = {line: run(["bash", "-c", line], user) for line in typed[2:]}
    assert "params.yaml and the corpus are sound" in output["python -m earmark validate"]
    assert output["python -m earmark predict new.wav"].startswith("new.wav: ")
    for page in ("report", "audit"):
        assert (user / "data" / page / "index.html").is_file()
    assert pd.read_csv(user / "tags.csv")["file"].unique().tolist() == ["field/scene.flac"]
    assert (user / "events.csv").read_text().startswith("file,start_seconds,end_seconds,tag,")
    pd.testing.assert_frame_equal(
        pd.read_csv(user / "tags.csv"), pd.read_csv(user / "elsewhere.csv")
    )
    answers = re.search(r"^    import earmark\n.*?(?=\Z|^\S)", tutorial(), re.DOTALL | re.MULTILINE)
    code = "\n".join(line.removeprefix("    ") for line in answers[0].splitlines())
    assert "start_seconds" in run([sys.executable, "-c", code], user)


def test_every_cell_of_the_notebook_runs(user: Path) -> None:
    cells = json.loads((ROOT / "docs" / "notebook.ipynb").read_text())["cells"]
    lines = ["import subprocess", "import matplotlib", 'matplotlib.use("agg")']
    for cell in cells:
        assert not cell.get("outputs"), "what it printed once says nothing"
        for line in "".join(cell["source"]).splitlines() if cell["cell_type"] == "code" else []:
            command = f"subprocess.run({line[1:]!r}, shell=True, check=True)"
            lines.append(command if line.startswith("!") else line)
    printed = run([sys.executable, "-c", "\n".join(lines)], user)
    assert "95 % interval" in printed
    assert re.search(r"start_seconds +end_seconds +answer", printed)


def run(command: list[str], folder: Path) -> str:
    """What a command prints, which must end well."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "DVC_SITE_CACHE_DIR": str(folder.parent / "cache")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def tutorial() -> str:
    return (ROOT / "docs" / "tutorial.md").read_text()
