"""Decoding: every format that must work, and every way in which a file may be unusable."""

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.sound.decoding import decode, decode_excerpts
from earmark.sound.excerpts import Decoded
from earmark.sound.samples import as_float, as_int16, resample, write_float
from earmark.sound.unusable import REASONS, UnusableAudio
from tests.waveforms import noise

RATE = 44_100


def written(path: Path, samples: np.ndarray, rate: int = RATE, **options: str) -> Path:
    soundfile.write(path, samples, rate, **options)
    return path


def reason_of(path: Path) -> str:
    with pytest.raises(UnusableAudio) as caught:
        decode(path, sample_rate=RATE)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.reason in REASONS
    return caught.value.reason


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff"])
def test_sixteen_bit_samples_come_back_as_they_are(tmp_path: Path, suffix: str) -> None:
    samples = noise()
    decoded = decode(written(tmp_path / f"a.{suffix}", samples), sample_rate=RATE)
    np.testing.assert_array_equal(decoded.waveform, samples)
    assert decoded.waveform.dtype == np.int16
    assert (decoded.native_sample_rate, decoded.channels, decoded.n_frames) == (RATE, 1, 4410)
    assert decoded.duration_seconds == pytest.approx(0.1)
    assert decoded.peak == np.abs(samples.astype(int)).max() / 32768


@pytest.mark.parametrize(
    ("subtype", "error"),
    [("PCM_U8", 256), ("PCM_24", 1), ("PCM_32", 1), ("FLOAT", 1), ("DOUBLE", 1), ("ULAW", 600)],
)
def test_other_widths_of_wav_agree_to_their_precision(
    tmp_path: Path, subtype: str, error: int
) -> None:
    samples = noise()
    path = written(tmp_path / "a.wav", samples / 32768, subtype=subtype)
    decoded = decode(path, sample_rate=RATE)
    assert np.abs(decoded.waveform.astype(int) - samples).max() <= error


@pytest.mark.parametrize("suffix", ["ogg", "mp3"])
def test_lossy_files_keep_tone_and_length(tmp_path: Path, suffix: str) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    decoded = decode(written(tmp_path / f"a.{suffix}", tone), sample_rate=RATE)
    spectrum = np.abs(np.fft.rfft(decoded.waveform))
    assert len(decoded.waveform) == RATE
    assert spectrum.argmax() == 1000


def test_equal_sound_in_other_containers_has_an_equal_hash(tmp_path: Path) -> None:
    samples = noise()
    wav = decode(written(tmp_path / "a.wav", samples), sample_rate=RATE)
    flac = decode(written(tmp_path / "a.flac", samples), sample_rate=RATE)
    other = decode(written(tmp_path / "b.wav", noise(key="other")), sample_rate=RATE)
    assert wav.sha256 == flac.sha256 != other.sha256


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_channels_are_averaged(tmp_path: Path, subtype: str) -> None:
    channels = np.stack([noise(key=f"channel {c}") for c in range(3)], axis=1)
    path = written(tmp_path / "a.wav", as_float(channels), subtype=subtype)
    decoded = decode(path, sample_rate=RATE)
    expected = np.rint(channels.astype(float).mean(axis=1))
    assert decoded.channels == 3
    assert np.abs(decoded.waveform - expected).max() <= 1


def test_other_rates_are_resampled_without_alias(tmp_path: Path) -> None:
    time = np.arange(48_000) / 48_000
    audible = 0.5 * np.sin(2 * np.pi * 1000 * time)
    too_high = 0.5 * np.sin(2 * np.pi * 12_000 * time)
    decoded = decode(written(tmp_path / "a.wav", audible + too_high, 48_000), sample_rate=16_000)
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    error = as_float(decoded.waveform) - expected
    assert len(decoded.waveform) == 16_000
    assert decoded.native_sample_rate == 48_000
    assert np.abs(error[500:-500]).max() < 1e-4


def test_loud_floats_are_clipped_not_wrapped(tmp_path: Path) -> None:
    samples = np.tile([1.5, -1.5, 0.5, 1.0], 200)
    decoded = decode(written(tmp_path / "a.wav", samples, subtype="FLOAT"), sample_rate=RATE)
    assert decoded.waveform[:4].tolist() == [32767, -32768, 16384, 32767]
    assert (decoded.peak, decoded.gain) == (1, 1)


def test_floats_are_rounded_to_the_nearest() -> None:
    values = np.array([0.6, -0.6, 0.4, -1.4, 32766.6], np.float32) / 32768
    assert as_int16(values.astype(np.float32)).tolist() == [1, -1, 0, -1, 32767]


def test_int16_survives_float_and_back() -> None:
    every_value = np.arange(-32768, 32768).astype(np.int16)
    np.testing.assert_array_equal(as_int16(as_float(every_value)), every_value)


def test_resampling_to_the_same_rate_changes_nothing() -> None:
    waveform = as_float(noise())
    np.testing.assert_array_equal(resample(waveform, from_hz=RATE, to_hz=RATE), waveform)


# What cannot be used.


def test_absent_file_and_dangling_link_are_missing(tmp_path: Path) -> None:
    (tmp_path / "link.wav").symlink_to(tmp_path / "gone.wav")
    assert reason_of(tmp_path / "gone.wav") == "missing"
    assert reason_of(tmp_path / "link.wav") == "missing"


def test_files_without_samples_are_empty(tmp_path: Path) -> None:
    (tmp_path / "none.wav").write_bytes(b"")
    header_only = written(tmp_path / "header.wav", noise(0))
    assert header_only.stat().st_size == 44
    assert reason_of(tmp_path / "none.wav") == "empty"
    assert reason_of(header_only) == "empty"
    assert reason_of(written(tmp_path / "a.flac", noise(0))) == "empty"


@pytest.mark.parametrize(
    "content", [b"no sound at all\n" * 100, b"RIFF", b"\x00" * 5000, b"fLaC" + b"\xff" * 100]
)
@pytest.mark.parametrize("name", ["a.wav", "a.txt", "a.raw", "a.mp3"])
def test_what_is_not_audio_is_unusable(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert reason_of(tmp_path / name) == ("truncated" if content == b"RIFF" else "unreadable")


def test_folder_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.wav").mkdir()
    assert reason_of(tmp_path / "a.wav") == "unreadable"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_float_files_with_nan_or_infinity_are_told(
    tmp_path: Path, bad: float, n_channels: int
) -> None:
    samples = np.tile(as_float(noise())[:, None], n_channels)
    samples[100, 0] = bad
    assert reason_of(written(tmp_path / "a.wav", samples, subtype="FLOAT")) == "not_finite"


def test_sound_too_loud_for_floats_to_average_is_told(tmp_path: Path) -> None:
    samples = np.full((1000, 2), 3e38, np.float32)
    assert reason_of(written(tmp_path / "a.wav", samples, subtype="FLOAT")) == "not_finite"


def test_rate_of_no_recording_is_unreadable(tmp_path: Path) -> None:
    assert reason_of(written(tmp_path / "a.wav", noise(), rate=1)) == "unreadable"


def test_zeros_are_silent_even_if_only_after_averaging(tmp_path: Path) -> None:
    opposed = np.stack([noise(), -noise()], axis=1)
    assert reason_of(written(tmp_path / "a.wav", np.zeros(1000, np.int16))) == "silent"
    assert reason_of(written(tmp_path / "b.wav", opposed)) == "silent"


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_file_cut_anywhere_is_truncated(tmp_path: Path, suffix: str, share: float) -> None:
    whole = written(tmp_path / f"whole.{suffix}", as_float(noise(2 * RATE))).read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(whole[: int(len(whole) * share)])
    assert reason_of(cut) == "truncated"


def test_wav_cut_within_its_header_is_truncated(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.wav", noise()).read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[:30])
    assert reason_of(tmp_path / "cut.wav") == "truncated"


def test_ogg_cut_at_the_edge_of_a_page_is_truncated(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole.ogg", as_float(noise(10 * RATE))).read_bytes()
    (tmp_path / "cut.ogg").write_bytes(whole[: whole.rindex(b"OggS")])
    assert reason_of(tmp_path / "cut.ogg") == "truncated"


def test_cut_mp3_whose_first_frame_counts_no_bytes_is_read_as_far_as_it_goes(
    tmp_path: Path,
) -> None:
    whole = written(tmp_path / "whole.mp3", as_float(noise(2 * RATE))).read_bytes()
    (tmp_path / "cut.mp3").write_bytes(whole[: len(whole) // 2].replace(b"Xing", b"gone"))
    decoded = decode(tmp_path / "cut.mp3", sample_rate=RATE)
    assert 0.8 * RATE < len(decoded.waveform) < 1.2 * RATE


def test_unusable_audio_crosses_processes(tmp_path: Path) -> None:
    with pytest.raises(UnusableAudio) as caught:
        decode(tmp_path / "gone.wav", sample_rate=RATE)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.reason) == (str(caught.value), "missing")


# Odd files that are whole.


def wav_bytes(
    samples: np.ndarray,
    *,
    before: bytes = b"",
    after: bytes = b"",
    data_bytes: int | None = None,
    riff_bytes: int | None = None,
    order: str = "<",
) -> bytes:
    content = samples.astype(f"{order}i2").tobytes()
    fmt = struct.pack(f"{order}HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16)
    chunk = f"{order}4sI"
    n_data = len(content) if data_bytes is None else data_bytes
    body = b"WAVE" + before + struct.pack(chunk, b"fmt ", 16) + fmt
    body += struct.pack(chunk, b"data", n_data) + content + after
    magic = b"RIFF" if order == "<" else b"RIFX"
    return struct.pack(chunk, magic, len(body) if riff_bytes is None else riff_bytes) + body


@pytest.mark.parametrize(
    "options",
    [
        {"before": b"junk" + struct.pack("<I", 5) + b"12345\x00"},
        {"after": b"LIST" + struct.pack("<I", 4) + b"INFO"},
        {"after": b"trailing rubbish"},
        {"order": ">"},
        {"data_bytes": 0xFFFFFFFF, "riff_bytes": 0xFFFFFFFF},
        {"data_bytes": 0x7FFFF000, "riff_bytes": 0x7FFFF024},
        {"data_bytes": 0, "riff_bytes": 0},
        {"data_bytes": 0, "riff_bytes": 36},
        {"data_bytes": 0, "riff_bytes": 36, "order": ">"},
        {"data_bytes": 2 * 4410 + 1},
    ],
    ids=str,
)
def test_odd_wav_headers_lose_no_samples(tmp_path: Path, options: dict[str, object]) -> None:
    samples = noise()
    (tmp_path / "a.wav").write_bytes(wav_bytes(samples, **options))  # type: ignore[arg-type]
    decoded = decode(tmp_path / "a.wav", sample_rate=RATE)
    np.testing.assert_array_equal(decoded.waveform[:4410], samples)
    assert len(decoded.waveform) == 4410


def test_wav_with_a_padded_chunk_is_checked_as_well(tmp_path: Path) -> None:
    before = b"junk" + struct.pack("<I", 5) + b"12345\x00"
    (tmp_path / "a.wav").write_bytes(wav_bytes(noise(), before=before, riff_bytes=100)[:-500])
    assert reason_of(tmp_path / "a.wav") == "truncated"


def test_finished_wav_with_zero_samples_is_empty_whatever_follows(tmp_path: Path) -> None:
    after = b"LIST" + struct.pack("<I", 4) + b"INFO"
    (tmp_path / "a.wav").write_bytes(wav_bytes(noise(0), after=after))
    assert reason_of(tmp_path / "a.wav") == "empty"


@pytest.mark.parametrize("container", ["WAVEX", "RF64"])
def test_extensible_and_long_wav_files_are_read_and_checked(tmp_path: Path, container: str) -> None:
    samples = noise()
    path = written(tmp_path / "a.wav", samples, format=container)
    np.testing.assert_array_equal(decode(path, sample_rate=RATE).waveform, samples)
    path.write_bytes(path.read_bytes()[:-1000])
    assert reason_of(path) == "truncated"


def test_flac_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    samples = noise(3 * RATE)
    content = bytearray(written(tmp_path / "a.flac", samples).read_bytes())
    content[21] &= 0xF0  # STREAMINFO's 36 bits of total samples
    content[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(content)
    np.testing.assert_array_equal(decode(tmp_path / "a.flac", sample_rate=RATE).waveform, samples)


def test_recording_longer_than_one_block_is_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earmark.sound.reading._BLOCK_FRAMES", 1000)
    samples = noise()
    path = written(tmp_path / "a.wav", samples)
    np.testing.assert_array_equal(decode(path, sample_rate=RATE).waveform, samples)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_an_excerpt_is_what_a_file_of_that_part_would_be(tmp_path: Path, suffix: str) -> None:
    samples = noise(3 * RATE)
    path = written(tmp_path / f"a.{suffix}", samples)
    nan = float("nan")
    spans = [(0.5, 1.25), (2.0, nan), (nan, 0.1), (nan, nan)]
    bounds = [(0.5, 1.25), (2.0, 3.0), (0.0, 0.1), (0.0, 3.0)]
    for rate in (RATE, 16000):
        for excerpt, (start, end) in zip(
            decode_excerpts(path, spans, sample_rate=rate), bounds, strict=True
        ):
            part = samples[round(start * RATE) : round(end * RATE)]
            alone = decode(written(tmp_path / "part.wav", part), sample_rate=rate)
            assert isinstance(excerpt, Decoded)
            np.testing.assert_array_equal(excerpt.waveform, alone.waveform)
            assert excerpt.sha256 == alone.sha256
            assert excerpt.duration_seconds == pytest.approx(end - start)


def test_a_file_is_read_once_for_all_of_its_excerpts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "a.wav", noise(RATE))
    opened = []
    whole = soundfile.SoundFile

    def counted(*args: object, **options: object) -> soundfile.SoundFile:
        opened.append(args)
        return whole(*args, **options)

    monkeypatch.setattr(soundfile, "SoundFile", counted)
    decode_excerpts(path, [(0.1 * n, 0.1 * n + 0.1) for n in range(10)], sample_rate=RATE)
    assert len(opened) == 1


def test_an_excerpt_beyond_the_end_says_where_the_end_is(tmp_path: Path) -> None:
    path = written(tmp_path / "a.wav", noise(RATE))
    spans = [(0.5, 1.5), (1.0, float("nan")), (3.0, 4.0), (0.5, 1.005), (0.0, 1.0)]
    excerpts = decode_excerpts(path, spans, sample_rate=RATE)
    assert [getattr(one, "reason", "") for one in excerpts] == ["beyond_end"] * 3 + ["", ""]
    assert str(excerpts[0]).startswith("a.wav: it is 1.000 s long, its excerpt 0.500 to 1.500 s; ")
    rounded = excerpts[3]
    assert isinstance(rounded, Decoded)
    assert rounded.n_frames == RATE // 2  # to the end: tables round their times


def test_a_bad_excerpt_and_a_bad_file_do_not_raise(tmp_path: Path) -> None:
    samples = noise(RATE)
    samples[: RATE // 2] = 0
    path = written(tmp_path / "a.wav", samples)
    silent, loud = decode_excerpts(path, [(0.0, 0.4), (0.5, 1.0)], sample_rate=RATE)
    assert isinstance(silent, UnusableAudio)
    assert silent.reason == "silent"
    assert isinstance(loud, Decoded)
    gone = decode_excerpts(tmp_path / "gone.wav", [(0.0, 0.4), (0.5, 1.0)], sample_rate=RATE)
    assert [getattr(one, "reason", "") for one in gone] == ["missing", "missing"]


def test_samples_are_written_as_the_floats_that_they_stand_for() -> None:
    every_value = np.arange(-32768, 32768).astype(np.int16)
    for waveform in (every_value, as_float(every_value)):
        written_ = np.full(len(every_value), np.nan, np.float32)
        write_float(waveform, written_)
        np.testing.assert_array_equal(written_, as_float(every_value))
