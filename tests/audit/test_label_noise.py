"""Wrong labels that were planted are found and ranked; clean labels stay clean."""

import numpy as np
import pandas as pd
import pytest
from cleanlab.count import compute_confident_joint

from earmark.audit import label_noise as audit_labels
from earmark.audit.label_noise import (
    against_truth,
    confident_tags,
    label_noise,
    log_ratio_margin,
    ranking_quality,
    thresholds_of,
    true_labels,
)

TAGS = ["bark", "cello", "drum", "flute"]


def planted(
    *, wrong_share: float, n: int = 600, seed: int = 0, shy: float = 1.0
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """Rows, probabilities (n, 4), given labels and which are wrong; verified labels are right.

    The ensemble is right about nine clips in ten; `shy` scales what it gives the last tag.
    """
    rng = np.random.default_rng(seed)
    truth = rng.integers(4, size=n)
    verified = rng.random(n) < 0.4
    is_wrong = ~verified & (rng.random(n) < wrong_share)
    given = np.where(is_wrong, (truth + rng.integers(1, 4, n)) % 4, truth)
    heard = np.where(rng.random(n) < 0.9, truth, rng.integers(4, size=n))
    logits = rng.normal(0, 1, (n, 4))
    logits[np.arange(n), heard] += 3
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


def test_the_confident_counts_are_those_of_cleanlab():
    rows, probabilities, given, _ = planted(wrong_share=0.3)
    counts = label_noise(rows, probabilities, given, TAGS, seed=0).given_to_suggested
    theirs = compute_confident_joint(given, probabilities, calibrate=False)
    assert (counts == theirs).all()
    assert (counts - np.diag(np.diag(counts))).sum() > 50


def test_thresholds_are_the_mean_probability_of_the_clips_that_carry_the_tag():
    probabilities = np.array([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9], [0.5, 0.5]])
    given = np.array([0, 0, 1, 1])
    assert thresholds_of(probabilities, given) == pytest.approx([0.7, 0.7])
    assert confident_tags(probabilities, np.array([0.7, 0.7])).tolist() == [0, -1, 1, -1]


def test_the_margin_is_measured_against_each_tag_s_threshold():
    probabilities = np.array([[0.5, 0.3, 0.2]])
    margin, other = log_ratio_margin(probabilities, np.array([0]), np.array([0.5, 0.2, 0.1]))
    assert other.tolist() == [2]
    assert margin == pytest.approx([np.log(2)])


def test_planted_errors_are_found():
    rows, probabilities, given, is_wrong = planted(wrong_share=0.33)
    noise = label_noise(rows, probabilities, given, TAGS, seed=0)
    named = noise.suspects["clip"].str[:4].astype(int).to_numpy()
    assert is_wrong[named].mean() > 0.75
    assert np.isin(np.flatnonzero(is_wrong), named).mean() > 0.85
    assert (noise.suspects["given"] != noise.suspects["suggested"]).all()
    assert (noise.suspects["decision"] == "").all()
    assert noise.suspects["score"].is_monotonic_decreasing
    share = noise.overall["unverified_corrected"]
    assert share["low"] < is_wrong[~rows["verified"]].mean() < share["high"]
    assert share["value"] < noise.overall["unverified"]["value"]


def test_clean_labels_raise_few_doubts():
    rows, probabilities, given, _ = planted(wrong_share=0.0)
    noise = label_noise(rows, probabilities, given, TAGS, seed=0)
    assert noise.overall["unverified_corrected"]["low"] == 0
    assert noise.overall["unverified_corrected"]["value"] < 0.05
    # What is left is the ensemble's own error, of about one clip in twelve.
    assert len(noise.suspects) < 0.1 * len(rows)


def test_verified_labels_need_more_against_them():
    rows, probabilities, given, _ = planted(wrong_share=0.4)
    noise = label_noise(rows, probabilities, given, TAGS, seed=0)
    verified = rows["verified"].to_numpy()
    assert len(set(noise.kind_odds[verified])) == 1
    assert noise.kind_odds[verified][0] < noise.kind_odds[~verified][0] - 1


def test_an_ensemble_shy_of_a_tag_does_not_make_it_suspect():
    rows, probabilities, given, is_wrong = planted(wrong_share=0.33, shy=0.05)
    noise = label_noise(rows, probabilities, given, TAGS, seed=0)
    found = against_truth(noise, probabilities, given, is_wrong, seed=0)["rankings"]
    by_loss = found["loss_and_kind"]["average_precision"]
    assert found["ours"]["average_precision"] > by_loss + 0.05


def test_the_ranking_s_quality_is_that_of_its_first_rows():
    is_wrong = np.array([True, False, True, False])
    perfect = ranking_quality(np.array([3.0, 1.0, 2.0, 0.0]), is_wrong)
    assert perfect == {"precision_at_n_wrong": 1.0, "average_precision": 1.0}
    half = ranking_quality(np.array([3.0, 2.0, 1.0, 0.0]), is_wrong)
    assert half["precision_at_n_wrong"] == 0.5
    assert half["average_precision"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-4)


def test_the_gain_over_loss_has_an_interval_around_it():
    rows, probabilities, given, is_wrong = planted(wrong_share=0.33, shy=0.05)
    noise = label_noise(rows, probabilities, given, TAGS, seed=0)
    gain = against_truth(noise, probabilities, given, is_wrong, seed=0)["gain_over_loss"]
    assert 0 < gain["low"] < gain["value"] < gain["high"]


def test_findings_tell_the_truth_where_it_is_known():
    rows, probabilities, given, is_wrong = planted(wrong_share=0.33)
    noise = label_noise(rows, probabilities, given, TAGS, seed=0)
    truth = against_truth(noise, probabilities, given, is_wrong, seed=0)
    first = audit_labels.findings(noise, truth)[0]
    assert first.title.startswith(f"{len(noise.suspects)} labels")
    assert "knows the truth" in first.meaning
    assert "knows the truth" not in audit_labels.findings(noise, None)[0].meaning


def test_a_corpus_tells_its_truth_or_nothing(tmp_path):
    assert true_labels(tmp_path) is None
    (tmp_path / "Some.meta").mkdir()
    (tmp_path / "Some.meta" / "truth.csv").write_text("fname,label\na.wav,bark\n")
    assert true_labels(tmp_path) == {"a.wav": "bark"}
