"""The page agrees with its numbers, and needs no other files."""

import copy
import re
from html import unescape
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest

from earmark.ensemble.contributions import Contribution
from earmark.evaluation.by_tag import per_class, per_tag
from earmark.evaluation.calibration import calibration_report, verdict
from earmark.evaluation.measures import CLASS_METRICS, TAG_METRICS
from earmark.evaluation.points import confusion_matrix
from earmark.evaluation.predictions import Predictions
from earmark.labels import Task
from earmark.reports.figures import (
    confusion_figure,
    coverage_figure,
    learning_curve_figure,
    reliability_figure,
)
from earmark.reports.parts import drawing
from earmark.reports.report import render_report
from earmark.reports.score_tables import score_chart
from earmark.reports.summary import summary_of

pytestmark = pytest.mark.usefixtures("undrawn")

TAGS = ["bark", "a<b> & $x$", "cello"]


def scores_of(value: float) -> dict:
    estimate = {"value": value, "low": value - 0.02, "high": value + 0.02, "over": "clips"}
    names = (*CLASS_METRICS, *TAG_METRICS)
    return {**dict.fromkeys(names, estimate), "n_clips": 30}


def entry(value: float, *, test: bool = True) -> dict:
    parts = {part: scores_of(value - 0.1) for part in ("all", "public", "private")}
    return {"out_of_fold": scores_of(value), **({"test": parts} if test else {})}


def folds(value: float) -> dict:
    names = (*CLASS_METRICS, *TAG_METRICS)
    return {"folds": {"mean": dict.fromkeys(names, value), "std": dict.fromkeys(names, 0.0123)}}


@pytest.fixture
def page() -> dict:
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet(np.ones(3), 30), rng.integers(0, 3, 30)
    curves = pd.DataFrame(
        {
            "model": ["one", "one", "one", "two"],
            "fold": ["0", "0", "1", "0"],
            "epoch_choice": "scored_fold",
            "epoch": [0, 1, 0, 0],
            "train_loss": [1.0, 0.5, 1.0, 1.0],
            "validation_loss": [1.0, 0.6, 1.1, 1.0],
            "map_at_3": [0.5, 0.8, 0.5, 0.4],
            "learning_rate": 1e-3,
            "learning_rate_low": 1e-4,
            "learning_rate_high": [2e-3, 2e-3, 3e-3, 2e-3],
        }
    )
    models = {"one": entry(0.81) | folds(0.805), "two": entry(0.84) | folds(0.835)}
    epochs = {"one": {"rule": "scored_fold", "scored_fold": 0.9125, "last": 0.8125}}
    return {
        "title": "A <tagger>",
        "synthetic": False,
        "notes": ["Five folds & one seed."],
        "scores": {"models": models, "ensemble": entry(0.9), "epochs": epochs},
        "metrics": ["map_at_3", "accuracy", "macro_f1"],
        "by_tag": per_class(probabilities, labels, TAGS),
        "confusion": confusion_matrix(probabilities, labels),
        "tags": TAGS,
        "learning_curves": curves,
        "weights": {"one": 0.25, "two": 0.75},
        "quarantine": pd.DataFrame({"clip": ["<x>.wav"], "reason": ["0 samples"]}),
    }


def drawings(html: str) -> list[str]:
    return re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)


def visible(html: str) -> str:
    """The page without its drawings, style and script."""
    return re.sub(
        r"<style>.*?</style>|<svg.*?</svg>|<script>.*?</script>", "", html, flags=re.DOTALL
    )


def test_the_page_shows_what_the_choice_of_an_epoch_is_worth(page):
    text = visible(render_report(**page))
    assert "<td>one</td><td>scored_fold</td><td>0.912</td><td>0.812</td>" in text
    page["scores"] = page["scores"] | {"epochs": {}}
    assert "kept by" not in visible(render_report(**page))


@pytest.mark.drawn
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
    (curves,) = drawings(html)
    assert 'aria-label="Learning curves"' in curves
    assert ">MAP@3, validation</text>" in curves
    assert "var(--accent)" in curves  # the colours of the page, light or dark


def test_the_page_needs_nothing_from_elsewhere(page):
    html = render_report(**page)
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", html)
    assert "@import" not in html
    assert '<meta name="viewport" content="width=device-width' in html


@pytest.mark.drawn
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
            if tag not in ("img", "br", "meta", "link"):
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

    balance = Balance()
    balance.feed(render_report(**page))
    assert balance.open == []


def test_synthetic_scores_carry_a_banner(page):
    assert "SYNTHETIC DATA" not in render_report(**page)
    assert "SYNTHETIC DATA" in render_report(**page | {"synthetic": True})


def test_the_summary_names_the_best_member(page):
    is_best, sentence = summary_of(page["scores"], "map_at_3")
    assert is_best
    assert sentence == (
        "The ensemble beats all of its 2 members: out-of-fold MAP@3 0.9000 against 0.8400 of the "
        "best member, two."
    )
    assert sentence in visible(render_report(**page))


@pytest.mark.parametrize("value", [0.84, 0.83])
def test_an_ensemble_that_is_not_better_is_reported_as_such(page, value):
    page["scores"]["ensemble"] = entry(value)
    is_best, sentence = summary_of(page["scores"], "map_at_3")
    assert not is_best
    assert "does NOT beat" in sentence
    assert f"{value:.4f} against 0.8400 of the best member, two" in sentence


def test_the_summary_gives_the_paired_difference(page):
    difference = {"value": 0.06, "low": 0.01, "high": 0.11, "over": "clips"}
    page["scores"]["gain"] = {"difference": difference, "p_value": 0.0123}
    _, sentence = summary_of(page["scores"], "map_at_3")
    assert sentence.endswith(
        "the best member, two. The difference is +0.0600 (95 % interval +0.0100 to "
        "+0.1100 over clips; p = 0.012 by a permutation test)."
    )
    difference |= {"low": -0.02, "high": 0.14, "over": "recordings"}
    _, sentence = summary_of(page["scores"], "map_at_3")
    assert "interval -0.0200 to +0.1400 over recordings" in sentence
    assert sentence.endswith("The improvement may be due to chance.")
    none = {"value": 0.06, "why_no_interval": "too few clips"}
    page["scores"]["gain"] = {"difference": none, "p_value": 0.2}
    _, sentence = summary_of(page["scores"], "map_at_3")
    assert "+0.0600 (no interval: too few clips; p = 0.2" in sentence
    assert sentence.endswith("The improvement may be due to chance.")


def test_summary_and_order_follow_the_first_metric(page):
    scores = page["scores"]
    worse = {"value": 0.1, "low": 0.05, "high": 0.15}
    scores["models"]["two"]["out_of_fold"] = scores["models"]["two"]["out_of_fold"] | {
        "macro_f1": worse
    }
    assert "of the best member, two" in summary_of(scores, "map_at_3").sentence
    assert (
        "macro F1 0.9000 against 0.8100 of the best member, one"
        in summary_of(scores, "macro_f1")[1]
    )
    page["metrics"] = ["macro_f1", "map_at_3", "accuracy"]
    text = visible(render_report(**page))
    text = text[text.index('id="scores"') :]
    assert text.index("<th>macro F1</th>") < text.index("<th>MAP@3</th>")
    assert text.index("<td>one</td>") < text.index("<td>two</td>")


def test_the_table_says_what_its_intervals_range_over(page):
    assert "95 % interval over clips" in visible(render_report(**page))
    wide = {"value": 0.9, "low": 0.7, "high": 0.99, "over": "recordings"}
    none = {"value": 0.8, "why_no_interval": "too few recordings per class"}
    found = {**page["scores"]["ensemble"]["out_of_fold"], "map_at_3": wide, "macro_f1": none}
    found["accuracy"] = wide
    page["scores"]["ensemble"]["out_of_fold"] = found
    text = visible(render_report(**page))
    assert "[0.700, 0.990]" in text
    assert "95 % interval over recordings. macro F1: no interval, too few recordings per" in text


def calibrated(*, is_multi_label: bool, rejection_threshold: float) -> dict:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), 60)
    targets = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 60)]
    split = np.where(np.arange(60) < 40, "validation", "test")
    columns = {"split": split, "cross_fit_group": "0", "label": "x", "source": "", "verified": True}
    task = Task(list("abc"), is_multi_label, [])
    predictions = Predictions("ensemble", task, pd.DataFrame(columns), targets, probabilities)
    values, reliability, coverage = calibration_report(
        predictions, 1.5, rejection_threshold=rejection_threshold
    )
    return {"calibration": values, "reliability": reliability, "coverage": coverage}


@pytest.mark.slow
@pytest.mark.drawn
@pytest.mark.parametrize("is_multi_label", [False, True])
def test_calibration_has_its_figures_and_pictures(page, is_multi_label):
    added = calibrated(is_multi_label=is_multi_label, rejection_threshold=0.6)
    html = render_report(**page | added)
    assert len(drawings(html)) == 4
    text = visible(html)
    assert "and 1.50 for the mean over folds" in text
    for clips in ("out_of_fold", "test"):
        values = added["calibration"][clips]
        assert f"{values['ece_before']['value']:.3f} <small>" in text
        assert f"<td>{values['aurc']:.3f}</td>" in text
        assert f"by {values['estimator']}, the tempered probabilities are" in unescape(text)
        assert verdict(values) in text
    out_of_fold = added["calibration"]["out_of_fold"]
    assert f"With evaluate.rejection_threshold 0.6, {out_of_fold['coverage']:.1%} of the" in text
    added = calibrated(is_multi_label=is_multi_label, rejection_threshold=0.0)
    assert "every clip is answered" in visible(render_report(**page | added))


def test_several_tags_per_clip_have_thresholds_and_no_confusions(page):
    rng = np.random.default_rng(0)
    targets, p = (rng.random((2, 30, 3)) < 0.5).astype(float)
    by_tag = per_tag(p, targets, p > 0.5, np.array([0.125, 0.5, 0.75]), TAGS)
    page |= {"metrics": ["roc_auc", "micro_f1"], "by_tag": by_tag, "confusion": None}
    text = visible(render_report(**page | {"learning_curves": page["learning_curves"][:0]}))
    assert "Confusion" not in text
    assert "<th>ROC AUC</th><th>micro F1</th>" in text
    assert "<td>0.125</td>" in text
    assert "<th>threshold</th>" in text


def test_the_split_and_its_leaks_are_described(page):
    split = {
        "scheme": "official",
        "folds_are_official": True,
        "folds": ["0", "1"],
        "train_clips": 30,
        "test_clips": 9,
        "sources_across_folds": 0,
        "equal_recordings_across_folds": 2,
    }
    text = visible(render_report(**page, split=split))
    assert "official, 2 folds, as published with the corpus; 30 training clips and 9 test" in text
    assert "too high, because of leaks: 2 pairs of equal clips in different folds." in text
    split["equal_recordings_across_folds"] = 0
    assert "too high" not in visible(render_report(**page, split=split))


def test_a_better_model_of_weight_0_counts_as_best_member(page):
    page["scores"]["models"]["unused"] = entry(0.99)
    page["weights"] |= {"unused": 0.0}
    is_best, sentence = summary_of(page["scores"], "map_at_3")
    assert not is_best
    assert "unused" in sentence
    assert "unused" in visible(render_report(**page))


def test_what_is_absent_leaves_no_trace(page):
    for model in (*page["scores"]["models"].values(), page["scores"]["ensemble"]):
        model.pop("test")
        model.pop("folds", None)
    page |= {"learning_curves": page["learning_curves"][:0], "quarantine": pd.DataFrame()}
    html = render_report(**page)
    for absent in ("Public", "Learning curves", "±"):
        assert absent not in visible(html)
    assert "Every recording could be used." in html
    assert len(drawings(html)) == 0


def test_a_single_member_is_not_beaten_by_itself(page):
    scores = copy.deepcopy(page["scores"])
    del scores["models"]["two"]
    scores["ensemble"] = entry(0.81)
    assert summary_of(scores, "map_at_3") == (
        False,
        "The ensemble has one member, one: MAP@3 0.810 out of fold.",
    )


def test_weights_of_unknown_models_are_refused(page):
    with pytest.raises(ValueError, match=r"weights of \['three'\], which have no scores"):
        render_report(**page | {"weights": {"three": 1.0}})
    with pytest.raises(ValueError, match="no model has a weight above 0"):
        render_report(**page | {"weights": {"one": 0.0}})


def test_the_confusion_figure_shows_shares_of_each_actual_tag():
    figure = confusion_figure(np.array([[3, 1, 0], [0, 0, 0], [0, 0, 2]]), TAGS)
    axes = figure.axes[0]
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25, 0], [0, 0, 0], [0, 0, 1]]
    assert [text.get_text() for text in axes.texts] == ["3", "1", "2"]
    assert [text.get_text() for text in axes.get_yticklabels()] == TAGS
    with pytest.raises(ValueError, match=r"expected confusion \(3, 3\), got \(2, 2\)"):
        confusion_figure(np.eye(2, dtype=int), TAGS)


def test_the_confusion_figure_of_many_tags_has_no_counts():
    figure = confusion_figure(np.eye(50, dtype=int), [f"tag{i}" for i in range(50)])
    assert len(figure.axes[0].texts) == 0


def test_learning_curves_have_a_row_per_model_and_a_line_per_fold(page):
    figure = learning_curve_figure(page["learning_curves"])
    loss, map_at_3, rate = figure.axes[:3]
    assert len(figure.axes) == 6
    assert (len(loss.lines), len(map_at_3.lines), len(rate.lines)) == (4, 2, 2)
    assert map_at_3.lines[0].get_ydata().tolist() == [0.5, 0.8]
    band = rate.collections[1].get_paths()[0].vertices[:, 1]  # of the updates within an epoch
    assert (band.min(), band.max()) == (1e-4, 3e-3)


def test_the_history_of_one_run_needs_neither_model_nor_fold(page):
    history = page["learning_curves"].iloc[:2].drop(columns=["model", "fold", "epoch_choice"])
    assert len(learning_curve_figure(history).axes) == 3


@pytest.mark.drawn
def test_what_is_fitted_at_once_has_a_point_and_no_learning_rate(page):
    history = page["learning_curves"].iloc[:1].assign(epoch=1)
    rates = ["learning_rate", "learning_rate_low", "learning_rate_high"]
    figure = learning_curve_figure(history.assign(**dict.fromkeys(rates, np.nan)))
    drawing(figure, "")  # a logarithm of no rate would end here
    assert [axes.get_yscale() for axes in figure.axes] == ["linear"] * 3


def test_lines_and_intervals_of_the_chart_stand_where_their_values_are(page):
    scores = page["scores"] | {"baseline": {"name": "one"}}
    chart = score_chart(scores, "map_at_3", {"chance": {"map_at_3": 0.2, "accuracy": 0.1}})
    at = {float(tick): percent for percent, tick in chart.ticks}
    low, high = min(at), max(at)
    percent_of = (at[high] - at[low]) / (high - low)
    known = {name: (percent, text) for name, percent, text in chart.lines}
    assert {name: text for name, (_, text) in known.items()} == {
        "chance": "0.200",
        "baseline": "0.810",
    }
    expected = {"ensemble": 0.9, "two": 0.84, "one": 0.81}  # the best first, below the ensemble
    assert [name for name, _ in chart.rows] == list(expected)
    for name, (out_of_fold, test) in chart.rows:
        for mark, value in ((out_of_fold, expected[name]), (test, expected[name] - 0.1)):
            ends = (value - 0.02, value, value + 0.02)
            for percent, one in zip((mark.low, mark.value, mark.high), ends, strict=True):
                assert percent == pytest.approx(at[low] + percent_of * (one - low), abs=0.02)
    assert known["baseline"][0] == chart.rows[2][1][0].value
    assert score_chart(page["scores"], "map_at_3", {}).lines == []


def test_the_learning_curves_may_show_another_metric(page):
    history = page["learning_curves"].rename(columns={"map_at_3": "roc_auc"})
    axes = learning_curve_figure(history, "roc_auc").axes[1]
    assert axes.get_title() == "ROC AUC, validation"
    assert axes.lines[0].get_ydata().tolist() == [0.5, 0.8]


def test_the_reliability_diagram_has_a_dot_and_an_interval_per_bin():
    bins = pd.DataFrame(
        {
            "confidence": [0.2, 0.9, 0.3, 0.8],
            "share_right": [0.25, 1.0, 0.25, 1.0],
            "n": [100, 100, 100, 1],
            "probabilities": ["before", "before", "after", "after"],
        }
    )
    axes = reliability_figure(bins).axes[0]
    dots = [
        line for line in axes.lines if line.get_marker() in ("o", "s") and len(line.get_xdata())
    ]
    assert [line.get_ydata().tolist() for line in dots] == [[0.25, 1.0], [0.25, 1.0]]
    collections: list[Any] = list(axes.collections)
    before, after = (one.get_segments() for one in collections)
    assert before[0][:, 1].tolist() == pytest.approx([0.1755, 0.3430], abs=1e-4)  # Wilson
    assert after[1][0, 1] < before[1][0, 1]  # one clip gives a wider interval than a hundred


def test_the_coverage_curve_marks_the_rejection_threshold():
    curve = pd.DataFrame(
        {"confidence": [0.9, 0.6, 0.3], "coverage": [0.2, 0.5, 1.0], "accuracy": [1.0, 0.9, 0.7]}
    )
    axes = coverage_figure(curve, 0.5).axes[0]
    assert axes.lines[0].get_ydata().tolist() == [1.0, 0.9, 0.7]
    assert any(list(line.get_xdata()) == [0.5, 0.5] for line in axes.lines)
    without = coverage_figure(curve, 0.0).axes[0]
    assert len(without.lines) == len(axes.lines) - 1


def test_the_sweep_of_confidences_has_a_column_for_each_model(page):
    rows = [("two", c, 0.5 + c / 10, 1 + c) for c in (0.0, 0.7)]
    rows += [("one", c, 0.25, 1.0) for c in (0.0, 0.7)]
    sweep = pd.DataFrame(rows, columns=["model", "confidence", "map_at_3", "n_crops"])
    text = visible(render_report(**page, crop_sweep=sweep))
    assert "<th>confidence</th><th>two</th><th>one</th>" in text
    two, one = ("<td>0.570 <small>1.7</small></td>", "<td>0.250 <small>1.0</small></td>")
    assert f"<td>0.7</td>{two}{one}" in text
    assert "inference.confidence" not in visible(render_report(**page, crop_sweep=sweep[:0]))


def test_members_say_what_they_add_and_why_there_is_no_interval(page):
    known = Contribution("one", 0.8, {"value": 0.1, "low": 0.05, "high": 0.15}, 0.001)
    why = {"value": 0.0, "low": None, "high": None, "why_no_interval": "too <few>"}
    unknown = Contribution("two", 0.9, why, 1.0)
    text = visible(render_report(**page, contributions=[known, unknown]))
    assert "<td>one</td><td>0.8000</td><td>+0.1000 <small>[+0.0500, +0.1500]</small></td>" in text
    assert "No interval: too &lt;few&gt;." in text
    assert "What each member adds" not in visible(render_report(**page))


def test_the_page_says_which_models_are_over_fitted(page):
    fits = {"one": {"training": 0.99, "validation": 0.81, "fit": "over-fitted"}}
    html = render_report(**{**page, "scores": page["scores"] | {"fits": fits}})
    assert "<td>one</td><td>0.99</td><td>0.81</td><td>over-fitted</td>" in html
    assert "over-fitted</td>" not in render_report(**page)


def test_where_all_is_fitted_at_once_there_are_no_learning_curves(page):
    at_once = page["learning_curves"].assign(learning_rate=np.nan)
    html = render_report(**{**page, "learning_curves": at_once})
    assert "Learning curves" not in html
    assert "Learning curves" in render_report(**page)
