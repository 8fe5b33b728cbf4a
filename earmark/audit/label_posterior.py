"""Which labels are wrong, told apart from the errors that the ensemble itself makes.

A clip with the given label g and the ensemble's probabilities x is taken as a draw of

    P(g | x) = (1 - e) q_g(x) + e (1 - q_g(x)) / (K - 1)

where e is the share of wrong labels, each equally likely any other tag, and q the probabilities of
the true tag: the ensemble is right as often as it is confident, after a temperature T. A share d of
the clips has a temperature c T, since networks are sometimes wrong where they seem confident; that
is what would otherwise be counted as wrong labels. Copas ("Binary regression models for
contaminated data", JRSS B 1988) does so for two classes. Labels and members that err alike, such as
a label that names a similar tag, cannot be told from errors of the ensemble: e then is too low.

T, c, d and e are all unknown: their posterior is summed up on a grid. Verified labels count as
right and so say how often the ensemble errs.
Shapes: B clips, D draws, E shares, K tags, S shapes of q.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]

N_DRAWS = 400
_TEMPERATURES = np.geomspace(0.1, 6, 20)
_N_SHARES = 46
_P_NO_NOISE = 0.05  # prior probability that no label is wrong; else any share is as likely
_P_NO_TAIL = 0.2  # and that one temperature fits all clips
_TAILS = [(d, c) for d in (0.05, 0.1, 0.2, 0.4) for c in (2, 4)]


class LabelPosterior(NamedTuple):
    """What is known of the labels of B clips.

    Attributes:
        p_wrong: float (B,), the probability that a label is wrong.
        is_wrong: bool (D, B), draws of which labels are wrong, all as likely.
    """

    p_wrong: Floats
    is_wrong: Bools


def label_posterior(
    logits: Floats, labels: Ints, verified: Bools, weights: Floats, *, rng: np.random.Generator
) -> LabelPosterior:
    """The posterior of the wrong labels of clips with one tag each.

    Args:
        logits: (B, K), logarithms of probabilities of networks that did not train on the clips, up
            to a constant for each clip.
        labels: (B,), indices of the given tags.
        verified: (B,), the labels that count as right.
        weights: (B,), how much a clip counts: clips of one recording are less than so many clips.
        rng: draws.
    """
    n_tags = logits.shape[1]
    q, log_prior = _true_tag(logits, labels)  # (S, B), (S,)
    shares, share_prior = _shares(n_tags)
    unverified = ~verified
    log_posterior = np.empty((len(q), len(shares)))  # (S, E)
    known = np.log(q[:, verified]) @ weights[verified]  # (S,)
    for shape, right in enumerate(q[:, unverified]):
        mixed = right + shares[:, np.newaxis] * ((1 - right) / (n_tags - 1) - right)  # (E, B)
        log_posterior[shape] = np.log(mixed) @ weights[unverified]
    log_posterior += (known + log_prior)[:, np.newaxis] + np.log(share_prior)
    posterior = np.exp(log_posterior - log_posterior.max())
    drawn = rng.choice(posterior.size, N_DRAWS, p=(posterior / posterior.sum()).ravel())
    drawn_shapes, drawn_shares = np.divmod(drawn, len(shares))
    right, e = q[drawn_shapes], shares[drawn_shares, np.newaxis]  # (D, B), (D, 1)
    wrong = e * (1 - right) / (n_tags - 1)
    p_wrong = unverified * wrong / (wrong + (1 - e) * right)
    return LabelPosterior(p_wrong.mean(axis=0), rng.random(p_wrong.shape) < p_wrong)


def _true_tag(logits: Floats, labels: Ints) -> tuple[Floats, Floats]:
    """The probability of the given tag in every shape of q, (S, B), and log priors, (S,)."""
    clips = np.arange(len(labels))

    def tempered(temperature: float) -> Floats:
        return np.asarray(softmax(logits / temperature, axis=1)[clips, labels])

    rows = []
    for t in _TEMPERATURES:
        body = tempered(t)
        tails = {c: tempered(c * t) for c in {c for _, c in _TAILS}}
        rows += [body, *((1 - d) * body + d * tails[c] for d, c in _TAILS)]
    prior = np.array([_P_NO_TAIL, *[(1 - _P_NO_TAIL) / len(_TAILS)] * len(_TAILS)])
    return np.maximum(rows, 1e-12), np.tile(np.log(prior), len(_TEMPERATURES))


def _shares(n_tags: int) -> tuple[Floats, Floats]:
    """Shares of wrong labels (E,), closer to each other near 0, and their prior (E,).

    With more wrong labels than these, a tag would be least likely where it is given.
    """
    shares = 0.9 * (1 - 1 / n_tags) * np.linspace(0, 1, _N_SHARES) ** 1.5
    prior = (1 - _P_NO_NOISE) * np.gradient(shares) / np.gradient(shares).sum()
    prior[0] += _P_NO_NOISE
    return shares, prior
