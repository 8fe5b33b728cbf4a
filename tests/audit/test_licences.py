"""Licences are recognised in any spelling, and restrictive ones are found."""

import pandas as pd
import pytest

from earmark.audit import licences
from earmark.corpora.clips import clips_table

SPELLINGS = {
    "Attribution": "CC BY",
    "Attribution Noncommercial": "CC BY-NC",
    "Attribution-NonCommercial": "CC BY-NC",
    "Creative Commons 0": "CC0 1.0",
    "CC0": "CC0 1.0",
    "http://creativecommons.org/publicdomain/zero/1.0/": "CC0 1.0",
    "http://creativecommons.org/licenses/by/3.0/": "CC BY 3.0",
    "https://creativecommons.org/licenses/by-nc/4.0/": "CC BY-NC 4.0",
    "http://creativecommons.org/licenses/sampling+/1.0/": "Sampling+ 1.0",
    "Sampling+": "Sampling+ 1.0",
    "CC BY 3.0": "CC BY 3.0",
    "cc-by-nc-sa-4.0": "CC BY-NC-SA 4.0",
    "CC_BY_ND_2.5": "CC BY-ND 2.5",
    "Creative Commons Attribution-ShareAlike 3.0 Unported": "CC BY-SA 3.0",
    "Public Domain": "public domain",
    "": "unknown",
    "all rights reserved": "unknown",
    "ask Ruby": "unknown",
}


@pytest.mark.parametrize(("text", "name"), SPELLINGS.items())
def test_every_spelling_is_recognised(text, name):
    assert licences.recognise(text).name == name


@pytest.mark.parametrize(
    ("text", "commercial", "share_alike", "derivatives"),
    [
        ("CC BY 3.0", True, False, True),
        ("CC BY-NC 3.0", False, False, True),
        ("CC BY-NC-SA 3.0", False, True, True),
        ("CC BY-ND 3.0", True, False, False),
        ("Sampling+", False, False, True),
        ("CC0", True, False, True),
    ],
)
def test_the_terms_of_a_licence(text, commercial, share_alike, derivatives):
    licence = licences.recognise(text)
    assert (licence.commercial, licence.share_alike, licence.derivatives) == (
        commercial, share_alike, derivatives,
    )  # fmt: skip


def test_the_address_has_the_given_version():
    url = licences.recognise("Attribution-NonCommercial 3.0").url
    assert url == "https://creativecommons.org/licenses/by-nc/3.0/"
    assert "3.0" not in licences.recognise("Attribution").url


def clips_under(*texts: str) -> pd.DataFrame:
    names = [f"{i}.wav" for i in range(len(texts))]
    columns = {"clip": names, "path": names, "label": "x", "licence": list(texts)}
    return clips_table(columns | {"source": [str(100 + i) for i in range(len(texts))]})


def test_restrictive_licences_are_found_and_a_free_corpus_has_no_finding():
    clips = clips_under("CC0", "Attribution", "CC BY-NC 3.0", "CC BY-SA 4.0", "CC BY-ND 4.0", "")
    table = licences.describe(clips)
    assert licences.metrics(table) | {"clips_by_licence": None} == {
        "clips_by_licence": None,
        "not_for_commercial_use": 1,
        "share_alike": 1,
        "no_derivatives": 1,
        "unknown": 1,
    }
    findings = licences.findings(clips, table)
    assert "2.wav" in findings[0].meaning
    assert "4.wav" in findings[1].meaning
    assert len(findings) == 4
    free = clips_under("CC0", "Attribution", "CC BY 3.0")
    assert licences.findings(free, licences.describe(free)) == []


def test_spellings_of_one_licence_share_a_row():
    table = licences.describe(clips_under("CC BY 3.0", "cc-by-3.0", "CC0"))
    assert dict(zip(table["licence"], table["clips"], strict=True)) == {
        "CC BY 3.0": 2,
        "CC0 1.0": 1,
    }


def test_the_attribution_names_every_clip_with_its_source_and_licence():
    clips = clips_under("CC BY 3.0", "CC0", "")
    text = licences.attribution(clips, title="mine", sources_are_freesound=True)
    assert "CC BY 3.0 (https://creativecommons.org/licenses/by/3.0/), 1 clip:" in text
    assert "  0.wav: https://freesound.org/s/100/" in text
    assert "unknown (no known licence" in text
    plain = licences.attribution(clips, title="mine", sources_are_freesound=False)
    assert "  0.wav: 100" in plain
    assert "freesound" not in plain
