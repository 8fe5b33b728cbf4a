"""Planted wrong labels are found and ranked first; correct labels are hardly ever listed."""

import numpy as np
import pandas as pd
import pytest
from cleanlab.count import compute_confident_joint

from earmark.audit import label_issues
from earmark.audit.label_noise import (
    class_thresholds,
    confident_tags,
    estimate_label_noise,
    log_ratio_margin,
)
from earmark.audit.label_ranking import against_truth, ranking_quality, true_labels
from earmark.audit.result import LabelAudit

TAGS = ["bark", "cello", "drum", "flute"]


def planted(
    *, wrong_share: float, n: int = 600, seed: int = 0, shy: float = 1.0
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """Clips, probabilities (n, 4), given labels and which are wrong; verified labels are right.

    The ensemble is right about nine of ten clips; `shy` scales its probabilities of the last tag.
    """
    rng = np.random.default_rng(seed)
    truth = rng.integers(4, size=n)
    verified = rng.random(n) < 0.4
    is_wrong = ~verified & (rng.random(n) < wrong_share)
    given = np.where(is_wrong, (truth + rng.integers(1, 4, n)) % 4, truth)
    answers = np.where(rng.random(n) < 0.9, truth, rng.integers(4, size=n))
    logits = rng.normal(0, 1, (n, 4))
    logits[np.arange(n), answers] += 3
    weights = np.exp(logits) * np.array([1, 1, 1, shy])
    rows = pd.DataFrame(
        {
            "clip": [f"{i:04}.wav" for i in range(n)],
            "path": [f"audio/{i:04}.wav" for i in range(n)],
            "label": np.array(TAGS)[given],
            "verified": verified,
        }
    )
    return rows, weights / weights.sum(axis=1, keepdims=True), given, is_wrong


def test_confident_counts_equal_those_of_cleanlab():
    rows, probabilities, given, _ = planted(wrong_share=0.3)
    counts = estimate_label_noise(rows, probabilities, given, TAGS, seed=0).given_to_suggested
    theirs = compute_confident_joint(given, probabilities, calibrate=False)
    assert (counts == theirs).all()
    assert (counts - np.diag(np.diag(counts))).sum() > 50


def test_thresholds_are_mean_probabilities_of_the_clips_labelled_with_it():
    probabilities = np.array([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9], [0.5, 0.5]])
    given = np.array([0, 0, 1, 1])
    assert class_thresholds(probabilities, given) == pytest.approx([0.7, 0.7])
    assert confident_tags(probabilities, np.array([0.7, 0.7])).tolist() == [0, -1, 1, -1]


def test_the_margin_is_relative_to_the_threshold_of_each_tag():
    probabilities = np.array([[0.5, 0.3, 0.2]])
    margin, other = log_ratio_margin(probabilities, np.array([0]), np.array([0.5, 0.2, 0.1]))
    assert other.tolist() == [2]
    assert margin == pytest.approx([np.log(2)])


def test_planted_errors_are_found():
    rows, probabilities, given, is_wrong = planted(wrong_share=0.33)
    noise = estimate_label_noise(rows, probabilities, given, TAGS, seed=0)
    named = noise.label_issues["clip"].str[:4].astype(int).to_numpy()
    assert is_wrong[named].mean() > 0.75
    assert np.isin(np.flatnonzero(is_wrong), named).mean() > 0.85
    assert (noise.label_issues["given"] != noise.label_issues["suggested"]).all()
    assert (noise.label_issues["decision"] == "").all()
    assert noise.label_issues["score"].is_monotonic_decreasing
    share = noise.estimated_noise["unverified_corrected"]
    assert share["low"] < is_wrong[~rows["verified"]].mean() < share["high"]
    assert share["value"] < noise.estimated_noise["unverified"]["value"]


def test_few_correct_labels_are_listed():
    rows, probabilities, given, _ = planted(wrong_share=0.0)
    noise = estimate_label_noise(rows, probabilities, given, TAGS, seed=0)
    assert noise.estimated_noise["unverified_corrected"]["low"] == 0
    assert noise.estimated_noise["unverified_corrected"]["value"] < 0.05
    # The rest is the ensemble's own error, about one clip in twelve.
    assert len(noise.label_issues) < 0.1 * len(rows)


def test_verified_labels_need_more_evidence_against_them():
    rows, probabilities, given, _ = planted(wrong_share=0.4)
    noise = estimate_label_noise(rows, probabilities, given, TAGS, seed=0)
    verified = rows["verified"].to_numpy()
    assert len(set(noise.prior_log_odds[verified])) == 1
    assert noise.prior_log_odds[verified][0] < noise.prior_log_odds[~verified][0] - 1


def test_a_tag_of_low_probabilities_makes_no_label_issues():
    rows, probabilities, given, is_wrong = planted(wrong_share=0.33, shy=0.05)
    noise = estimate_label_noise(rows, probabilities, given, TAGS, seed=0)
    rankings = against_truth(noise, probabilities, given, is_wrong, seed=0)["rankings"]
    by_loss = rankings["loss_and_prior"]["average_precision"]
    assert rankings["ours"]["average_precision"] > by_loss + 0.05


def test_ranking_quality_of_perfect_and_half_right_rankings():
    is_wrong = np.array([True, False, True, False])
    perfect = ranking_quality(np.array([3.0, 1.0, 2.0, 0.0]), is_wrong)
    assert perfect == {"precision_at_n_wrong": 1.0, "average_precision": 1.0}
    half = ranking_quality(np.array([3.0, 2.0, 1.0, 0.0]), is_wrong)
    assert half["precision_at_n_wrong"] == 0.5
    assert half["average_precision"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-4)


def test_the_gain_over_loss_has_an_interval_around_it():
    rows, probabilities, given, is_wrong = planted(wrong_share=0.33, shy=0.05)
    noise = estimate_label_noise(rows, probabilities, given, TAGS, seed=0)
    gain = against_truth(noise, probabilities, given, is_wrong, seed=0)["gain_over_loss"]
    assert 0 < gain["low"] < gain["value"] < gain["high"]


def test_findings_compare_with_the_true_labels_where_they_are_known():
    rows, probabilities, given, is_wrong = planted(wrong_share=0.33)
    noise = estimate_label_noise(rows, probabilities, given, TAGS, seed=0)
    truth = against_truth(noise, probabilities, given, is_wrong, seed=0)
    first = label_issues.findings(LabelAudit(noise, TAGS, "", truth))[0]
    assert first.title.startswith(f"{len(noise.label_issues)} labels")
    assert "true labels of this synthetic corpus" in first.meaning
    unknown = label_issues.findings(LabelAudit(noise, TAGS, "", None))[0]
    assert "true labels" not in unknown.meaning


def test_clips_that_the_user_decided_about_are_no_label_issues_any_more():
    rows, probabilities, given, _ = planted(wrong_share=0.33)
    noise = estimate_label_noise(rows, probabilities, given, TAGS, seed=0)
    decided = noise.label_issues["clip"][:3]
    rest = noise.without_clips(decided)
    assert rest.label_issues["clip"].tolist() == noise.label_issues["clip"].tolist()[3:]
    assert rest.estimated_noise == noise.estimated_noise


def test_true_labels_are_read_where_the_corpus_has_them(tmp_path):
    assert true_labels(tmp_path) is None
    (tmp_path / "Some.meta").mkdir()
    (tmp_path / "Some.meta" / "truth.csv").write_text("fname,label\na.wav,bark\n")
    assert true_labels(tmp_path) == {"a.wav": "bark"}
