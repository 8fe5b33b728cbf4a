"""Clips of one recording share a source."""

import pandas as pd

from earmark.corpora.sources import merged_sources


def test_equal_recordings_share_a_source_with_all_that_belongs_to_either():
    table = pd.DataFrame(
        {
            "clip": list("abcdefg"),
            "source": ["s1", "s1", "s2", "", "", "", ""],
            "equal_to": ["", "", "a", "", "d", "", "gone"],
        }
    )
    sources = merged_sources(table)
    assert sources[0] == sources[1] == sources[2] != ""
    assert sources[3] == sources[4] not in ("", sources[0])
    assert sources[5] == sources[6] == ""


def test_without_equal_recordings_sources_stay_apart():
    table = pd.DataFrame({"clip": list("abc"), "source": ["s1", "s1", "s2"], "equal_to": ""})
    sources = merged_sources(table)
    assert sources[0] == sources[1] != sources[2] != ""
