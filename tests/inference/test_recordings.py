"""The recordings that a user names, and the messages about those that cannot be used."""

import os
from pathlib import Path

import pytest

from earmark.inference.recordings import recordings, unusable_line
from earmark.sound.decoding import decode
from earmark.sound.unusable import UnusableAudio


def test_recordings_of_a_folder_are_found_by_any_name_and_folders_are_none(tmp_path):
    latin = os.fsdecode(b"caf\xe9.wav")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "folder.wav" / "a.wav").touch()
    (tmp_path / "folder.wav" / "up").symlink_to("..")
    (tmp_path / latin).touch()
    found = recordings([tmp_path])
    assert found == ([tmp_path / latin, tmp_path / "folder.wav" / "a.wav"], [])


def test_sound_in_a_folder_that_cannot_be_decoded_is_counted_and_the_rest_is_taken(tmp_path):
    for name in ("a.wav", "b.M4A", "c.m4a", "d.wma", "._c.m4a", "notes.txt"):
        (tmp_path / name).touch()
    found, problems = recordings([tmp_path])
    assert found == [tmp_path / "a.wav"]
    (line,) = problems
    assert "3 files of .m4a .wma cannot be decoded; convert them" in line


def test_paths_that_name_no_recording_do_not_stop_the_others(tmp_path, monkeypatch):
    (tmp_path / "some" / "shut").mkdir(parents=True)
    (tmp_path / "some" / "a.wav").touch()
    (tmp_path / "empty").mkdir()
    scandir = os.scandir

    def refusing(path):  # a test that runs as root can read everything
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", refusing)
    long, address = tmp_path / ("x" * 300 + ".wav"), Path("https://example.com/a.wav")
    found, problems = recordings([long, tmp_path / "empty", address, tmp_path / "some"])
    assert found == [long, tmp_path / "some" / "a.wav"]
    empty, at_example, shut = problems
    assert "no audio in it" in empty
    assert at_example.endswith("a.wav: is an address; download it first")
    assert shut.endswith("some/shut: cannot be read; run `chmod -R u+rX` on it")
    with pytest.raises(UnusableAudio) as caught:
        decode(long, sample_rate=16_000)
    line = unusable_line(long, caught.value)
    assert line.startswith(f"{tmp_path}/xxx")
    assert line.count("x") < 70
    assert ": unreadable: File name too long; " in line
