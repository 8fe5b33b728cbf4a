"""Links that leave the corpus are refused, and what would stop DVC is named before it runs."""

import os
import socket
from pathlib import Path

import pytest

from earmark.corpora.folder_checks import folder_problems, link_problems


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A corpus of three files, with a folder outside of it."""
    for name in ("root/dog/a.wav", "root/cat/b.wav", "root/cat/c.wav", "outside/d.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"RIFF")
    return tmp_path / "root"


def test_links_within_the_root_are_fine_also_where_the_root_is_a_link(root: Path) -> None:
    (root / "dog" / "e.wav").symlink_to("../cat/b.wav")
    (root / "pets").symlink_to("cat")
    paths = ["dog/a.wav", "dog/e.wav", "pets/b.wav", "dog/gone.wav"]
    assert link_problems(paths, root) == []
    (root.parent / "link").symlink_to("root")
    assert link_problems(paths, root.parent / "link") == []


@pytest.mark.parametrize("target", ["../../outside/d.wav", "/etc/passwd", "/dev/zero"])
def test_a_link_out_of_the_root_names_clip_target_and_key(root: Path, target: str) -> None:
    (root / "dog" / "e.wav").symlink_to(target)
    (line,) = link_problems(["dog/a.wav", "dog/e.wav"], root)
    assert line.startswith("corpus: clip dog/e.wav: a link leads to /")
    assert os.path.realpath(root / "dog" / "e.wav") in line
    assert line.endswith("or set corpus.links_outside: true if you trust the links")


def test_clips_behind_a_linked_folder_are_one_line_with_a_count(root: Path) -> None:
    (root / "far").symlink_to(root.parent / "outside")
    paths = [f"far/{n}.wav" for n in range(1000)]
    (line,) = link_problems(["dog/a.wav", *paths], root)
    assert line.startswith("corpus: clip far/0.wav: ")
    assert "and links of 999 more clips do so" in line


def test_a_chain_of_links_is_followed_to_its_end(root: Path) -> None:
    (root / "dog" / "e.wav").symlink_to("f.wav")
    (root / "dog" / "f.wav").symlink_to(root.parent / "outside" / "d.wav")
    assert len(link_problems(["dog/e.wav"], root)) == 1


def test_a_sound_folder_stops_nothing(root: Path) -> None:
    (root / "dog" / "inside.wav").symlink_to("a.wav")
    (root / "all").symlink_to(".")
    assert folder_problems(root, in_repository=True) == ([], [])


def test_what_dvc_cannot_hash_is_named_with_its_fix(root: Path, monkeypatch) -> None:
    os.mkfifo(root / "dog" / "pipe.wav")
    os.mkfifo(root / "notes")
    (root / "cat" / "zero.wav").symlink_to("/dev/zero")
    (root / "cat" / "gone.wav").symlink_to("nowhere")
    monkeypatch.chdir(root)  # a socket's name is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    problems, warnings = folder_problems(root, in_repository=True)
    assert warnings == []
    assert problems == [
        f"corpus.root: 2 pipes in {root}, such as notes: DVC would wait for it for ever; delete it",
        f"corpus.root: 1 socket in {root}, such as socket: DVC cannot read it; delete it",
        f"corpus.root: 1 device in {root}, such as cat/zero.wav: DVC would read it for ever; "
        "delete it",
        f"corpus.root: 1 link to nothing in {root}, such as cat/gone.wav: DVC cannot read it; "
        "delete it",
    ]


def test_a_file_that_nobody_may_read_is_named(root: Path, monkeypatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, _: Path(path).name != "a.wav")
    ((line,), _) = folder_problems(root, in_repository=True)
    assert "1 file or folder without read permission" in line
    assert "such as dog/a.wav: DVC cannot read it; run `chmod" in line


def test_a_folder_that_nobody_may_search_is_named_before_its_files(root: Path, monkeypatch) -> None:
    stat = Path.stat

    def refuse(path: Path, **options: bool) -> os.stat_result:
        if path.parent.name == "dog":
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    with monkeypatch.context() as patch:  # chmod does not stop root
        patch.setattr(Path, "stat", refuse)
        patch.setattr(os, "access", lambda path, mode: path.name != "dog" or not mode & os.X_OK)
        ((line,), _) = folder_problems(root, in_repository=True)
    assert "2 files or folders without read permission" in line
    assert "such as dog: DVC cannot read it; run `chmod -R u+rX` on it" in line


def test_names_that_are_not_utf8_are_told_with_the_command_that_renames_them(root: Path) -> None:
    (root / "dog" / os.fsdecode(b"caf\xe9.wav")).touch()
    (root / "dog" / "caf\u00e9.wav").touch()
    (root / "dog" / "new\nline.wav").touch()
    problems, (warning,) = folder_problems(root, in_repository=True)
    assert problems == []
    assert "1 name in" in warning
    assert r"such as dog/caf\xe9.wav that is not UTF-8: DVC leaves them out" in warning
    assert f"`convmv -f latin1 -t utf8 -r --notest {root}`" in warning
    (problem,), warnings = folder_problems(root, in_repository=False)
    assert "DVC cannot hash them; rename them" in problem
    assert warnings == []


def test_a_linked_folder_outside_is_told_since_dvc_does_not_look_into_it(root: Path) -> None:
    (root / "far").symlink_to(root.parent / "outside")
    problems, (warning,) = folder_problems(root, in_repository=True)
    assert problems == []
    assert "1 link to a folder in" in warning
    assert "run `dvc repro --force decode`" in warning


def test_a_link_to_nothing_is_told_once(tmp_path):
    (tmp_path / "a.wav").symlink_to("/nowhere/a.wav")
    assert link_problems(["a.wav"], tmp_path) == []
