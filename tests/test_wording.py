"""Numbers and lists read well within sentences."""

from earmark.wording import counted, first_of


def test_nouns_agree_with_their_numbers():
    assert (counted(1, "pair"), counted(2, "pair")) == ("1 pair", "2 pairs")
    assert counted(2, "class", "classes") == "2 classes"


def test_long_lists_are_cut():
    assert first_of(["a", "b"]) == "a, b"
    assert first_of(list("abcde")) == "a, b, c and 2 more"
