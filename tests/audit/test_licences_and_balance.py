"""Licences by any spelling, and what a guess would score."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from earmark.audit import balance, licences
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
def test_every_spelling_names_its_licence(text, name):
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
def test_what_a_licence_forbids(text, commercial, share_alike, derivatives):
    found = licences.recognise(text)
    assert (found.commercial, found.share_alike, found.derivatives) == (
        commercial, share_alike, derivatives,
    )  # fmt: skip


def test_an_address_has_the_version_that_was_stated():
    url = licences.recognise("Attribution-NonCommercial 3.0").url
    assert url == "https://creativecommons.org/licenses/by-nc/3.0/"
    assert "3.0" not in licences.recognise("Attribution").url


def clips_under(*texts: str) -> pd.DataFrame:
    names = [f"{i}.wav" for i in range(len(texts))]
    columns = {"clip": names, "path": names, "label": "x", "licence": list(texts)}
    return clips_table(columns | {"source": [str(100 + i) for i in range(len(texts))]})


def test_planted_restrictions_are_found_and_a_free_corpus_is_clean():
    clips = clips_under("CC0", "Attribution", "CC BY-NC 3.0", "CC BY-SA 4.0", "CC BY-ND 4.0", "")
    table = licences.describe(clips)
    assert licences.metrics(table) | {"clips_by_licence": None} == {
        "clips_by_licence": None,
        "not_for_commercial_use": 1,
        "share_alike": 1,
        "no_derivatives": 1,
        "unknown": 1,
    }
    found = licences.findings(clips, table)
    assert ["2.wav" in found[0].meaning, "4.wav" in found[1].meaning] == [True, True]
    assert len(found) == 4
    free = clips_under("CC0", "Attribution", "CC BY 3.0")
    assert licences.findings(free, licences.describe(free)) == []


def test_spellings_of_one_licence_are_one_row():
    table = licences.describe(clips_under("CC BY 3.0", "cc-by-3.0", "CC0"))
    assert dict(zip(table["licence"], table["clips"], strict=True)) == {
        "CC BY 3.0": 2,
        "CC0 1.0": 1,
    }


def test_the_attribution_names_every_clip_with_its_source_and_licence():
    clips = clips_under("CC BY 3.0", "CC0", "")
    text = licences.attribution(clips, title="mine", sources_are_freesound=True)
    assert "CC BY 3.0 (https://creativecommons.org/licenses/by/3.0/), 1 clips:" in text
    assert "  0.wav: https://freesound.org/s/100/" in text
    assert "unknown (no licence is known" in text
    plain = licences.attribution(clips, title="mine", sources_are_freesound=False)
    assert "  0.wav: 100" in plain
    assert "freesound" not in plain


def labelled(counts: dict[str, int], *, verified: bool = True) -> pd.DataFrame:
    labels = [tag for tag, n in counts.items() for _ in range(n)]
    names = [f"{i}.wav" for i in range(len(labels))]
    return clips_table({"clip": names, "path": names, "label": labels, "verified": verified})


def test_a_constant_answer_scores_what_scikit_learn_says():
    counts = {"a": 50, "b": 30, "c": 15, "d": 5}
    labels = np.repeat(list(counts), list(counts.values()))
    found = balance.shortcut_baseline(np.array(list(counts.values()), float))["constant"]
    said = np.full(len(labels), "a")
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, said))
    assert found["macro_f1"] == pytest.approx(
        f1_score(labels, said, average="macro", zero_division=0)
    )
    assert found["map_at_3"] == pytest.approx(0.5 + 0.3 / 2 + 0.15 / 3)


def test_a_guess_by_chance_scores_what_drawing_scores():
    counts = np.array([500, 300, 150, 50])
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 40 * counts)
    said = rng.integers(4, size=len(labels))
    ranks = rng.permuted(np.tile(np.arange(4), (len(labels), 1)), axis=1)
    place = (ranks == labels[:, None]).argmax(axis=1)
    found = balance.shortcut_baseline(counts.astype(float))["chance"]
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, said), abs=0.01)
    assert found["macro_f1"] == pytest.approx(f1_score(labels, said, average="macro"), abs=0.01)
    expected = np.where(place < 3, 1 / (place + 1), 0).mean()
    assert found["map_at_3"] == pytest.approx(expected, abs=0.01)


def test_two_classes_have_no_third_place():
    found = balance.shortcut_baseline(np.array([3.0, 1.0]))
    assert found["constant"]["map_at_3"] == pytest.approx(0.75 + 0.25 / 2)
    assert found["chance"]["map_at_3"] == pytest.approx(0.75)


def test_small_skewed_and_unverified_classes_are_found_and_a_balanced_corpus_is_clean():
    sizes = balance.class_sizes(labelled({"a": 100, "b": 4}, verified=False))
    assert len(balance.findings(sizes)) == 3
    assert balance.findings(balance.class_sizes(labelled({"a": 40, "b": 40}))) == []


def test_each_tag_of_a_clip_is_counted():
    clips = labelled({"a;b": 12, "b": 11})
    sizes = balance.class_sizes(clips).set_index("tag")["clips"]
    assert sizes.to_dict() == {"b": 23, "a": 12}
    assert "shortcut_baseline" not in balance.metrics(balance.class_sizes(clips), multi_label=True)
