"""One temperature that divides logits, so that probabilities mean what they say.

Guo et al., "On Calibration of Modern Neural Networks" (2017).
Shapes: B clips, K tags.
"""

import numpy as np

from earmark.evaluation.logits import log, logit
from earmark.evaluation.points import Floats, Ints

COLDEST, HOTTEST = 0.05, 20.0  # where a tagger errs never, or always, no temperature is the best


def fit_temperature(probabilities: Floats, targets: Floats, *, is_multi_label: bool) -> float:
    """Find the one temperature that makes `(B, K)` targets likeliest.

    Above 1 it lowers confidence. The loss is convex in its inverse, so there is one answer; it is
    kept in [0.05, 20].
    """
    from scipy.optimize import minimize_scalar

    def loss(inverse: float) -> float:
        tempered = _tempered_logs(probabilities, 1 / inverse, is_multi_label=is_multi_label)
        if is_multi_label:
            return float((np.logaddexp(0, tempered) - targets * tempered).mean())
        return float(-(tempered * targets).sum(axis=1).mean())

    bounds = (1 / HOTTEST, 1 / COLDEST)
    result = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(1 / result.x)


def temper(probabilities: Floats, temperature: float, *, is_multi_label: bool) -> Floats:
    """Divide the logits of `(B, K)` by the temperature; the order of the tags stays as it is."""
    from scipy.special import expit

    tempered = _tempered_logs(probabilities, temperature, is_multi_label=is_multi_label)
    return np.asarray(expit(tempered) if is_multi_label else np.exp(tempered))


def temper_cross_fitted(
    probabilities: Floats, targets: Floats, groups: Ints, *, is_multi_label: bool
) -> Floats:
    """Temper each group of the clips by the temperature of the others; a lone group stays."""
    tempered = np.array(probabilities, dtype=np.float64)
    for group in np.unique(groups):
        in_group = groups == group
        if not in_group.all():
            temperature = fit_temperature(
                probabilities[~in_group], targets[~in_group], is_multi_label=is_multi_label
            )
            tempered[in_group] = temper(
                probabilities[in_group], temperature, is_multi_label=is_multi_label
            )
    return tempered


def _tempered_logs(probabilities: Floats, temperature: float, *, is_multi_label: bool) -> Floats:
    """Logits of each tag, or normalised log-probabilities of the classes."""
    from scipy.special import log_softmax

    if is_multi_label:
        return logit(probabilities) / temperature
    return np.asarray(log_softmax(log(probabilities) / temperature, axis=1))
