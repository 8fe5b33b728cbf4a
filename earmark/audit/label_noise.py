"""Which labels are likely wrong, by what an ensemble that never trained on a clip says of it.

Confident learning (Northcutt, Jiang, Chuang, "Confident learning: estimating uncertainty in
dataset labels", JAIR 2021): a tag's threshold is the mean probability of that tag over the clips
that carry it (equation 2); a clip whose probability of another tag exceeds that tag's threshold is
counted as that tag. Thresholds are cleanlab's; `confident_tags` is tested against its counts.
Shapes: B clips, K tags, R resamples.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from earmark.audit.findings import Finding, some
from earmark.seeding import rng_for

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]

N_RESAMPLES = 200
_SMALLEST = 1e-9
_NOISY = 0.1  # a class whose interval lies above this is named

COLUMNS = ["clip", "path", "given", "suggested", "p_given", "p_suggested", "score", "verified"]
FOR_THE_USER = ["decision", "label"]  # empty columns: keep, change or drop; the label to change to


@dataclass(frozen=True)
class LabelNoise:
    """What is doubtful.

    Attributes:
        suspects: a row a clip that is likelier wrong than right, the likeliest wrong first.
        by_tag: a row a given tag: clips, share that looks wrong with its 95 % interval.
        given_to_suggested: int (K, K), counts of confident clips by given and by confident tag.
        overall: shares that look wrong, among all, verified and unverified clips, and corrected.
        scores: float (B,), the log odds that a label is wrong, of every clip.
        kind_odds: float (B,), what of it comes from whether the label is verified.
    """

    suspects: pd.DataFrame
    by_tag: pd.DataFrame
    given_to_suggested: NDArray[np.int64]
    overall: dict[str, Any]
    scores: Floats
    kind_odds: Floats

    def replace_suspects(self, suspects: pd.DataFrame) -> "LabelNoise":
        return replace(self, suspects=suspects)


def thresholds_of(probabilities: Floats, labels: Ints) -> Floats:
    """The mean probability of each tag over the clips that carry it, (K,)."""
    from cleanlab.count import get_confident_thresholds  # takes a second to import

    found: Floats = np.asarray(get_confident_thresholds(labels, probabilities), dtype=np.float64)
    return np.maximum(found, _SMALLEST)


def confident_tags(probabilities: Floats, thresholds: Floats) -> Ints:
    """The likeliest tag above its own threshold, (B,); -1 where no tag is."""
    above = probabilities >= thresholds - 1e-6  # cleanlab's tolerance
    return np.where(above.any(axis=1), np.where(above, probabilities, -1).argmax(axis=1), -1)


def log_ratio_margin(
    probabilities: Floats, labels: Ints, thresholds: Floats
) -> tuple[Floats, Ints]:
    """How much the given tag loses to the best other one, (B,), and that other tag, (B,).

    Both are measured against their thresholds: log(p_other / t_other) - log(p_given / t_given).
    So a tag of which the ensemble is always shy is not suspected for it. Above 0 is doubtful.
    """
    relative = np.log(np.maximum(probabilities, _SMALLEST) / thresholds)  # (B, K)
    rows = np.arange(len(labels))
    given = relative[rows, labels]
    others = relative.copy()
    others[rows, labels] = -np.inf
    suggested = others.argmax(axis=1)
    return others[rows, suggested] - given, suggested


def label_noise(
    rows: pd.DataFrame, probabilities: Floats, labels: Ints, tags: list[str], *, seed: int
) -> LabelNoise:
    """Judge held-out clips (columns clip, path, label, verified) with one tag each.

    A clip's score is its margin plus the log odds that labels of its kind are wrong: verified and
    unverified clips are two kinds, and how often the confident tag is another is counted in each.
    So a verified label needs more against it, as much more as verified labels prove better.
    """
    verified = rows["verified"].to_numpy(dtype=bool)
    thresholds = thresholds_of(probabilities, labels)
    confident = confident_tags(probabilities, thresholds)
    margin, suggested = log_ratio_margin(probabilities, labels, thresholds)
    kind_odds = _log_odds(confident, labels, verified)
    scores = margin + kind_odds
    named = np.array(tags)
    own, other = (probabilities[np.arange(len(labels)), tag] for tag in (labels, suggested))
    table = pd.DataFrame(
        {
            "clip": rows["clip"].to_numpy(),
            "path": rows["path"].to_numpy(),
            "given": named[labels],
            "suggested": named[suggested],
            "p_given": own.round(4),
            "p_suggested": other.round(4),
            "score": scores.round(4),
            "verified": verified,
            **dict.fromkeys(FOR_THE_USER, ""),
        }
    )
    suspects = table[scores > 0].sort_values(["score", "clip"], ascending=[False, True])
    matrix = np.zeros((len(tags), len(tags)), dtype=np.int64)
    sure = confident >= 0
    np.add.at(matrix, (labels[sure], confident[sure]), 1)
    by_tag, overall = _shares(margin > 0, labels, verified, tags, seed=seed)
    return LabelNoise(suspects.reset_index(drop=True), by_tag, matrix, overall, scores, kind_odds)


def _log_odds(confident: Ints, labels: Ints, verified: Bools) -> Floats:
    """For each clip (B,) the log odds that labels of its kind are wrong."""
    odds = np.zeros(len(labels))
    for kind in (verified, ~verified):
        sure = kind & (confident >= 0)
        wrong = np.count_nonzero(sure & (confident != labels))
        odds[kind] = np.log((wrong + 0.5) / (np.count_nonzero(sure) - wrong + 0.5))
    return odds


def _shares(
    wrong: Bools, labels: Ints, verified: Bools, tags: list[str], *, seed: int
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Shares of each tag's clips, and of kinds of clips, that look wrong, with 95 % intervals.

    The intervals are over clips (bootstrap); thresholds stay those of all clips, since resampled
    ones are noisier and would make more clips look wrong.
    """
    k, n = len(tags), len(labels)
    point = _wrong_shares(wrong, labels, verified, k)
    rng = rng_for(seed, "audit", "labels")
    drawn = rng.integers(n, size=(N_RESAMPLES, n))
    resampled = np.array([_wrong_shares(wrong[d], labels[d], verified[d], k) for d in drawn])
    low, high = np.full((2, k + 4), np.nan)  # resampled is (R, K + 4)
    seen = ~np.isnan(resampled).all(axis=0)
    low[seen], high[seen] = np.nanquantile(resampled[:, seen], [0.025, 0.975], axis=0)
    by_tag = pd.DataFrame(
        {
            "tag": tags,
            "clips": np.bincount(labels, minlength=k),
            "looks_wrong": point[:k].round(4),
            "low": low[:k].round(4),
            "high": high[:k].round(4),
        }
    ).sort_values(["looks_wrong", "tag"], ascending=[False, True], ignore_index=True)
    kinds = ("all", "verified", "unverified", "unverified_corrected")
    ends = zip(kinds, *(x[k:].round(4).tolist() for x in (point, low, high)), strict=True)
    overall = {
        kind: {"value": value, "low": lowest, "high": highest}
        for kind, value, lowest, highest in ends
        if not np.isnan(value)
    }
    return by_tag, overall


def _wrong_shares(wrong: Bools, labels: Ints, verified: Bools, n_tags: int) -> Floats:
    """Shares (K + 4,) of the clips that look wrong, NaN where there is no such clip.

    By tag, of all, of verified, of unverified clips, and the last less what the verified show: they
    are taken as right, so what looks wrong among them is the ensemble's own error, which the
    unverified have too: (u - v) / (1 - v).
    """
    sizes = np.bincount(labels, minlength=n_tags)
    counts = np.bincount(labels, weights=wrong, minlength=n_tags)
    by_tag = np.divide(counts, sizes, out=np.full(n_tags, np.nan), where=sizes > 0)
    kinds = (np.ones(len(labels), dtype=bool), verified, ~verified)
    shares = [float(wrong[kind].mean()) if kind.any() else np.nan for kind in kinds]
    v, u = shares[1:]
    shares.append(max(0.0, (u - v) / (1 - v)) if v < 1 and not np.isnan(u) else np.nan)
    return np.array([*by_tag, *shares])


def ranking_quality(scores: Floats, is_wrong: Bools) -> dict[str, float]:
    """Precision among the first n of the ranking, n the number of wrong labels, and the AP."""
    n = int(is_wrong.sum())
    first = np.argsort(-scores, kind="stable")[:n]
    return {
        "precision_at_n_wrong": round(float(is_wrong[first].mean()), 4),
        "average_precision": round(float(average_precision_score(is_wrong, scores)), 4),
    }


def against_truth(
    noise: LabelNoise, probabilities: Floats, labels: Ints, is_wrong: Bools, *, seed: int
) -> dict[str, Any]:
    """Compare our ranking, on a corpus that knows which labels are wrong, with loss and cleanlab's.

    `loss_and_kind` is loss that knows of verified labels what ours knows.

    `gain_over_loss` is the difference in average precision, with its 95 % interval over clips.
    """
    from cleanlab.rank import get_label_quality_scores

    loss = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], _SMALLEST))
    rankings = {"ours": noise.scores, "loss": loss, "loss_and_kind": loss + noise.kind_odds}
    for method in ("normalized_margin", "confidence_weighted_entropy"):
        rankings[f"cleanlab_{method}"] = -get_label_quality_scores(
            labels, probabilities, method=method
        )
    listed = noise.scores > 0
    rng, gains = rng_for(seed, "audit", "ranking"), []
    for _ in range(N_RESAMPLES):
        drawn = rng.integers(len(labels), size=len(labels))
        if is_wrong[drawn].any():
            ours, theirs = (
                average_precision_score(is_wrong[drawn], x[drawn]) for x in (noise.scores, loss)
            )
            gains.append(ours - theirs)
    low, high = np.quantile(gains, [0.025, 0.975])
    value = ranking_quality(noise.scores, is_wrong)["average_precision"]
    gain = value - ranking_quality(loss, is_wrong)["average_precision"]
    return {
        "wrong_labels": int(is_wrong.sum()),
        "clips": len(labels),
        "listed": int(listed.sum()),
        "precision_of_list": round(float(is_wrong[listed].mean()), 4) if listed.any() else 0.0,
        "recall_of_list": round(float(listed[is_wrong].mean()), 4),
        "gain_over_loss": {
            "value": round(gain, 4), "low": round(float(low), 4), "high": round(float(high), 4)
        },
        "rankings": {name: ranking_quality(x, is_wrong) for name, x in rankings.items()},
    }  # fmt: skip


def true_labels(root: Path) -> Mapping[str, str] | None:
    """The tags that a synthetic corpus truly holds, by clip; None where it does not tell."""
    found = sorted(root.glob("*.meta/truth.csv"))
    if not found:
        return None
    truth = pd.read_csv(found[0], dtype=str)
    return dict(zip(truth["fname"], truth["label"], strict=True))


def findings(noise: LabelNoise, truth: Mapping[str, Any] | None) -> list[Finding]:
    result = []
    overall = noise.overall
    if n := len(noise.suspects):
        best = overall.get("unverified_corrected", overall["all"])
        checked = "" if truth is None else (
            f" This corpus knows the truth: {truth['precision_of_list']:.0%} of the list are wrong "
            f"indeed, and {truth['recall_of_list']:.0%} of the wrong labels are on it."
        )  # fmt: skip
        what = "unverified labels" if "unverified_corrected" in overall else "labels"
        result.append(
            Finding(
                "serious",
                "labels",
                f"{n} labels are likelier wrong than right",
                f"Of the {what} about {best['value']:.0%} [{best['low']:.0%}, {best['high']:.0%}] "
                f"look wrong to an ensemble that did not train on them.{checked}",
                "Listen to the first rows of suspects.csv, fill the column decision (keep, change "
                "or drop), and name the file in corpus.label_corrections.",
            )
        )
    noisy = noise.by_tag[noise.by_tag["low"] > _NOISY]
    if len(noisy):
        said = [f"{t} ({v:.0%})" for t, v in noisy[["tag", "looks_wrong"]].to_numpy()]
        result.append(
            Finding(
                "minor",
                "labels",
                f"In {len(noisy)} classes more than {_NOISY:.0%} of the labels look wrong",
                f"Even at the low end of the interval: {some(said, shown=5)}. Some of it is the "
                "ensemble's own error.",
                "Begin with the suspects of these classes.",
            )
        )
    return result
