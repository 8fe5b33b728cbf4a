"""Excerpts sound like their clips, look like them, and have the same bytes each time."""

import io

import numpy as np
import pytest
import soundfile
from matplotlib.image import imread

from earmark.layout import Layout
from earmark.reports.excerpts import MAX_SECONDS, compressed, png, spectrogram, write_excerpts
from tests.reports.small_report import write_sound
from tests.stored_clips import store_clips

pytestmark = pytest.mark.usefixtures("threads_as_they_are")


def tone(hz: float, seconds: float, rate: int) -> np.ndarray:
    return (12_000 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(
        np.int16
    )


@pytest.mark.parametrize(("rate", "expected"), [(44_100, 24_000), (16_000, 16_000), (4_000, 8_000)])
def test_an_excerpt_is_the_sound_at_a_rate_that_mp3_knows(rate, expected):
    sound, played = soundfile.read(io.BytesIO(compressed(tone(1000, 1.0, rate), rate)))
    assert played == expected
    assert len(sound) / played == pytest.approx(1.0, abs=0.1)
    strongest = np.abs(np.fft.rfft(sound[: played // 2])).argmax() * 2
    assert strongest == pytest.approx(1000, abs=4)


@pytest.mark.parametrize("n", [1, 5, 700])
def test_a_few_samples_are_an_excerpt_too(n):
    waveform = np.full(n, 99, np.int16)
    assert soundfile.info(io.BytesIO(compressed(waveform, 44_100))).samplerate == 24_000
    assert spectrogram(waveform, 44_100).shape[0] == 64


def test_a_tone_is_a_bright_line_at_its_height_in_mel():
    rate = 32_000
    mel = [2595 * np.log10(1 + hz / 700) for hz in (300.0, 3000.0, 12_000.0, rate / 2)]
    for hz, at in zip((300.0, 3000.0, 12_000.0), mel, strict=False):
        levels = spectrogram(tone(hz, 1.0, rate), rate)
        assert levels.max() == 31
        row = levels.sum(axis=1).argmax()  # counted from the top
        assert 63 - row == pytest.approx(64 * at / mel[-1], abs=1.5)


def test_silence_before_a_sound_is_dark_and_a_long_clip_no_wider():
    rate = 16_000
    waveform = np.concatenate([np.zeros(5 * rate, np.int16), tone(500, 5.0, rate)])
    levels = spectrogram(waveform, rate)
    assert levels.shape == (64, 240)
    assert levels[:, :110].max() == 0
    assert levels[:, 130:].max(axis=0).min() > 25
    assert spectrogram(np.zeros(rate, np.int16), rate).max() == 0


def test_the_picture_has_a_palette_from_dark_to_bright():
    levels = np.arange(32, dtype=np.uint8)[np.newaxis].repeat(3, axis=0)
    picture = imread(io.BytesIO(png(levels)))
    assert picture.shape[:2] == (3, 32)
    brightness = picture[0, :, :3].sum(axis=1)
    assert (np.diff(brightness) > 0).all()
    assert (picture[0] == picture[2]).all()


def test_files_are_numbered_and_the_same_each_time(tmp_path):
    layout = Layout(tmp_path)
    names = ["../../x", "<b>", 'a"b', "c/d e"]
    write_sound(layout, names)
    wanted = ['a"b', "not there", "../../x"]
    found = []
    for workers in (1, 2):
        folder = tmp_path / f"out{workers}"
        excerpts = write_excerpts(layout, wanted, folder, workers=workers)
        assert {clip: one.number for clip, one in excerpts.items()} == {'a"b': 0, "../../x": 1}
        assert excerpts["../../x"].seconds == excerpts["../../x"].clip_seconds == 0.3
        found.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert sorted(found[0]) == ["0000.mp3", "0000.png", "0001.mp3", "0001.png"]
    assert found[0] == found[1]
    assert found[0]["0000.mp3"] != found[0]["0001.mp3"]


def test_of_a_long_clip_the_beginning_is_taken_and_an_empty_one_has_none(tmp_path):
    rate = 8_000
    layout = Layout(tmp_path)
    waveforms = {"long": tone(440, 25.0, rate), "empty": np.zeros(0, np.int16)}
    store_clips(layout, waveforms, rate=rate)
    excerpts = write_excerpts(layout, ["empty", "long"], tmp_path / "o", workers=1)
    assert set(excerpts) == {"long"}
    assert excerpts["long"][1:] == (MAX_SECONDS, 25.0)
    info = soundfile.info(tmp_path / "o/0000.mp3")
    assert info.duration == pytest.approx(MAX_SECONDS, abs=0.2)


def test_without_trimmed_sound_there_is_an_empty_folder(tmp_path):
    assert write_excerpts(Layout(tmp_path), ["a"], tmp_path / "sound", workers=1) == {}
    assert list((tmp_path / "sound").iterdir()) == []
