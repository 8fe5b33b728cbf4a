"""The page says what the numbers say, and carries its pictures with it."""

import base64
import copy
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from earmark.report import confusion_figure, learning_curve_figure, render_report, verdict
from earmark.scoring import METRICS, confusion_matrix, per_class

TAGS = ["bark", "a<b> & $x$", "cello"]


def scores_of(value: float) -> dict:
    estimate = {"value": value, "low": value - 0.02, "high": value + 0.02}
    return {**dict.fromkeys(METRICS, estimate), "n_clips": 30}


def entry(value: float, *, test: bool = True) -> dict:
    parts = {part: scores_of(value - 0.1) for part in ("all", "public", "private")}
    return {"out_of_fold": scores_of(value), **({"test": parts} if test else {})}


def folds(value: float) -> dict:
    return {"folds": {"mean": dict.fromkeys(METRICS, value), "std": dict.fromkeys(METRICS, 0.0123)}}


@pytest.fixture
def page() -> dict:
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet(np.ones(3), 30), rng.integers(0, 3, 30)
    curves = pd.DataFrame(
        {
            "model": ["one", "one", "one", "two"],
            "fold": ["0", "0", "1", "0"],
            "epoch": [0, 1, 0, 0],
            "train_loss": [1.0, 0.5, 1.0, 1.0],
            "validation_loss": [1.0, 0.6, 1.1, 1.0],
            "map_at_3": [0.5, 0.8, 0.5, 0.4],
            "learning_rate": 1e-3,
        }
    )
    models = {"one": entry(0.81) | folds(0.805), "two": entry(0.84) | folds(0.835)}
    return {
        "title": "A <tagger>",
        "synthetic": False,
        "notes": ["Five folds & one seed."],
        "scores": {"models": models, "ensemble": entry(0.9)},
        "per_class": per_class(probabilities, labels, TAGS),
        "confusion": confusion_matrix(probabilities, labels),
        "tags": TAGS,
        "learning_curves": curves,
        "weights": {"one": 0.25, "two": 0.75},
        "quarantine": pd.DataFrame({"clip": ["<x>.wav"], "reason": ["0 samples"]}),
    }


def pictures(html: str) -> list[bytes]:
    return [base64.b64decode(data) for data in re.findall(r"data:image/png;base64,([^\"]+)", html)]


def visible(html: str) -> str:
    """The page without its pictures and style."""
    return re.sub(r"<style>.*?</style>|<img[^>]*>", "", html, flags=re.DOTALL)


def test_the_page_holds_every_number_and_picture(page):
    html = render_report(**page)
    text = visible(html)
    for expected in ("0.900", "[0.880, 0.920]", "0.835 ± 0.012", "0.250", "0.750", "30 clips"):
        assert expected in text
    for heading in (
        "out of fold",
        "test, Public",
        "test, Private",
        "Learning curves",
        "Quarantine",
    ):
        assert heading in text
    assert len(pictures(html)) == 4
    assert all(picture.startswith(b"\x89PNG") for picture in pictures(html))


def test_the_page_needs_nothing_from_elsewhere(page):
    html = render_report(**page)
    assert not re.findall(r"(?:src|href)=\"(?!data:)", html)
    assert "<script" not in html
    assert "@import" not in html


def test_the_same_numbers_give_the_same_bytes(page):
    assert render_report(**page) == render_report(**page)


def test_names_are_escaped(page):
    text = visible(render_report(**page))
    for name in ("A &lt;tagger&gt;", "&lt;x&gt;.wav", "a&lt;b&gt; &amp; $x$", "folds &amp; one"):
        assert name in text
    assert "<x>" not in text


def test_every_tag_that_opens_closes(page):
    class Balance(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open = []

        def handle_starttag(self, tag, attrs):  # noqa: ARG002
            if tag not in ("img", "br", "meta"):
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    balance = Balance()
    balance.feed(render_report(**page))
    assert balance.open == []


def test_synthetic_scores_carry_a_banner(page):
    assert "SYNTHETIC DATA" not in render_report(**page)
    assert "SYNTHETIC DATA" in render_report(**page | {"synthetic": True})


def test_the_verdict_names_the_best_member(page):
    beats, sentence = verdict(page["scores"])
    assert beats
    assert sentence == (
        "The ensemble beats every one of its 2 members: out-of-fold MAP@3 0.9000 against 0.8400 "
        "of the best, two (+0.0600; the 95 % intervals do not overlap)."
    )
    assert sentence in visible(render_report(**page))


@pytest.mark.parametrize("value", [0.84, 0.83])
def test_an_ensemble_that_is_no_better_is_said_so(page, value):
    page["scores"]["ensemble"] = entry(value)
    beats, sentence = verdict(page["scores"])
    assert not beats
    assert "does NOT beat" in sentence
    assert "intervals overlap" in sentence


def test_a_better_model_of_weight_0_is_not_passed_over(page):
    page["scores"]["models"]["aside"] = entry(0.99)
    page["weights"] |= {"aside": 0.0}
    beats, sentence = verdict(page["scores"])
    assert not beats
    assert "aside" in sentence
    assert "aside" in visible(render_report(**page))


def test_what_is_not_there_leaves_no_trace(page):
    for model in (*page["scores"]["models"].values(), page["scores"]["ensemble"]):
        model.pop("test")
        model.pop("folds", None)
    page |= {"learning_curves": page["learning_curves"][:0], "quarantine": pd.DataFrame()}
    html = render_report(**page)
    for absent in ("Public", "Learning curves", "±"):
        assert absent not in visible(html)
    assert "none was left out" in html
    assert len(pictures(html)) == 3


def test_one_member_is_not_beaten_by_itself(page):
    scores = copy.deepcopy(page["scores"])
    del scores["models"]["two"]
    scores["ensemble"] = entry(0.81)
    assert verdict(scores) == (
        False,
        "The ensemble has one member, one: MAP@3 0.810 out of fold.",
    )


def test_weights_of_strangers_are_refused(page):
    with pytest.raises(ValueError, match=r"weights for \['three'\], which have no scores"):
        render_report(**page | {"weights": {"three": 1.0}})
    with pytest.raises(ValueError, match="no model has a weight above 0"):
        render_report(**page | {"weights": {"one": 0.0}})


def test_the_confusion_figure_shows_shares_of_the_actual_tag():
    figure = confusion_figure(np.array([[3, 1, 0], [0, 0, 0], [0, 0, 2]]), TAGS)
    axes = figure.axes[0]
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25, 0], [0, 0, 0], [0, 0, 1]]
    assert [text.get_text() for text in axes.texts] == ["3", "1", "2"]
    assert [text.get_text() for text in axes.get_yticklabels()] == TAGS
    with pytest.raises(ValueError, match=r"expected confusion \(3, 3\), got \(2, 2\)"):
        confusion_figure(np.eye(2, dtype=int), TAGS)


def test_many_tags_leave_out_the_counts():
    figure = confusion_figure(np.eye(50, dtype=int), [f"tag{i}" for i in range(50)])
    assert len(figure.axes[0].texts) == 0


def test_learning_curves_have_a_row_per_model_and_a_line_per_fold(page):
    figure = learning_curve_figure(page["learning_curves"])
    loss, map_at_3, rate = figure.axes[:3]
    assert len(figure.axes) == 6
    assert (len(loss.lines), len(map_at_3.lines), len(rate.lines)) == (4, 2, 2)
    assert map_at_3.lines[0].get_ydata().tolist() == [0.5, 0.8]


def test_the_history_of_one_run_needs_neither_model_nor_fold(page):
    history = page["learning_curves"].iloc[:2].drop(columns=["model", "fold"])
    assert len(learning_curve_figure(history).axes) == 3
