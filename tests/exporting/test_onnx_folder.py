"""A folder of ONNX files and its script answer as `predict` does."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.ensemble.combining import combine, mean_over_folds
from earmark.errors import UserError
from earmark.exporting.onnx_folder import export_onnx, lines
from earmark.inference.predict import Prediction
from earmark.sound.decoding import decode
from earmark.sound.trimming import trim
from earmark.taggers.tagger import Tagger
from tests.exporting.small_taggers import PREPARATION, RATE, TAGS, TRIM, Trained, baseline, sound

WEIGHTS = {"linear": 0.7, "steady": 0.3}


def metadata(**changes) -> dict:
    usual = {
        "tags": TAGS,
        "is_multi_label": False,
        "temperature": 0.6,
        "fold_mean": "arithmetic",
        "weights": WEIGHTS,
        "aggregation": {"linear": "mean", "steady": "mean"},
        "preparation": PREPARATION,
    }
    return usual | changes


def networks() -> dict[str, dict[str, Trained]]:
    return {
        "linear": {"0": baseline("mean"), "1": baseline("mean_max")},
        "steady": {"0": baseline("statistics")},
    }


def predicted(path: Path, rules: dict) -> dict[str, float]:
    waveform = np.asarray(decode(path, sample_rate=RATE).waveform)
    trimmed = np.asarray(trim(waveform, sample_rate=RATE, **TRIM).waveform)
    options = {"is_multi_label": rules["is_multi_label"]}
    members = {
        member: mean_over_folds(
            {fold: one.probabilities(trimmed)[np.newaxis] for fold, one in folds.items()},
            fold_mean=rules["fold_mean"],
            **options,
        )
        for member, folds in networks().items()
    }
    combined = combine(members, rules["weights"], **options)[0]
    prediction = Prediction.of(combined, rules, clip="a", n_crops=1)
    return dict(zip(prediction.tags, prediction.probabilities, strict=True))


def of_taggers(one: dict[str, dict[str, Trained]]) -> dict[str, dict[str, tuple[Tagger, None]]]:
    return {
        name: {fold: (trained.tagger, None) for fold, trained in folds.items()}
        for name, folds in one.items()
    }


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fold_mean": "geometric"},
        {"is_multi_label": True, "thresholds": dict.fromkeys(TAGS, 0.5)},
    ],
    ids=["one tag", "geometric", "several tags"],
)
def test_the_script_answers_as_predict_does(tmp_path, changes):
    rules, folder = metadata(**changes), tmp_path / "onnx"
    export_onnx(of_taggers(networks()), rules, folder, front_end="stft")
    clip = tmp_path / "a clip.wav"
    stereo = np.stack([sound(1.5) // 3, sound(1.5) // 5], axis=1)
    stereo[:6000] = 0  # what is trimmed
    soundfile.write(clip, stereo, RATE)
    command = [sys.executable, str(folder / "tag.py"), str(clip)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    found, expected = json.loads(result.stdout)["tags"], predicted(clip, rules)
    assert list(found) == list(expected)
    assert found == pytest.approx(expected, abs=1e-5)


def test_another_rate_is_refused_by_the_script(tmp_path):
    export_onnx(of_taggers(networks()), metadata(), tmp_path / "onnx", front_end="stft")
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
    rules = metadata(aggregation={"linear": "confident_crop", "steady": "mean"})
    infos = export_onnx(of_taggers(networks()), rules, tmp_path / "onnx", front_end="stft")
    notes = [line for line in lines(infos) if line.startswith("note")]
    assert len(notes) == 1
    assert "linear: " in notes[0]
    assert "confident crop" in notes[0]


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match=r"holds thesis\.txt; name a new folder"):
        export_onnx(of_taggers(networks()), metadata(), tmp_path, front_end="stft")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
