"""A folder of ONNX files and its script answer as `predict` does."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.errors import UserError
from earmark.exporting.onnx_folder import export_onnx, lines
from earmark.inference.recording_tagger import RecordingTagger
from tests.exporting.small_taggers import RATE, TAGS, Trained, baseline, recording_tagger, sound

WEIGHTS = {"linear": 0.7, "steady": 0.3}


def networks() -> dict[str, dict[str, Trained]]:
    return {
        "linear": {"0": baseline("mean"), "1": baseline("mean_max")},
        "steady": {"0": baseline("statistics")},
    }


def tagger(**changes) -> RecordingTagger:
    return recording_tagger(networks(), weights=WEIGHTS, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fold_mean": "geometric"},
        {"thresholds": dict.fromkeys(TAGS, 0.5)},
    ],
    ids=["one tag", "geometric", "several tags"],
)
def test_the_script_answers_as_predict_does(tmp_path, changes):
    ours, folder = tagger(**changes), tmp_path / "onnx"
    export_onnx(ours, folder, front_end="stft")
    clip = tmp_path / "a clip.wav"
    stereo = np.stack([sound(1.5) // 3, sound(1.5) // 5], axis=1)
    stereo[:6000] = 0  # what is trimmed
    soundfile.write(clip, stereo, RATE)
    command = [sys.executable, str(folder / "tag.py"), str(clip)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    found, predicted = json.loads(result.stdout)["tags"], ours.tag(clip)
    expected = dict(zip(predicted.tags, predicted.probabilities, strict=True))
    assert list(found) == list(expected)
    assert found == pytest.approx(expected, abs=1e-5)


def test_another_rate_is_refused_by_the_script(tmp_path):
    export_onnx(tagger(), tmp_path / "onnx", front_end="stft")
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 8000)
    command = [sys.executable, str(tmp_path / "onnx" / "tag.py"), str(tmp_path / "a.wav")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "has 8000 Hz; resample it to 16000 Hz" in result.stderr


def test_the_script_is_short_and_needs_three_packages_alone():
    import earmark.exporting

    script = Path(earmark.exporting.__file__).with_name("example.py").read_text()
    imports = {line.split()[1] for line in script.splitlines() if line.startswith("import ")}
    assert imports == {"json", "sys", "numpy", "onnxruntime", "soundfile"}
    assert sum(map(bool, map(str.strip, script.splitlines()))) <= 50


def test_what_differs_from_predict_is_said(tmp_path):
    ours = tagger(aggregation={"linear": "confident_crop", "steady": "mean"})
    infos = export_onnx(ours, tmp_path / "onnx", front_end="stft")
    notes = [line for line in lines(infos) if line.startswith("note")]
    assert len(notes) == 1
    assert "linear: " in notes[0]
    assert "confident crop" in notes[0]


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match=r"holds thesis\.txt; name a new folder"):
        export_onnx(tagger(), tmp_path, front_end="stft")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
