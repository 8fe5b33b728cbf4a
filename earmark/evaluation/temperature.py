"""One temperature that divides logits, so that probabilities mean what they say.

Guo et al., "On Calibration of Modern Neural Networks" (2017).
Shapes: B clips, F folds, K tags.
"""

import numpy as np

from earmark.evaluation.logits import log, logit
from earmark.evaluation.points import Bools, Floats, Ints

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

    Networks of other folds err in other ways, so the logits of one are those of their mean plus
    noise, and a temperature fitted on one network has to be high enough for that noise (as noise in
    a regressor flattens its slope, Fuller, "Measurement Error Models", 1987, section 1.1). The mean
    has less of it, and is flatter besides. With moments of logits, weighted as a step of Newton's
    method weights them where the temperature is fitted, the factor is

        var(mean of logits) / var(logits of one)     the noise that averages out
        * var(logits of mean) / cov(logits of mean, mean of logits)     how much flatter it is

    No label is needed, but clips that no network was trained on. 1 for one network.

    Args:
        networks: `(F, B, K)` probabilities by the networks of each fold.
        mean: `(B, K)` of the estimator that joins them.
        temperature: fitted on clips that a single fold's networks predicted.
    """
    to_logits = logit if is_multi_label else log
    logits, joined = to_logits(networks), to_logits(mean)
    tempered = [temper(p, temperature, is_multi_label=is_multi_label) for p in networks]
    weights = np.mean(tempered, axis=0)  # (B, K)

    def moment(a: Floats, b: Floats) -> float:
        if is_multi_label:
            return float((weights * (1 - weights) * a * b).mean())
        means = [(weights * one).sum(axis=1) for one in (a, b)]
        return float(((weights * a * b).sum(axis=1) - means[0] * means[1]).mean())

    average = logits.mean(axis=0)
    noise = moment(average, average) / np.mean([moment(one, one) for one in logits])
    return float(noise * moment(joined, joined) / moment(joined, average))


def _tempered_logs(probabilities: Floats, temperature: float, *, is_multi_label: bool) -> Floats:
    """Logits of each tag, or normalised log-probabilities of the classes."""
    from scipy.special import log_softmax

    if is_multi_label:
        return logit(probabilities) / temperature
    return np.asarray(log_softmax(log(probabilities) / temperature, axis=1))
