"""Planted wrong labels are found, counted and told apart from the ensemble's own errors."""

import numpy as np
import pandas as pd
import pytest
from cleanlab.count import get_confident_thresholds

from earmark.audit import label_issues
from earmark.audit.label_noise import (
    LabelNoise,
    class_thresholds,
    estimate_label_noise,
    skill_of,
)
from earmark.audit.label_ranking import against_truth, ranking_quality, true_labels
from earmark.audit.result import LabelAudit

TAGS = ["bark", "cello", "drum", "flute"]
NOBODY = pd.Series(dtype="str")  # the user has decided about no clip


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
            "source": "",
            "verified": verified,
        }
    )
    return rows, weights / weights.sum(axis=1, keepdims=True), given, is_wrong


def without_flags(
    *, signal: float, wrong_share: float, seed: int = 0, n: int = 400, n_tags: int = 10
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, np.ndarray]:
    """As `planted`, of a corpus that does not know of verified labels.

    Each tag has a similar one, the probabilities are too confident, and one clip in thirty sounds
    like another tag.
    """
    rng = np.random.default_rng(seed)
    truth = rng.integers(n_tags, size=n)
    heard = np.where(rng.random(n) < 1 / 30, rng.integers(n_tags, size=n), truth)
    similar = np.eye(n_tags) + np.kron(np.eye(n_tags // 2), [[0, 0.5], [0.5, 0]])
    evidence = signal * similar[heard] + rng.normal(0, 1, (n, n_tags))
    weights = np.exp(1.5 * signal * evidence)
    is_wrong = np.zeros(n, dtype=bool)
    is_wrong[rng.permutation(n)[: round(wrong_share * n)]] = True
    given = np.where(is_wrong, (truth + rng.integers(1, n_tags, n)) % n_tags, truth)
    names = [f"{i:03}.wav" for i in range(n)]
    rows = pd.DataFrame({"clip": names, "path": names, "source": "", "verified": True})
    return rows, weights / weights.sum(axis=1, keepdims=True), given, is_wrong


def estimate(
    rows: pd.DataFrame,
    probabilities: np.ndarray,
    given: np.ndarray,
    *,
    decided: tuple[str, ...] = (),
) -> LabelNoise:
    tags = [f"tag{i}" for i in range(probabilities.shape[1])]
    return estimate_label_noise(
        rows, probabilities, given, tags, decided=pd.Series(decided, dtype="str"), seed=0
    )


def test_thresholds_are_mean_probabilities_of_the_clips_labelled_with_it():
    probabilities = np.array([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9], [0.5, 0.5]])
    given = np.array([0, 0, 1, 1])
    assert class_thresholds(probabilities, given) == pytest.approx([0.7, 0.7])
    theirs = get_confident_thresholds(given, probabilities)
    assert class_thresholds(probabilities, given) == pytest.approx(theirs)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("wrong_share", [0, 0.05, 0.3])
@pytest.mark.parametrize("signal", [1.8, 2.4, 3.4])
def test_planted_noise_comes_back_within_its_interval(signal, wrong_share, seed):
    rows, probabilities, given, is_wrong = without_flags(
        signal=signal, wrong_share=wrong_share, seed=seed
    )
    noise = estimate(rows, probabilities, given)
    share = noise.estimated_noise["all"]
    assert share["low"] <= wrong_share <= share["high"]
    assert share["high"] - share["low"] < 0.35
    if noise.precision is not None:
        listed = is_wrong[noise.p_wrong > 0.5].mean()
        assert noise.precision["low"] - 1e-4 <= listed <= noise.precision["high"] + 1e-4


def test_good_labels_are_not_accused_by_an_ensemble_that_is_right_in_62_percent():
    rows, probabilities, given, _ = without_flags(signal=2.2, wrong_share=0)
    assert 0.55 < (probabilities.argmax(axis=1) == given).mean() < 0.68
    noise = estimate(rows, probabilities, given)
    assert len(noise.label_issues) <= 2
    assert noise.estimated_noise["all"]["low"] == 0
    assert noise.estimated_noise["all"]["value"] < 0.03


@pytest.mark.parametrize(("signal", "is_clear"), [(0, False), (0.3, False), (1.5, True)])
def test_an_ensemble_near_chance_has_no_opinion(signal, is_clear):
    rows, probabilities, given, _ = without_flags(signal=signal, wrong_share=0, n=60)
    assert skill_of(probabilities, given, rows["source"]).is_clear == is_clear


def test_a_constant_answer_is_no_skill():
    given = np.array([0] * 80 + [1] * 20)
    always = np.tile([0.8, 0.2], (100, 1))
    skill = skill_of(always, given, pd.Series([""] * 100))
    assert (skill.accuracy, skill.baseline, skill.is_clear) == (0.8, 0.8, False)


def test_clips_of_one_recording_say_less_than_so_many_clips():
    rows, probabilities, given, _ = without_flags(signal=2.4, wrong_share=0.3)
    cut = rows.assign(source=[f"recording{i // 8}" for i in range(len(rows))])
    alone, together = (
        estimate(table, probabilities, given).estimated_noise["all"] for table in (rows, cut)
    )
    assert together["high"] - together["low"] > 1.3 * (alone["high"] - alone["low"])
    skill, wider = (skill_of(probabilities, given, table["source"]) for table in (rows, cut))
    assert wider.high - wider.low > 2 * (skill.high - skill.low)


def test_planted_errors_are_found():
    rows, probabilities, given, is_wrong = planted(wrong_share=0.33)
    noise = estimate(rows, probabilities, given)
    named = noise.label_issues["clip"].str[:4].astype(int).to_numpy()
    assert is_wrong[named].mean() > 0.75
    assert np.isin(np.flatnonzero(is_wrong), named).mean() > 0.85
    assert (noise.label_issues["given"] != noise.label_issues["suggested"]).all()
    assert (noise.label_issues["decision"] == "").all()
    assert noise.label_issues["p_wrong"].is_monotonic_decreasing
    assert noise.given_to_suggested.sum() == len(noise.label_issues)
    share = noise.estimated_noise["unverified"]
    assert share["low"] < is_wrong[~rows["verified"]].mean() < share["high"]
    assert noise.precision["low"] < is_wrong[named].mean() < noise.precision["high"]


def test_few_correct_labels_are_listed():
    rows, probabilities, given, _ = planted(wrong_share=0.0)
    noise = estimate(rows, probabilities, given)
    assert noise.estimated_noise["unverified"]["low"] == 0
    assert noise.estimated_noise["unverified"]["value"] < 0.05
    assert len(noise.label_issues) < 0.02 * len(rows)


def test_verified_labels_count_as_right_where_others_are_not():
    rows, probabilities, given, _ = planted(wrong_share=0.4)
    noise = estimate(rows, probabilities, given)
    assert not noise.label_issues["verified"].any()
    assert (noise.p_wrong[rows["verified"]] == 0).all()
    assert estimate(rows.assign(verified=True), probabilities, given).label_issues["verified"].any()


def test_a_tag_of_low_probabilities_makes_no_label_issues():
    rows, probabilities, given, is_wrong = planted(wrong_share=0.33, shy=0.05)
    noise = estimate(rows, probabilities, given)
    rankings = against_truth(noise, probabilities, given, is_wrong, seed=0)["rankings"]
    by_loss = rankings["loss_of_doubtful"]["average_precision"]
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
    noise = estimate(rows, probabilities, given)
    gain = against_truth(noise, probabilities, given, is_wrong, seed=0)["gain_over_loss"]
    assert 0 < gain["low"] < gain["value"] < gain["high"]


def test_findings_compare_with_the_true_labels_where_they_are_known():
    rows, probabilities, given, is_wrong = planted(wrong_share=0.33)
    noise = estimate(rows, probabilities, given)
    truth = against_truth(noise, probabilities, given, is_wrong, seed=0)
    first = label_issues.findings(LabelAudit(noise, TAGS, "", truth))[0]
    assert first.title.startswith(f"{len(noise.label_issues)} labels")
    assert "true labels of this synthetic corpus" in first.meaning
    unknown = label_issues.findings(LabelAudit(noise, TAGS, "", None))[0]
    assert "true labels" not in unknown.meaning


def test_clips_that_the_user_decided_about_are_no_label_issues_any_more():
    rows, probabilities, given, _ = without_flags(signal=2.4, wrong_share=0.3)
    before = list(estimate(rows, probabilities, given).label_issues["clip"])
    rows["verified"] = rows["clip"].isin(before[:3])  # as corrections leave it where none was
    after = estimate(rows, probabilities, given, decided=pd.Series(before[:3]))
    assert list(after.label_issues["clip"]) == before[3:]


def test_true_labels_are_read_where_the_corpus_has_them(tmp_path):
    assert true_labels(tmp_path) is None
    (tmp_path / "Some.meta").mkdir()
    (tmp_path / "Some.meta" / "truth.csv").write_text("fname,label\na.wav,bark\n")
    assert true_labels(tmp_path) == {"a.wav": "bark"}
