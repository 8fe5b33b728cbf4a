"""Recordings of hours: blocks give the bits of the whole, and memory does not grow with length."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.features import FeatureType, build
from earmark.features.extraction import extract
from earmark.sound.decoding import decode, decode_excerpts
from earmark.sound.excerpts import WHOLE, Decoded
from earmark.sound.samples import Resampler, as_float, as_int16, resample
from earmark.sound.trimming import trim
from earmark.sound.unusable import UnusableAudio
from earmark.spool import FileRows, Scratch
from tests.source_graph import ROOT
from tests.waveforms import noise

RATE = 16_000
LOGMEL = {"n_fft": 512, "hop_length": 160, "n_mels": 40, "f_min_hz": 0.0, "f_max_hz": 8000.0}
TRIM = {"top_db": 60.0, "min_seconds": 0.1}


def written(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    soundfile.write(path, samples, rate)
    return path


def waveform_of(decoded: Decoded | UnusableAudio) -> np.ndarray:
    assert isinstance(decoded, Decoded)
    return np.asarray(decoded.waveform)


@pytest.fixture
def in_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earmark.sound.reading._BLOCK_FRAMES", 997)
    monkeypatch.setattr("earmark.sound.trimming._BLOCK_SAMPLES", 5000)
    for module in ("spectrum", "logmel", "vggish"):
        monkeypatch.setattr(f"earmark.features.{module}.BLOCK_SAMPLES", 30_000)


@pytest.mark.parametrize("rates", [(48_000, 44_100), (44_100, 16_000), (8000, 44_100), (7, 7)])
@pytest.mark.parametrize("n_samples", [1, 2, 999, 48_000, 100_003])
def test_resampled_pieces_are_the_resampled_whole_to_the_bit(
    rates: tuple[int, int], n_samples: int
) -> None:
    whole, (from_hz, to_hz) = as_float(noise(n_samples)), rates
    expected = resample(whole, from_hz=from_hz, to_hz=to_hz)
    for size in (1009, 30_000, n_samples):
        resampler = Resampler(from_hz=from_hz, to_hz=to_hz)
        pieces = [resampler.push(whole[i : i + size]) for i in range(0, n_samples, size)]
        joined = np.concatenate([*pieces, resampler.finish()])
        np.testing.assert_array_equal(joined, expected)


@pytest.mark.parametrize("native_rate", [RATE, 22_050])
@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.usefixtures("in_small_blocks")
def test_a_recording_and_its_excerpts_by_blocks_are_those_at_once(
    tmp_path: Path, native_rate: int, n_channels: int
) -> None:
    channels = np.stack([noise(20_011, key=str(c)) for c in range(n_channels)], axis=1)
    path = written(tmp_path / "a.flac", channels, native_rate)
    nan = float("nan")
    # Overlapping, equal, within one block, over many, and in no order.
    spans = [(0.5, 0.6), WHOLE, (0.1, 0.9), (0.5, 0.6), (0.62, nan), (nan, 0.3), (0.5, 0.51)]
    seconds = len(channels) / native_rate
    bounds = [(0.0 if s != s else s, seconds if e != e else e) for s, e in spans]
    mono = channels[:, 0] if n_channels == 1 else as_float(channels).mean(axis=1)
    for memory_bytes in (1 << 24, 5000, 0):
        scratch = Scratch(tmp_path, memory_bytes=memory_bytes)
        excerpts = decode_excerpts(path, spans, sample_rate=RATE, scratch=scratch)
        for excerpt, (start, end) in zip(excerpts, bounds, strict=True):
            part = as_float(mono[round(start * native_rate) : round(end * native_rate)])
            expected = as_int16(resample(part, from_hz=native_rate, to_hz=RATE))
            np.testing.assert_array_equal(waveform_of(excerpt), expected)
            assert isinstance(excerpt, Decoded)
            assert excerpt.peak == np.abs(expected.astype(int)).max() / 32768
            assert excerpt.n_frames == len(part)


def test_shared_rows_are_few_in_memory_and_the_others_in_files_that_go_with_a_bad_end(
    tmp_path: Path,
) -> None:
    samples = noise(10 * RATE)
    path = written(tmp_path / "a.flac", samples)
    spans = [(float(n), n + 1.0) for n in range(10)]
    folder = tmp_path / "scratch"
    scratch = Scratch(folder, memory_bytes=3 * 2 * RATE, is_shared=True)
    excerpts = decode_excerpts(path, spans, sample_rate=RATE, scratch=scratch)
    in_files = [e.waveform for e in excerpts if isinstance(e, Decoded)][3:]
    assert all(isinstance(rows, FileRows) for rows in in_files)
    assert len(list(folder.iterdir())) == 7
    for excerpt, (start, end) in zip(excerpts, spans, strict=True):
        part = samples[int(start) * RATE : int(end) * RATE]
        np.testing.assert_array_equal(waveform_of(excerpt), part)
    for rows in in_files:
        assert isinstance(rows, FileRows)
        np.testing.assert_array_equal(np.concatenate(list(rows.blocks())), np.asarray(rows))
        rows.delete()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    cut = decode_excerpts(path, spans, sample_rate=RATE, scratch=Scratch(folder, is_shared=True))
    assert {getattr(one, "reason", "") for one in cut} == {"truncated"}
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("normalise", [True, False])
def test_trimming_by_blocks_is_trimming_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, normalise: bool
) -> None:
    for n_samples in (40_000, 5 * 512, 33_333, 5120 + 17):
        quiet = np.zeros(7000, np.int16)
        waveform = np.concatenate([quiet, noise(n_samples, level=500), quiet[:3001]])
        whole = trim(waveform, sample_rate=RATE, normalise=normalise, **TRIM)
        monkeypatch.setattr("earmark.sound.trimming._BLOCK_SAMPLES", 5000)
        scratch = Scratch(tmp_path, memory_bytes=0)
        piecewise = trim(waveform, sample_rate=RATE, normalise=normalise, scratch=scratch, **TRIM)
        monkeypatch.undo()
        np.testing.assert_array_equal(np.asarray(piecewise.waveform), np.asarray(whole.waveform))
        assert (piecewise.start, piecewise.sha256) == (whole.start, whole.sha256)
        assert whole.start > 0


FEATURES = [
    build("logmel", LOGMEL, sample_rate=RATE),
    build("logmel", LOGMEL | {"hop_length": 700, "n_fft": 400}, sample_rate=RATE),
    build("mfcc", LOGMEL | {"n_mfcc": 13}, sample_rate=RATE),
    build("waveform", {"target_hz": 11_025}, sample_rate=RATE),
    build("waveform", {"target_hz": RATE}, sample_rate=RATE),
    build("patches", {}, sample_rate=RATE),
    build("patches", {}, sample_rate=11_025),
]


@pytest.mark.parametrize("feature", FEATURES, ids=lambda f: f"{type(f).__name__}-{f.row_shape}")
@pytest.mark.parametrize("n_samples", [1, 300, 30_000, 29_999, 123_457, 2_000_003])
@pytest.mark.usefixtures("in_small_blocks")
def test_features_by_blocks_are_those_of_the_whole(
    tmp_path: Path, feature: FeatureType, n_samples: int
) -> None:
    waveform = noise(n_samples)
    whole = np.asarray(feature(as_float(waveform))).astype(feature.dtype)
    rows = extract(waveform, feature, scratch=Scratch(tmp_path, memory_bytes=1000))
    np.testing.assert_array_equal(np.asarray(rows), whole)


def test_a_wav_of_unknown_length_is_not_read_into_memory(tmp_path: Path) -> None:
    samples = noise(RATE)
    content = bytearray(written(tmp_path / "a.wav", samples).read_bytes())
    content[4:8] = content[40:44] = bytes(4)  # as a recorder leaves it that loses its power
    (tmp_path / "a.wav").write_bytes(content)
    np.testing.assert_array_equal(decode(tmp_path / "a.wav", sample_rate=RATE).waveform, samples)


PEAK = """
import json, sys
from pathlib import Path
import numpy as np
import earmark.features.logmel, earmark.features.spectrum, earmark.features.vggish
import earmark.sound.decoding, earmark.sound.reading, earmark.sound.trimming
from earmark.features import build
from earmark.features.extraction import extract
from earmark.processes import set_threads
from earmark.spool import Scratch

set_threads(1)
earmark.sound.reading._BLOCK_FRAMES = earmark.sound.trimming._BLOCK_SAMPLES = 1 << 18
for module in (earmark.features.logmel, earmark.features.spectrum, earmark.features.vggish):
    module.BLOCK_SAMPLES = 1 << 20
folder, logmel = Path(sys.argv[1]), json.loads(sys.argv[2])
options = {"top_db": 60.0, "min_seconds": 0.1, "normalise": True}
types = {"logmel": logmel, "waveform": {"target_hz": 16_000}, "patches": {}}
for name in sys.argv[3:]:
    scratch = Scratch(folder, memory_bytes=1 << 22)
    decoded = earmark.sound.decoding.decode(folder / name, sample_rate=22_050, scratch=scratch)
    waveform = np.asarray(decoded.waveform)
    trimmed = earmark.sound.trimming.trim(
        waveform, sample_rate=22_050, scratch=scratch, **options
    )
    features = [build(type_, options, sample_rate=22_050) for type_, options in types.items()]
    rows = [extract(np.asarray(trimmed.waveform), each, scratch=scratch) for each in features]
    spans = [(n * 10.0, n * 10 + 10.0) for n in range(6 * int(name[:-4]))]
    scratch = Scratch(folder / "scratch", memory_bytes=1 << 22, is_shared=True)
    excerpts = earmark.sound.decoding.decode_excerpts(
        folder / name, spans, sample_rate=22_050, scratch=scratch
    )
    assert all(excerpt.n_frames == 160_000 for excerpt in excerpts)
    peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
    print(json.dumps([int(peak) / 1024, *map(len, rows)]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_length_of_a_recording(tmp_path: Path) -> None:
    minute, minutes = noise(60 * RATE), (3, 18)
    for n in minutes:
        with soundfile.SoundFile(tmp_path / f"{n}.wav", "w", RATE, 1, subtype="PCM_16") as file:
            for _ in range(n):
                file.write(minute)
    options = json.dumps(LOGMEL | {"hop_length": 512})
    command = [sys.executable, "-c", PEAK, str(tmp_path), options, *(f"{n}.wav" for n in minutes)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    peaks = []
    for n, line in zip(minutes, done.stdout.splitlines(), strict=True):
        peak, _, *lengths = json.loads(line)
        assert lengths == [n * 60 * RATE, (n * 60 * 100 - 2) // 96]
        peaks.append(peak)
    # 15 minutes more are 40 MB of int16 at 22,050 Hz, decoded and trimmed, and 80 MB in floats.
    assert peaks[1] - peaks[0] < 40
