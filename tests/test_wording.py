"""Numbers and lists read well within sentences."""

import pytest

from earmark.errors import UserError
from earmark.wording import counted, first_of, look_alikes, named, printable


def test_nouns_agree_with_their_numbers():
    assert (counted(1, "pair"), counted(2, "pair")) == ("1 pair", "2 pairs")
    assert counted(2, "class", "classes") == "2 classes"


def test_long_lists_are_cut():
    assert first_of(["a", "b"]) == "a, b"
    assert first_of(list("abcde")) == "a, b, c and 2 more"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2J.wav", r"a\x1b[2J.wav"),
        ("a\x9b2J", r"a\x9b2J"),
        ("gnp\u202e.wav", r"gnp\u202e.wav"),
        ("a\nb", r"a\nb"),
        ("a\udcff.wav", r"a\udcff.wav"),
        ("café \u4e2d\u00a0\u200d", "café \u4e2d\u00a0\u200d"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text, shown):
    assert printable(text) == shown


def test_an_error_obeys_no_name_and_keeps_its_lines():
    error = UserError("clip \x1b[2J: bad\nadd these lines", "another")
    assert error.problems == ("clip \\x1b[2J: bad\nadd these lines", "another")
    assert str(error) == "clip \\x1b[2J: bad\nadd these lines\nanother"


def test_names_that_look_alike_are_found():
    assert look_alikes(["Dog", "dog", "cat", "caf\u00e9", "cafe\u0301", "\uff43at"]) == [
        ["Dog", "dog"],
        ["cafe\u0301", "caf\u00e9"],
        ["cat", "\uff43at"],
    ]


def test_a_long_list_of_names_is_short():
    assert named("row", range(2, 10_002)) == "rows 2, 3, 4 and 9997 more"
    assert len(first_of(["x" * 1_000_000] * 5)) < 250
