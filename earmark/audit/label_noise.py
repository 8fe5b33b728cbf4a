"""Which labels are likely wrong, from the probabilities of an ensemble that never saw the clips.

Confident learning (Northcutt, Jiang, Chuang, "Confident learning: estimating uncertainty in
dataset labels", JAIR 2021): a tag's threshold is the mean probability of that tag over the clips
labelled with it (equation 2); a clip whose probability of another tag exceeds that tag's threshold
is counted as that tag. Thresholds are cleanlab's; a test compares `confident_tags` with its counts.
Shapes: B clips, K tags, R resamples.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.seeding import rng_for

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]

N_RESAMPLES = 200
MIN_PROBABILITY = 1e-9

COLUMNS = ["clip", "path", "given", "suggested", "p_given", "p_suggested", "score", "verified"]
USER_COLUMNS = ["decision", "label"]  # empty: keep, change or drop; the label to change to


@dataclass(frozen=True)
class LabelNoise:
    """The labels that are likely wrong, and estimates of how many are.

    Attributes:
        label_issues: one row per clip whose label is more likely wrong than right, the most
            likely wrong first; the columns are COLUMNS and USER_COLUMNS.
        by_tag: one row per given tag: clips, estimated_noise with its 95 % interval.
        given_to_suggested: int (K, K), counts of confident clips by given and confident tag.
        estimated_noise: the share of wrong labels with its 95 % interval, of all, verified and
            unverified labels, and of unverified ones corrected by the verified.
        scores: float (B,), the log odds that a label is wrong, of every clip.
        prior_log_odds: float (B,), the part of them that follows from `verified` alone.
    """

    label_issues: pd.DataFrame
    by_tag: pd.DataFrame
    given_to_suggested: NDArray[np.int64]
    estimated_noise: dict[str, Any]
    scores: Floats
    prior_log_odds: Floats

    def without_clips(self, clips: pd.Series) -> "LabelNoise":
        """Leave these clips out of the label issues; the estimates stay."""
        kept = ~self.label_issues["clip"].isin(clips)
        return replace(self, label_issues=self.label_issues[kept].reset_index(drop=True))


def class_thresholds(probabilities: Floats, labels: Ints) -> Floats:
    """The mean probability of each tag over the clips labelled with it, (K,)."""
    from cleanlab.count import get_confident_thresholds  # takes a second to import

    thresholds: Floats = np.asarray(
        get_confident_thresholds(labels, probabilities), dtype=np.float64
    )
    return np.maximum(thresholds, MIN_PROBABILITY)


def confident_tags(probabilities: Floats, thresholds: Floats) -> Ints:
    """The most probable tag among those above their thresholds, (B,); -1 where there is none."""
    is_above = probabilities >= thresholds - 1e-6  # cleanlab's tolerance
    most_probable = np.where(is_above, probabilities, -1).argmax(axis=1)
    return np.where(is_above.any(axis=1), most_probable, -1)


def log_ratio_margin(
    probabilities: Floats, labels: Ints, thresholds: Floats
) -> tuple[Floats, Ints]:
    """The margin of the best other tag over the given one, (B,), and that other tag, (B,).

    Both are relative to their thresholds: log(p_other / t_other) - log(p_given / t_given). So a
    tag to which the ensemble always gives low probabilities is not reported for that reason. A
    margin above 0 speaks for the other tag.
    """
    relative = np.log(np.maximum(probabilities, MIN_PROBABILITY) / thresholds)  # (B, K)
    rows = np.arange(len(labels))
    given = relative[rows, labels]
    others = relative.copy()
    others[rows, labels] = -np.inf
    suggested = others.argmax(axis=1)
    return others[rows, suggested] - given, suggested


def estimate_label_noise(
    clips: pd.DataFrame, probabilities: Floats, labels: Ints, tags: list[str], *, seed: int
) -> LabelNoise:
    """Estimate the label noise of validation clips with one tag each.

    The score of a clip is its margin plus the prior log odds that its label is wrong. The prior
    is how often the confident tag differs from the label, counted for verified and unverified
    labels apart. So a verified label needs more evidence against it.

    Args:
        clips: (B, ...), with the columns clip, path and verified.
        probabilities: (B, K), of networks that were not trained on the clips.
        labels: (B,), indices into `tags`.
        tags: the K tags.
        seed: of the whole pipeline.
    """
    verified = clips["verified"].to_numpy(dtype=bool)
    thresholds = class_thresholds(probabilities, labels)
    confident = confident_tags(probabilities, thresholds)
    margin, suggested = log_ratio_margin(probabilities, labels, thresholds)
    prior = _prior_log_odds(confident, labels, verified)
    scores = margin + prior
    issues = _label_issues(clips, probabilities, labels, suggested, scores, tags)
    matrix = np.zeros((len(tags), len(tags)), dtype=np.int64)
    is_confident = confident >= 0
    np.add.at(matrix, (labels[is_confident], confident[is_confident]), 1)
    by_tag, overall = _estimated_noise(margin > 0, labels, verified, tags, seed=seed)
    return LabelNoise(issues, by_tag, matrix, overall, scores, prior)


def _label_issues(
    clips: pd.DataFrame,
    probabilities: Floats,
    labels: Ints,
    suggested: Ints,
    scores: Floats,
    tags: list[str],
) -> pd.DataFrame:
    names, rows = np.array(tags), np.arange(len(labels))
    table = pd.DataFrame(
        {
            "clip": clips["clip"].to_numpy(),
            "path": clips["path"].to_numpy(),
            "given": names[labels],
            "suggested": names[suggested],
            "p_given": probabilities[rows, labels].round(4),
            "p_suggested": probabilities[rows, suggested].round(4),
            "score": scores.round(4),
            "verified": clips["verified"].to_numpy(dtype=bool),
            **dict.fromkeys(USER_COLUMNS, ""),
        }
    )
    issues = table[scores > 0].sort_values(["score", "clip"], ascending=[False, True])
    return issues.reset_index(drop=True)


def _prior_log_odds(confident: Ints, labels: Ints, verified: Bools) -> Floats:
    """The log odds (B,) that a verified, or an unverified, label is wrong."""
    log_odds = np.zeros(len(labels))
    for group in (verified, ~verified):
        is_counted = group & (confident >= 0)
        n_wrong = np.count_nonzero(is_counted & (confident != labels))
        n_right = np.count_nonzero(is_counted) - n_wrong
        log_odds[group] = np.log((n_wrong + 0.5) / (n_right + 0.5))
    return log_odds


def _estimated_noise(
    is_wrong: Bools, labels: Ints, verified: Bools, tags: list[str], *, seed: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The shares of `_wrong_shares` with 95 % intervals: a table by tag, and the others.

    The intervals are over clips (bootstrap). Thresholds stay those of all clips, since resampled
    ones are noisier and would make more labels look wrong.
    """
    k, n = len(tags), len(labels)
    point = _wrong_shares(is_wrong, labels, verified, k)
    rng = rng_for(seed, "audit", "labels")
    resamples = rng.integers(n, size=(N_RESAMPLES, n))
    resampled = np.array(
        [_wrong_shares(is_wrong[i], labels[i], verified[i], k) for i in resamples]
    )  # (R, K + 4)
    low, high = np.full((2, k + 4), np.nan)
    is_known = ~np.isnan(resampled).all(axis=0)
    low[is_known], high[is_known] = np.nanquantile(resampled[:, is_known], [0.025, 0.975], axis=0)
    by_tag = pd.DataFrame(
        {
            "tag": tags,
            "clips": np.bincount(labels, minlength=k),
            "estimated_noise": point[:k].round(4),
            "low": low[:k].round(4),
            "high": high[:k].round(4),
        }
    ).sort_values(["estimated_noise", "tag"], ascending=[False, True], ignore_index=True)
    groups = ("all", "verified", "unverified", "unverified_corrected")
    estimates = zip(groups, *(x[k:].round(4).tolist() for x in (point, low, high)), strict=True)
    overall = {
        group: {"value": value, "low": lowest, "high": highest}
        for group, value, lowest, highest in estimates
        if not np.isnan(value)
    }
    return by_tag, overall


def _wrong_shares(is_wrong: Bools, labels: Ints, verified: Bools, n_tags: int) -> Floats:
    """Shares (K + 4,) of labels that look wrong, NaN where there is no label.

    By tag, then of all, verified and unverified labels, then of unverified labels corrected by
    the verified ones. Those count as right, so what looks wrong among them is the ensemble's own
    error, which unverified labels have as well: (u - v) / (1 - v).
    """
    sizes = np.bincount(labels, minlength=n_tags)
    counts = np.bincount(labels, weights=is_wrong, minlength=n_tags)
    by_tag = np.divide(counts, sizes, out=np.full(n_tags, np.nan), where=sizes > 0)
    groups = (np.ones(len(labels), dtype=bool), verified, ~verified)
    shares = [float(is_wrong[group].mean()) if group.any() else np.nan for group in groups]
    v, u = shares[1:]
    shares.append(max(0.0, (u - v) / (1 - v)) if v < 1 and not np.isnan(u) else np.nan)
    return np.array([*by_tag, *shares])
