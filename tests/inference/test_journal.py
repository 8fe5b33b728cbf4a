"""A run that was broken off goes on at the next recording."""

import pytest

from earmark.errors import UserError
from earmark.inference.journal import Journal

SETTINGS = {"top": 3}


@pytest.fixture
def paths(tmp_path):
    found = [tmp_path / f"{i}.wav" for i in range(3)]
    for path in found:
        path.write_text(path.name)
    return found


def test_what_is_done_is_known_after_a_kill_that_cut_the_last_line(tmp_path, paths):
    with Journal(tmp_path / "j", SETTINGS) as journal:
        journal.add(paths[0], {"rows": [1]})
        journal.add(paths[1], {"error": {"reason": "silent"}})
    with (tmp_path / "j").open("a") as file:
        file.write('{"key": "half')
    with Journal(tmp_path / "j", SETTINGS) as journal:
        assert [journal.is_done(path) for path in paths] == [True, True, False]
        journal.add(paths[2], {"rows": [3]})
        rows = [entry.get("rows") for entry in journal.entries(paths)]
        assert rows == [[1], None, [3]]


def test_a_recording_that_changed_is_tagged_again_and_counts_once(tmp_path, paths):
    with Journal(tmp_path / "j", SETTINGS) as journal:
        journal.add(paths[0], {"rows": ["old"]})
        paths[0].write_text("changed, and longer")
        assert not journal.is_done(paths[0])
        journal.add(paths[0], {"rows": ["new"]})
        assert [entry["rows"] for entry in journal.entries(paths)] == [["new"]]


def test_a_journal_of_other_settings_or_none_is_refused(tmp_path):
    Journal(tmp_path / "j", SETTINGS).__exit__()
    with pytest.raises(UserError, match="of a run with other settings; repeat that run"):
        Journal(tmp_path / "j", {"top": 5})
    (tmp_path / "k").write_text("something else\n")
    with pytest.raises(UserError, match="is no journal; delete it"):
        Journal(tmp_path / "k", SETTINGS)


@pytest.mark.parametrize("left", ["", "{", '{"settings": {"to'])
def test_a_full_disk_that_cut_the_first_line_is_no_reason_to_refuse(tmp_path, paths, left):
    (tmp_path / "j").write_text(left)
    with Journal(tmp_path / "j", SETTINGS) as journal:
        journal.add(paths[0], {"rows": [1]})
    with Journal(tmp_path / "j", SETTINGS) as journal:
        assert journal.is_done(paths[0])


def test_two_programs_do_not_write_into_one_journal(tmp_path, paths):
    with Journal(tmp_path / "j", SETTINGS) as journal:
        with pytest.raises(UserError, match="another program writes to it; wait until it ends"):
            Journal(tmp_path / "j", SETTINGS)
        journal.add(paths[0], {"rows": [1]})
    with Journal(tmp_path / "j", SETTINGS) as journal:
        assert journal.is_done(paths[0])
