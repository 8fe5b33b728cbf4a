"""Recordings that are none, that lie about themselves or that hold hardly any sound."""

import os
import signal
import socket
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.sound.decoding import decode, decode_excerpts
from earmark.sound.recordings import files_below, name_of, path_of
from earmark.sound.samples import as_float
from earmark.sound.unusable import UnusableAudio
from tests.waveforms import noise, tone

RATE = 44_100


@pytest.fixture(autouse=True)
def _no_hanging() -> Iterator[None]:
    """A read that waits for ever fails."""

    def fail(*_: object) -> None:
        raise TimeoutError("hung for 20 s")

    signal.signal(signal.SIGALRM, fail)
    signal.alarm(20)
    yield
    signal.alarm(0)


def refused(path: Path) -> tuple[str, str]:
    """The reason, and the message without the file's name; it is one line."""
    with pytest.raises(UnusableAudio) as caught:
        decode(path, sample_rate=RATE)
    message = str(caught.value)
    assert message.isprintable()
    assert message.startswith(f"{name_of(path.name)}: ")
    return caught.value.reason, message.removeprefix(f"{name_of(path.name)}: ")


def test_a_pipe_is_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    assert refused(tmp_path / "a.wav") == ("unreadable", "is a pipe, not a file; leave it out")


def test_sockets_devices_and_folders_are_told(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.wav")
        assert refused(Path("socket.wav"))[1].startswith("is a socket, not a file")
    for device in ("/dev/zero", "/dev/random", "/dev/null"):
        link = tmp_path / f"{Path(device).name}.wav"
        link.symlink_to(device)
        assert refused(link)[1].startswith("is a device, not a file")
    (tmp_path / "folder.wav").mkdir()
    assert refused(tmp_path / "folder.wav")[1].startswith("is a folder, not a file")


def test_a_link_to_itself_and_a_file_of_the_kernel_end_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.wav").symlink_to("a.wav")
    (tmp_path / "b.wav").symlink_to("/proc/kmsg")  # waits for messages
    reason, line = refused(tmp_path / "a.wav")
    assert (reason, line.endswith("; the link leads to itself: leave it out")) == (
        "unreadable",
        True,
    )
    assert refused(tmp_path / "b.wav")[0] in ("empty", "missing")


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b"<!DOCTYPE html>\n<title>404</title>", "is a web page; fetch"),
        (b"\xef\xbb\xbf\n <HTML lang=en>", "is a web page; fetch"),
        (b'<?xml version="1.0"?><Error/>', "is an XML text"),
        (b'{"error": "rate limit"}', "is a json text"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of git-lfs; run `git lfs"),
        (b"/annex/objects/SHA256E-s0--1.wav\n", "is a pointer of git-annex"),
        (b"outs:\n- md5: 12\n  path: a.wav\n", "is a pointer of DVC; run `dvc pull`"),
        (b"no sound at all\n" * 9, "is a text"),
        (b"\x1f\x8b\x08" + bytes(99), "is a gzip archive; unpack"),
        (b"\x00\x00\x00 ftypM4A " + bytes(99), "is an mp4 or m4a"),
        (b"\x1aE\xdf\xa3" + bytes(99), "is a webm"),
        (b"\x00\x05\x16\x07" + bytes(99), "holds a Mac's notes"),
        (bytes(5000), "holds nothing but zeros"),
    ],
)
@pytest.mark.parametrize("name", ["a.wav", "a.mp3"])
def test_what_has_the_name_of_a_recording_is_told(
    tmp_path: Path, name: str, content: bytes, finding: str
) -> None:
    (tmp_path / name).write_bytes(content)
    reason, message = refused(tmp_path / name)
    assert reason == "unreadable"
    assert message.startswith(finding)


def test_a_zip_is_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.wav", "w") as archive:
        archive.writestr("inside.wav", bytes(99))
    assert refused(tmp_path / "a.wav")[1].startswith("is a zip archive; unpack it")


@pytest.mark.parametrize("format", ["AIFF", "AU", "CAF", "W64", "NIST", "MP3"])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_headers_that_promise_more_than_there_is_are_truncated(
    tmp_path: Path, format: str, share: float
) -> None:
    path = tmp_path / "a.sound"
    soundfile.write(path, as_float(noise(2 * RATE)), RATE, format=format)
    assert len(decode(path, sample_rate=RATE).waveform) == 2 * RATE
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert refused(path)[0] == "truncated"


def test_an_mp3_behind_a_tag_is_checked_as_well(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    soundfile.write(path, as_float(noise(2 * RATE)), RATE)
    whole = b"ID3\x03\x00\x00\x00\x00\x01\x00" + bytes(128) + path.read_bytes()
    path.write_bytes(whole + b"TAG" + bytes(125))
    assert len(decode(path, sample_rate=RATE).waveform) == 2 * RATE
    path.write_bytes(whole[: len(whole) // 2])
    assert refused(path)[0] == "truncated"


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_an_mp3_of_variable_rate_that_does_not_tell_its_length_is_read_whole(
    tmp_path: Path, rate: int, n_channels: int
) -> None:
    samples = np.tile(as_float(noise(3 * rate))[:, None], n_channels)
    samples[:rate] *= 0.001  # libsndfile takes the rate of the first frame for that of all
    path = tmp_path / "a.mp3"
    soundfile.write(path, samples, rate, bitrate_mode="VARIABLE")
    content = path.read_bytes().replace(b"Xing", bytes(4)).replace(b"Info", bytes(4))
    path.write_bytes(b"ID3\x03\x00\x00\x00\x00\x01\x00" + bytes(128) + content)
    assert soundfile.info(path).frames < 2.6 * rate
    assert decode(path, sample_rate=rate).n_frames == pytest.approx(3 * rate, abs=3500)


@pytest.mark.parametrize(("hz", "bound"), [(999, "below 1000"), (2**31 - 1, "above 10000000")])
def test_a_rate_that_no_recording_has_is_told(tmp_path: Path, hz: int, bound: str) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(), RATE)
    content = bytearray(path.read_bytes())
    content[24:28] = hz.to_bytes(4, "little")
    path.write_bytes(content)
    assert refused(path)[1].startswith(f"its header says {hz} Hz, {bound} Hz; fetch or export")


def test_an_au_written_into_a_pipe_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.au"
    soundfile.write(path, noise(), RATE)
    content = bytearray(path.read_bytes())
    content[8:12] = b"\xff" * 4  # the length was not known
    path.write_bytes(content)
    np.testing.assert_array_equal(decode(path, sample_rate=RATE).waveform, noise())


def test_an_ogg_with_a_hole_or_a_second_file_in_it_is_truncated(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    soundfile.write(path, as_float(noise(2 * RATE)), RATE)
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes(200) + whole[middle + 200 :])
    assert refused(path)[0] == "truncated"
    path.write_bytes(whole + whole)
    reason, message = refused(path)
    assert reason == "truncated"
    assert message.startswith("it is several ogg files in a row")


@pytest.mark.parametrize("n_bytes", [1, 16, 300])
@pytest.mark.parametrize("subtype", ["OPUS", "VORBIS"])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9])
def test_a_damaged_page_of_an_ogg_is_told(
    tmp_path: Path, n_bytes: int, subtype: str, share: float
) -> None:
    path = tmp_path / "a.ogg"
    soundfile.write(path, as_float(noise(96_000)), 48_000, format="OGG", subtype=subtype)
    whole = path.read_bytes()
    path.write_bytes(whole + b"TAG" + bytes(125))
    assert decode(path, sample_rate=48_000).n_frames == 96_000
    at = 30 + int(share * len(whole))
    damaged = bytes(byte ^ 0x55 for byte in whole[at : at + n_bytes])
    path.write_bytes(whole[:at] + damaged + whole[at + n_bytes :])
    reason, message = refused(path)
    assert reason == "truncated"
    assert message.startswith("it is damaged ")
    assert message.endswith("; fetch or export it again, or leave it out")


@pytest.mark.parametrize(
    "between", [b"", b"TAG" + bytes(125), b"ID3\3\0\0\0\0\x40\0" + bytes(8192)]
)
def test_mp3s_in_a_row_are_not_decoded_as_the_first_alone(tmp_path: Path, between: bytes) -> None:
    path = tmp_path / "a.mp3"
    soundfile.write(path, as_float(noise(RATE)), RATE)
    whole = path.read_bytes()
    path.write_bytes(whole + b"APETAGEX" + bytes(5000) + b"TAG" + bytes(125))
    assert decode(path, sample_rate=RATE).n_frames == RATE
    path.write_bytes(whole + between + whole)
    reason, message = refused(path)
    assert reason == "truncated"
    assert message.startswith("it is several mp3 files in a row")


@pytest.mark.parametrize(
    ("field", "value"), [(22, b"\xff\xff"), (22, b"\x00\x00"), (24, bytes(4)), (34, bytes(2))]
)
def test_impossible_headers_are_refused_at_once(tmp_path: Path, field: int, value: bytes) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(), RATE)
    content = bytearray(path.read_bytes())
    content[field : field + len(value)] = value  # channels, rate, bits
    path.write_bytes(content)
    assert refused(path)[0] == "unreadable"


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE", "PCM_24", "PCM_32"])
def test_a_recording_at_minus_100_db_is_amplified_not_silent(tmp_path: Path, subtype: str) -> None:
    quiet = tone(440, seconds=0.5, rate=RATE, level=1e-5)
    path = tmp_path / "a.wav"
    soundfile.write(path, quiet, RATE, subtype=subtype)
    decoded = decode(path, sample_rate=RATE)
    assert decoded.gain == 2.0**15
    assert decoded.peak == pytest.approx(1e-5, rel=0.02)
    error = decoded.waveform / 32768 - quiet * decoded.gain
    step = {"PCM_24": 2.0**-23, "PCM_32": 2.0**-31}.get(subtype, 0)  # of the file
    assert np.abs(error).max() <= decoded.gain * step + 2.0**-15  # of int16


def test_a_quiet_excerpt_and_a_resampled_recording_are_amplified_too(tmp_path: Path) -> None:
    sound = tone(440, seconds=1.0, rate=48_000)
    sound[:24_000] *= 1e-5
    soundfile.write(tmp_path / "a.wav", sound, 48_000, subtype="FLOAT")
    quiet, loud = decode_excerpts(tmp_path / "a.wav", [(0.0, 0.4), (0.6, 1.0)], sample_rate=RATE)
    assert not isinstance(quiet, UnusableAudio)
    assert not isinstance(loud, UnusableAudio)
    assert quiet.gain > 1 == loud.gain
    assert np.abs(quiet.waveform.astype(int)).max() > 8000


def test_sixteen_bits_at_the_working_rate_are_never_amplified(tmp_path: Path) -> None:
    samples = np.tile(np.array([0, 1, 0, -1], np.int16), 500)
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    decoded = decode(tmp_path / "a.wav", sample_rate=RATE)
    assert decoded.gain == 1
    np.testing.assert_array_equal(decoded.waveform, samples)


def test_floats_on_the_scale_of_integers_are_divided_not_clipped(tmp_path: Path) -> None:
    samples = noise(RATE).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    decoded = decode(tmp_path / "a.wav", sample_rate=RATE)
    assert decoded.peak == pytest.approx(np.abs(samples).max(), rel=1e-3)
    np.testing.assert_allclose(decoded.waveform / decoded.gain / 32768, samples, atol=2)


@pytest.mark.parametrize(
    ("level", "finding"),
    [
        (np.zeros(RATE), "every sample is zero"),
        (np.full(RATE, 0.5), "every sample is the same"),
        (1e-9 * np.sin(np.arange(RATE)), "no sample reaches the smallest step of 24 bits"),
        (1e-40 * np.sin(np.arange(RATE)), "no sample reaches the smallest step of 24 bits"),
    ],
)
def test_no_sound_is_silent_at_any_level(tmp_path: Path, level: np.ndarray, finding: str) -> None:
    soundfile.write(tmp_path / "a.wav", level.astype(np.float32), RATE, subtype="FLOAT")
    reason, message = refused(tmp_path / "a.wav")
    assert reason == "silent"
    assert message.startswith(finding)


@pytest.mark.parametrize("n_samples", [1, 2, 100, 440])
def test_less_than_10_ms_is_too_short(tmp_path: Path, n_samples: int) -> None:
    soundfile.write(tmp_path / "a.wav", noise(n_samples), RATE)
    reason, message = refused(tmp_path / "a.wav")
    assert reason == "too_short"
    assert message.startswith(f"is {1000 * n_samples / RATE:.3g} ms long, below 10 ms; ")
    soundfile.write(tmp_path / "b.wav", noise(441), RATE)
    assert len(decode(tmp_path / "b.wav", sample_rate=RATE).waveform) == 441
    soundfile.write(tmp_path / "c.wav", noise(RATE), RATE)
    (part,) = decode_excerpts(tmp_path / "c.wav", [(0.5, 0.505)], sample_rate=RATE)
    assert getattr(part, "reason", "") == "too_short"
    assert str(part).endswith("; widen start_seconds and end_seconds, or leave it out")


ODD_NAMES = [
    *(
        b"caf\xe9.wav",
        b"\xff\xfe.wav",
        b"new\nline.wav",
        b"tab\t.wav",
        b'"quoted",\'.wav',
        b"-x.wav",
    ),
    *(b" spaces .wav", b"100%d.wav", "naïve.wav".encode(), "nai\u0308ve.wav".encode()),
    *("😀.wav".encode(), b"x" * 251 + b".wav", b"back\\x41slash.wav", "a\u2028b.wav".encode()),
]


@pytest.mark.parametrize("raw", ODD_NAMES, ids=repr)
def test_any_name_is_written_as_text_and_found_again(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / os.fsdecode(raw)
    soundfile.write(tmp_path / "plain.wav", noise(), RATE)
    (tmp_path / "plain.wav").rename(path)
    name = name_of(path.relative_to(tmp_path))
    assert name.isprintable()
    assert name.encode()
    assert path_of(tmp_path, name) == path
    decoded = decode(path_of(tmp_path, name), sample_rate=RATE)
    np.testing.assert_array_equal(decoded.waveform, noise())
    path.write_bytes(b"no sound")
    assert refused(path)[0] == "unreadable"


def test_a_name_is_found_in_the_other_form_of_unicode(tmp_path: Path) -> None:
    (tmp_path / "nai\u0308ve.wav").touch()
    assert path_of(tmp_path, "na\u00efve.wav") == tmp_path / "nai\u0308ve.wav"
    assert path_of(tmp_path, "gone\u00ef.wav") == tmp_path / "gone\u00ef.wav"


def test_a_link_in_a_circle_is_not_followed_and_others_are(tmp_path: Path) -> None:
    (tmp_path / "in" / "dog").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    for name in ("in/dog/a.wav", "out/b.wav"):
        (tmp_path / name).touch()
    (tmp_path / "in" / "all").symlink_to(".")
    (tmp_path / "in" / "dog" / "up").symlink_to("../..")
    (tmp_path / "in" / "dog" / "more").symlink_to("../../out")
    found = [path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path / "in")]
    assert sorted(found) == ["in/dog/a.wav", "in/dog/more/b.wav"]


def test_a_long_header_cannot_ask_for_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.caf"
    soundfile.write(path, noise(), RATE)
    at = path.read_bytes().index(b"data")
    content = bytearray(path.read_bytes())
    content[at + 4 : at + 12] = struct.pack(">q", 1 << 60)
    path.write_bytes(content)
    assert refused(path)[0] == "truncated"


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("rate", [RATE, 48_000])
def test_channels_that_cancel_each_other_are_no_clip(
    tmp_path: Path, subtype: str, rate: int
) -> None:
    left = 0.3 * tone(440, seconds=0.5, rate=rate)
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([left, -left], 1), rate, subtype=subtype)
    expected = "its channels cancel each other; export one channel, or leave it out"
    assert refused(path) == ("silent", expected)
    quiet = np.stack([left, -0.99 * left], 1)
    quiet[: rate // 4] = 0  # the peak of the excerpt counts
    soundfile.write(path, quiet, rate, subtype=subtype)
    assert decode(path, sample_rate=RATE).n_frames == rate // 2


@pytest.mark.parametrize("head", [b"", b"ID3\x03\0\0\x7f\x7f\x7f\x7f"])
def test_an_mp3_without_frames_is_not_said_to_be_missing(tmp_path: Path, head: bytes) -> None:
    content = np.random.default_rng(1).integers(0, 255, 5000, np.uint8).tobytes()
    (tmp_path / "a.mp3").write_bytes(head + content)
    reason, message = refused(tmp_path / "a.mp3")
    assert reason == "unreadable"
    assert message.startswith("is no mp3: no frame of one was found; fetch or export it again")


def test_libraries_write_nothing_to_the_terminal(tmp_path: Path, capfd) -> None:
    path = tmp_path / "a.mp3"
    soundfile.write(path, as_float(noise(2 * RATE)), RATE)
    whole = path.read_bytes()
    path.write_bytes(whole[:20_000] + bytes(3000) + whole[23_000:])
    decode(path, sample_rate=RATE)
    os.write(2, b"mine")
    assert capfd.readouterr().err == "mine"
