"""What works, but probably not as it is meant, is one line of warning."""

import pytest

from earmark import features
from earmark.layout import Layout
from earmark.params import Network
from earmark.records import write_json
from earmark.settings import model_validation
from earmark.settings.segment_fit import segment_refusal
from earmark.settings.warning_lines import header_warnings, warnings_of
from tests.corpora.corpus_trees import record
from tests.params.raw_params import DENSENET, SAMPLECNN, changed, sound

FOLDER = {"corpus.adapter": "folder", "corpus.root": "recordings", "demo": {}}


def warned(demo, tmp_path, changes, *, params_only=True):
    params = sound(changed(demo, changes))
    return warnings_of(params, Layout(tmp_path), params_only=params_only)


def test_the_demo_has_nothing_to_warn_of(demo, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert warned(demo, tmp_path, {}, params_only=False) == []


@pytest.mark.parametrize("key", ["threads", "workers"])
def test_more_processes_than_processors_are_warned_of(demo, tmp_path, monkeypatch, key):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    (warning,) = warned(demo, tmp_path, {f"runtime.{key}": 64})
    assert warning.startswith(f"params.yaml: runtime.{key}: 64, but this machine has 2 processors")


def test_empty_mel_filters_are_warned_of(demo, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    (warning,) = warned(demo, tmp_path, {"features.logmel.n_mels": 512})
    assert "features.logmel.n_mels: " in warning
    assert "of 512 mel filters hold no bin of the spectrum; lower it or raise n_fft" in warning


def test_a_batch_above_this_machines_memory_is_warned_of(demo, tmp_path, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(model_validation, "machine_bytes", lambda: 1e9)
    (warning,) = warned(demo, tmp_path, {f"{SAMPLECNN}.training": {"batch_size": 4096}})
    assert warning.startswith(f"params.yaml: {SAMPLECNN}: training takes about ")
    assert warning.endswith("this machine has 1.0 GB; lower batch_size")


def test_segments_longer_than_most_clips_are_warned_of_with_their_number(demo, tmp_path):
    record(tmp_path / "recordings", "cat/1.wav", "dog/1.wav", "dog/2.wav", seconds=1.5)
    record(tmp_path / "recordings", "cat/2.wav", seconds=9.0)
    (tmp_path / "recordings" / "dog" / "broken.wav").write_bytes(b"")  # decoding reports it
    others: dict[str, object] = {"models.wave16k": {}, "models.embedding": {}, "extractors": {}}

    def lines(**input_: object) -> list[str]:
        raw = changed(demo, {**FOLDER, **others, f"{DENSENET}.input": input_})
        return header_warnings(sound(raw), Layout(tmp_path))

    unread, warning = lines(segment_seconds=1.0, lengths=[1.0, 4.0])
    assert warning.startswith(f"params.yaml: {DENSENET}.input: the segment has 4 s, and 3 of 4 ")
    assert unread == (
        "corpus: 1 of 5 headers looked at cannot be read, such as that of dog/broken.wav; "
        "`dvc repro decode` lists all"
    )
    (tmp_path / "recordings" / "dog" / "broken.wav").unlink()
    assert lines(segment_seconds=1.5) == []
    (tmp_path / "recordings").rename(tmp_path / "elsewhere")
    assert lines(segment_seconds=4.0) == []


def test_a_limit_that_the_last_run_does_not_keep_is_told(demo, tmp_path):
    write_json(tmp_path / "metrics" / "decode.json", {"clips": 100, "quarantined": 9})
    told = warned(demo, tmp_path, {"corpus.max_quarantined": 0.05}, params_only=False)
    (warning,) = [line for line in told if "max_quarantined" in line]
    assert "0.05, but the last run left out 9 of 100 clips; to apply the limit run " in warning
    told = warned(demo, tmp_path, {"corpus.max_quarantined": 0.1}, params_only=False)
    assert not [line for line in told if "max_quarantined" in line]


NETWORK = """
from torch import nn
from earmark.networks import Network


class Own(Network):
    feature_types = frozenset({"logmel"})

    def __init__(self, n_tags, *, bands=80):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, (9, bands))  # no check of its own
        self.head = nn.Linear(4, n_tags)

    def forward_features(self, x):
        return self.conv(x.unsqueeze(1)).amax((2, 3))  # (B, 4)
"""


def test_a_segment_too_short_for_torch_is_told_in_frames(demo, tmp_path, monkeypatch):
    (tmp_path / "short_segments").mkdir()
    (tmp_path / "short_segments" / "net.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    logmel = features.build(
        "logmel",
        {name: value for name, value in demo["features"]["logmel"].items() if name != "type"},
        sample_rate=44_100,
    )
    network = Network.model_validate({"name": "short_segments.net:Own"})
    assert segment_refusal(network, logmel, 9) == ""
    assert segment_refusal(network, logmel, 2) == (
        "2 frames are too short for short_segments.net:Own, which needs at least 9 of them; "
        "make the segment longer"
    )
    wide = Network.model_validate({"name": "short_segments.net:Own", "bands": 81})
    assert "cannot read segments of 9 x 80; change its options" in segment_refusal(wide, logmel, 9)
