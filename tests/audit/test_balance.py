"""Class sizes are counted, and trivial baselines score what their answers would."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from earmark.audit import balance
from earmark.corpora.clips import clips_table


def labelled(counts: dict[str, int], *, verified: bool = True) -> pd.DataFrame:
    labels = [tag for tag, n in counts.items() for _ in range(n)]
    names = [f"{i}.wav" for i in range(len(labels))]
    return clips_table({"clip": names, "path": names, "label": labels, "verified": verified})


def test_a_constant_answer_scores_what_scikit_learn_computes():
    counts = {"a": 50, "b": 30, "c": 15, "d": 5}
    labels = np.repeat(list(counts), list(counts.values()))
    scores = balance.trivial_baselines(np.array(list(counts.values()), float))["constant"]
    answers = np.full(len(labels), "a")
    assert scores["accuracy"] == pytest.approx(accuracy_score(labels, answers))
    assert scores["macro_f1"] == pytest.approx(
        f1_score(labels, answers, average="macro", zero_division=0)
    )
    assert scores["map_at_3"] == pytest.approx(0.5 + 0.3 / 2 + 0.15 / 3)


def test_chance_scores_what_random_answers_score():
    counts = np.array([500, 300, 150, 50])
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 40 * counts)
    answers = rng.integers(4, size=len(labels))
    ranks = rng.permuted(np.tile(np.arange(4), (len(labels), 1)), axis=1)
    rank = (ranks == labels[:, None]).argmax(axis=1)
    scores = balance.trivial_baselines(counts.astype(float))["chance"]
    assert scores["accuracy"] == pytest.approx(accuracy_score(labels, answers), abs=0.01)
    assert scores["macro_f1"] == pytest.approx(f1_score(labels, answers, average="macro"), abs=0.01)
    expected = np.where(rank < 3, 1 / (rank + 1), 0).mean()
    assert scores["map_at_3"] == pytest.approx(expected, abs=0.01)


def test_two_classes_have_two_ranks():
    baselines = balance.trivial_baselines(np.array([3.0, 1.0]))
    assert baselines["constant"]["map_at_3"] == pytest.approx(0.75 + 0.25 / 2)
    assert baselines["chance"]["map_at_3"] == pytest.approx(0.75)


def test_small_skewed_and_unverified_classes_are_found_and_a_balanced_corpus_has_no_finding():
    sizes = balance.class_sizes(labelled({"a": 100, "b": 4}, verified=False))
    assert len(balance.findings(sizes)) == 3
    assert balance.findings(balance.class_sizes(labelled({"a": 40, "b": 40}))) == []


def test_each_tag_of_a_clip_is_counted():
    clips = labelled({"a;b": 12, "b": 11})
    sizes = balance.class_sizes(clips).set_index("tag")["clips"]
    assert sizes.to_dict() == {"b": 23, "a": 12}
    assert "trivial_baselines" not in balance.metrics(balance.class_sizes(clips), multi_label=True)
