"""The table of large corpora: what is divided among machines, and what is not."""

import pytest

from benchmarks.scaling import Machines, Times, gigabytes, in_words, times_of
from earmark.settings.cost import Parts

PARTS = Parts(160.0, [100.0, 20.0, 40.0], 32.0, 2e9, 5e8)


def test_preparation_stays_on_one_machine_and_trainings_spread_over_all() -> None:
    assert times_of(PARTS, Machines(1, 1), 10) == Times(1600, 1920)
    assert times_of(PARTS, Machines(1, 2), 1) == Times(80, 100 + 16)  # as long as the longest
    assert times_of(PARTS, Machines(8, 2), 1) == Times(80, 100 + 2)
    assert Times(80, 102).total == 182


def test_sound_grows_with_the_clips_and_networks_do_not() -> None:
    assert gigabytes(PARTS, 10) == 20.5


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 min"), (2040, "34 min"), (14_800, "4.1 h"), (86_400 * 20.3, "20 days")],
)
def test_times_have_two_digits(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
