"""What is gained when only the most confident clips are answered.

Geifman & El-Yaniv, "Selective Classification for Deep Neural Networks" (2017).
Shapes: B clips.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from earmark.evaluation.points import Bools, Floats


def coverage_curve(confidences: Floats, is_right: Bools) -> pd.DataFrame:
    """Answer only the most confident: share answered (coverage) against accuracy among them.

    One row per distinct confidence, the highest first: the lowest that is still answered. Clips of
    equal confidence are answered together.
    """
    order = np.argsort(-confidences, kind="stable")
    ordered = confidences[order]
    ends = np.flatnonzero(np.append(np.diff(ordered) != 0, True))
    n_answered = ends + 1
    return pd.DataFrame(
        {
            "confidence": ordered[ends],
            "coverage": n_answered / len(ordered),
            "accuracy": is_right[order].cumsum()[ends] / n_answered,
        }
    )


def area_under_risk(confidences: Floats, is_right: Bools) -> float:
    """AURC: the mean, over 1 to B clips answered, of the share of wrong answers among them.

    0 is best. Clips of equal confidence share their mistakes evenly, whatever their order.
    """
    order = np.argsort(-confidences, kind="stable")
    level = np.unique(-confidences[order], return_inverse=True)[1]
    share_wrong = np.bincount(level, ~is_right[order]) / np.bincount(level)
    n_answered = np.arange(1, len(order) + 1)
    return float((share_wrong[level].cumsum() / n_answered).mean())


@dataclass(frozen=True)
class Selection:
    """What remains when unconfident clips are answered "unknown"; no accuracy if nothing does."""

    coverage: float
    accuracy: float | None

    @classmethod
    def at(cls, threshold: float, confidences: Floats, is_right: Bools) -> "Selection":
        answered = confidences >= threshold
        accuracy = float(is_right[answered].mean()) if answered.any() else None
        return cls(float(answered.mean()), accuracy)

    @classmethod
    def for_accuracy(cls, curve: pd.DataFrame, n_clips: int) -> dict[str, dict[str, float]]:
        """The lowest threshold above which 80, 90 or 95 % of at least 20 answers are right.

        Args:
            curve: of `coverage_curve`.
            n_clips: that the curve is of.

        Returns:
            accuracy -> `{"threshold", "coverage", "accuracy"}`; none for an accuracy that is never
            reached.
        """
        found = {}
        for wanted in (0.8, 0.9, 0.95):
            enough = (curve["accuracy"] >= wanted) & (curve["coverage"] * n_clips >= 20)
            if enough.any():
                row = curve[enough].iloc[-1]
                found[str(wanted)] = {
                    "threshold": float(row["confidence"]),
                    "coverage": float(row["coverage"]),
                    "accuracy": float(row["accuracy"]),
                }
        return found
