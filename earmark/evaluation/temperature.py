"""One temperature that divides logits, so that probabilities mean what they say.

Guo et al., "On Calibration of Modern Neural Networks" (2017).
Shapes: B clips, F folds, K tags.
"""

from collections.abc import Callable

import numpy as np

from earmark.evaluation.logits import log, logit
from earmark.evaluation.points import Bools, Floats, Ints

COLDEST, HOTTEST = 0.05, 20.0  # where a tagger errs never, or always, no temperature is the best


def fit_temperature(probabilities: Floats, targets: Floats, *, is_multi_label: bool) -> float:
    """Find the one temperature that makes `(B, K)` targets likeliest.

    Above 1 it lowers confidence. The loss is convex in its inverse, so there is one answer; it is
    kept in [0.05, 20].
    """

    def loss(inverse: float) -> float:
        tempered = _tempered_logs(probabilities, 1 / inverse, is_multi_label=is_multi_label)
        if is_multi_label:
            return float((np.logaddexp(0, tempered) - targets * tempered).mean())
        return float(-(tempered * targets).sum(axis=1).mean())

    return _best_temperature(loss)


def temper(probabilities: Floats, temperature: float, *, is_multi_label: bool) -> Floats:
    """Divide the logits of `(B, K)` by the temperature; the order of the tags stays as it is."""
    from scipy.special import expit

    tempered = _tempered_logs(probabilities, temperature, is_multi_label=is_multi_label)
    return np.asarray(expit(tempered) if is_multi_label else np.exp(tempered))


def temper_cross_fitted(
    probabilities: Floats,
    targets: Floats,
    groups: Ints,
    *,
    is_multi_label: bool,
    is_trusted: Bools | None = None,
) -> Floats:
    """Temper each group of the clips by the temperature of the others; a lone group stays.

    It is fitted on the others of `is_trusted` `(B,)`, if that is given.
    """
    tempered = np.array(probabilities, dtype=np.float64)
    for group in np.unique(groups):
        in_group = groups == group
        if not in_group.all():
            rows = ~in_group if is_trusted is None else ~in_group & is_trusted
            temperature = fit_temperature(
                probabilities[rows], targets[rows], is_multi_label=is_multi_label
            )
            tempered[in_group] = temper(
                probabilities[in_group], temperature, is_multi_label=is_multi_label
            )
    return tempered


def mean_temperature(
    networks: Floats, mean: Floats, temperature: float, *, is_multi_label: bool
) -> float:
    """By what a mean over folds is less sharp than one network: the factor on its temperature.

    A temperature is the best for some labels if the tags of a clip have, on average, the logit that
    is expected by the tempered probabilities (the derivative of the loss is 0). The logits of the
    networks have a mean, and so the labels' average in that mean is the average over networks: what
    the probabilities of each, tempered, expect of its own logits. That gives the temperature of the
    mean of logits without any label. What is then expected is what `mean` is fitted to.

    Args:
        networks: `(F, B, K)` probabilities by the networks of each fold, of clips that none of them
            was trained on.
        mean: `(B, K)` of the estimator that joins them.
        temperature: fitted on clips that a single fold's networks predicted.
    """
    from scipy.special import expit, logsumexp

    options = {"is_multi_label": is_multi_label}
    logits = (logit if is_multi_label else log)(networks)
    tempered = np.stack([temper(p, temperature, **options) for p in networks])
    of_labels = float((tempered * logits).sum(axis=2).mean())
    average = logits.mean(axis=0)

    def loss(inverse: float) -> float:
        scaled = average * inverse
        if is_multi_label:
            return float(np.logaddexp(0, scaled).sum(axis=1).mean()) - inverse * of_labels
        return float(logsumexp(scaled, axis=1).mean()) - inverse * of_labels

    joint = expit(average) if is_multi_label else np.exp(average)
    expected = temper(joint, _best_temperature(loss), **options)
    return fit_temperature(mean, expected, **options) / temperature


def _best_temperature(loss: Callable[[float], float]) -> float:
    """The temperature whose inverse has the least loss, which is convex."""
    from scipy.optimize import minimize_scalar

    bounds = (1 / HOTTEST, 1 / COLDEST)
    result = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(1 / result.x)


def _tempered_logs(probabilities: Floats, temperature: float, *, is_multi_label: bool) -> Floats:
    """Logits of each tag, or normalised log-probabilities of the classes."""
    from scipy.special import log_softmax

    if is_multi_label:
        return logit(probabilities) / temperature
    return np.asarray(log_softmax(log(probabilities) / temperature, axis=1))
