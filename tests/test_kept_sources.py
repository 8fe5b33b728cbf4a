"""What is kept of code that was read: it saves parsing, and never stands for other code."""

import json
from pathlib import Path

import pytest

from earmark.code_digests import kept, syntax
from earmark.code_digests.kept import KeptSources
from earmark.code_digests.syntax import Source, parse_source
from earmark.errors import UserError

TEXT = "import a.b\nNAMES = {'x': 'a:X'}\n"
FULL = parse_source(TEXT.encode(), "one.py")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file that is read and kept, where from now on nothing is parsed."""
    (tmp_path / "one.py").write_text(TEXT)
    sources = KeptSources(tmp_path)
    assert sources.read("one.py") == FULL
    sources.keep()
    monkeypatch.setattr(kept, "parse_source", parsed)
    return tmp_path


class Parsed(Exception):  # noqa: N818 -- what the tests ask
    """A file was parsed."""


def parsed(*_: object) -> Source:
    raise Parsed


def test_what_has_not_changed_is_not_parsed_again(root: Path) -> None:
    assert KeptSources(root).read("one.py") == FULL


def test_what_changed_is_parsed_whatever_its_size_and_times_say(root: Path) -> None:
    (root / "one.py").write_text(TEXT.replace("x", "y"))
    with pytest.raises(Parsed):
        KeptSources(root).read("one.py")


def test_another_parser_reads_all_anew(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "syntax.py").write_text("# another one")
    monkeypatch.setattr(syntax, "__file__", str(root / "syntax.py"))
    with pytest.raises(Parsed):
        KeptSources(root).read("one.py")


def test_what_stays_out_of_a_digest_decides_too(root: Path) -> None:
    with pytest.raises(Parsed):
        KeptSources(root).read("one.py", without=frozenset({"NAMES"}))


@pytest.mark.parametrize("content", ["", "[]", "{", '{"one.py": null}', '{"one.py": [1, 2]}'])
def test_a_damaged_file_is_as_good_as_none(root: Path, content: str) -> None:
    (root / ".earmark" / "sources.json").write_text(content)
    with pytest.raises(Parsed):
        KeptSources(root).read("one.py")


def test_nothing_is_kept_of_files_that_are_gone(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "parse_source", parse_source)
    (root / "one.py").rename(root / "two.py")
    sources = KeptSources(root)
    sources.read("two.py")
    sources.keep()
    assert list(json.loads((root / ".earmark" / "sources.json").read_text())) == ["two.py"]
    with pytest.raises(UserError, match=r"one.py: no such file"):
        KeptSources(root).read("one.py")


def test_a_folder_that_takes_no_file_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / ".earmark").write_text("a file where the folder should be")
    (tmp_path / "one.py").write_text(TEXT)
    sources = KeptSources(tmp_path)
    assert sources.read("one.py") == FULL
    sources.keep()
