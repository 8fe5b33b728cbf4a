"""How well label issues are ranked, on a synthetic corpus that knows which labels are wrong."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from earmark.audit.label_noise import MIN_PROBABILITY, LabelNoise
from earmark.audit.label_posterior import Bools, Floats, Ints
from earmark.csv_files import read_csv
from earmark.seeding import rng_for

_N_RESAMPLES = 200


def true_labels(root: Path) -> Mapping[str, str] | None:
    """The true tag of each clip of a synthetic corpus; None where the corpus has no truth.csv."""
    paths = sorted(root.glob("*.meta/truth.csv"))
    if not paths:
        return None
    truth = read_csv(paths[0], dtype=str)
    return dict(zip(truth["fname"], truth["label"], strict=True))


def ranking_quality(scores: Floats, is_wrong: Bools) -> dict[str, float]:
    """Average precision, and precision among the first n of a ranking, n the wrong labels.

    Args:
        scores: (B,), the highest for the label that is most likely wrong.
        is_wrong: (B,).
    """
    n = int(is_wrong.sum())
    from sklearn.metrics import average_precision_score  # two seconds, where labels are known

    first = np.argsort(-scores, kind="stable")[:n]
    return {
        "precision_at_n_wrong": round(float(is_wrong[first].mean()), 4),
        "average_precision": round(float(average_precision_score(is_wrong, scores)), 4),
    }


def against_truth(
    noise: LabelNoise, probabilities: Floats, labels: Ints, is_wrong: Bools, *, seed: int
) -> dict[str, Any]:
    """Compare our ranking with the true errors, and with rankings by loss and by cleanlab.

    `loss_of_doubtful` ranks by loss, the labels that count as right last. `gain_over_loss`
    is the difference in average precision, with its 95 % interval over clips.

    Args:
        noise: the estimate for the same clips.
        probabilities: (B, K).
        labels: (B,), the given labels.
        is_wrong: (B,), whether the given label is wrong.
        seed: of the whole pipeline.
    """
    loss = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], MIN_PROBABILITY))
    rankings = _rankings(noise, probabilities, labels, loss)
    quality = {name: ranking_quality(scores, is_wrong) for name, scores in rankings.items()}
    gain = quality["ours"]["average_precision"] - quality["loss"]["average_precision"]
    low, high = _gain_interval(noise.p_wrong, loss, is_wrong, seed=seed)
    is_listed = noise.p_wrong > 0.5
    precision = round(float(is_wrong[is_listed].mean()), 4) if is_listed.any() else 0.0
    return {
        "wrong_labels": int(is_wrong.sum()),
        "clips": len(labels),
        "listed": int(is_listed.sum()),
        "precision_of_list": precision,
        "recall_of_list": round(float(is_listed[is_wrong].mean()), 4),
        "gain_over_loss": {"value": round(gain, 4), "low": round(low, 4), "high": round(high, 4)},
        "rankings": quality,
    }


def _rankings(
    noise: LabelNoise, probabilities: Floats, labels: Ints, loss: Floats
) -> dict[str, Floats]:
    from cleanlab.rank import get_label_quality_scores

    doubtful = np.where(noise.p_wrong > 0, loss, -1)
    rankings = {"ours": noise.p_wrong, "loss": loss, "loss_of_doubtful": doubtful}
    for method in ("normalized_margin", "confidence_weighted_entropy"):
        quality = get_label_quality_scores(labels, probabilities, method=method)
        rankings[f"cleanlab_{method}"] = -quality
    return rankings


def _gain_interval(
    ours: Floats, loss: Floats, is_wrong: Bools, *, seed: int
) -> tuple[float, float]:
    """The 95 % interval of the difference in average precision, by bootstrap over clips."""
    from sklearn.metrics import average_precision_score

    rng, gains = rng_for(seed, "audit", "ranking"), []
    for _ in range(_N_RESAMPLES):
        resample = rng.integers(len(is_wrong), size=len(is_wrong))
        if is_wrong[resample].any():
            first, second = (
                average_precision_score(is_wrong[resample], scores[resample])
                for scores in (ours, loss)
            )
            gains.append(first - second)
    low, high = np.quantile(gains, [0.025, 0.975])
    return float(low), float(high)
