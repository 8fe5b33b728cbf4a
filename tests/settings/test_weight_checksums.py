"""Checksums that `download` keeps in params.yaml change nothing else in it."""

from pathlib import Path

import pytest

from earmark.errors import UserError
from earmark.settings.weight_checksums import keep_checksums, kept_checksums

NEW = {"a b: é.pt": "1" * 64, r"mn10_as_mAP_471.pt": "2" * 64}


@pytest.mark.parametrize(
    "section",
    [
        "weight_checksums: {}",
        "weight_checksums:",
        "weight_checksums: # none",
        f'weight_checksums:\n  old.pt: "{"0" * 64}" # mine',
    ],
)
@pytest.mark.parametrize("rest", ["", "\nlast: {x:   1} # as it was\n"])
def test_what_is_new_is_added_and_all_else_stays(tmp_path: Path, section: str, rest: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"seed: 1\n{section}\n{rest}")
    before, kept = path.read_text(), kept_checksums(path)
    assert len(keep_checksums(path, NEW)) == 2
    assert kept_checksums(path) == kept | NEW
    stayed = [line for line in path.read_text().splitlines() if "1" * 64 not in line]
    stayed = [line for line in stayed if "2" * 64 not in line and not line.startswith("weight_")]
    given = [line for line in before.splitlines() if not line.startswith("weight_")]
    assert [line for line in stayed if line] == [line for line in given if line]
    written = path.read_text()
    assert keep_checksums(path, dict.fromkeys(NEW, "3" * 64)) == []
    assert path.read_text() == written


@pytest.mark.parametrize("end", ["", "\r\n", "\r\nlast: 1\r\n"])
def test_line_ends_stay_and_the_last_may_lack_its_own(tmp_path: Path, end: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(f"seed: 1\r\nweight_checksums: {{}}{end}".encode())
    keep_checksums(path, NEW)
    assert kept_checksums(path) == NEW
    assert path.read_bytes().startswith(b"seed: 1\r\nweight_checksums:")
    assert path.read_bytes().endswith(b"last: 1\r\n") == ("last" in end)


def test_without_the_file_or_its_section_nothing_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    assert keep_checksums(path, NEW) == []
    assert list(tmp_path.iterdir()) == []
    path.write_text("of_another_project: 1\n")
    assert keep_checksums(path, NEW) == []
    assert path.read_text() == "of_another_project: 1\n"


@pytest.mark.parametrize("section", ["weight_checksums: {a: b}", "weight_checksums: {\n  a: b}"])
def test_a_section_that_cannot_be_added_to_is_left_and_told_with_the_lines(
    tmp_path: Path, section: str
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"{section}\n")
    with pytest.raises(UserError, match=r'write it into lines: .*"mn10_as_mAP_471\.pt": "2222'):
        keep_checksums(path, NEW)
    assert path.read_text() == f"{section}\n"


def test_a_section_that_is_no_mapping_is_told(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("weight_checksums: [1]\n")
    with pytest.raises(UserError, match="must be a mapping of files"):
        kept_checksums(path)
