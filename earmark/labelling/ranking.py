"""Which unlabelled recordings would teach a tagger most: uncertain ones, that differ.

By BADGE (Ash, Zhang, Krishnamurthy, Langford and Agarwal, "Deep batch active learning by diverse,
uncertain gradient lower bounds", ICLR 2020). Each recording is represented by the gradient of the
loss by the weights of the last layer, were its most probable tag the right one: long where the
tagger is uncertain, and in another direction where it sounds different. The seeding of k-means++
then chooses recordings whose gradients are long and far from each other. There is nothing to tune.

In one thing this differs: a gradient of zero counts as chosen before the first. A recording that
the tagger is certain of would else be as far from the first as the first is long, and be drawn.

Shapes: B recordings, K tags, D dims of an embedding.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

_NOTHING = 1e-12  # of the sum of all squares: rounding


def uncertainty(probabilities: Floats, *, is_multi_label: bool) -> NDArray[np.float64]:
    """The entropy `(B,)` of calibrated probabilities `(B, K)`, from 0 to 1.

    Of one tag, it is divided by the entropy of equal probabilities. Of several, it is that of the
    tag which is the most uncertain, in bits.

    >>> uncertainty(np.array([[0.5, 0.5], [1.0, 0.0]]), is_multi_label=False).tolist()
    [1.0, 0.0]
    """
    p = np.clip(np.asarray(probabilities, np.float64), 0.0, 1.0)
    if is_multi_label:
        bits: NDArray[np.float64] = (_terms(p) + _terms(1 - p)).max(axis=1) / np.log(2)
        return bits
    entropy: NDArray[np.float64] = _terms(p).sum(axis=1) / np.log(max(2, p.shape[1]))
    return entropy


def _terms(p: NDArray[np.float64]) -> NDArray[np.float64]:
    return -p * np.log(np.where(p > 0, p, 1.0))


def output_gradients(probabilities: Floats, *, is_multi_label: bool) -> NDArray[np.float64]:
    """The gradient `(B, K)` of the loss by the logits, were the prediction right.

    The prediction is the most probable tag; where recordings may have several, all of at least 0.5.
    """
    p = np.asarray(probabilities, np.float64)
    if is_multi_label:
        return p - (p >= 0.5)
    predicted = np.zeros_like(p)
    predicted[np.arange(len(p)), p.argmax(axis=1)] = 1
    return p - predicted


def badge(
    probabilities: Floats,
    embeddings: Floats,
    count: int,
    rng: np.random.Generator,
    *,
    is_multi_label: bool = False,
) -> list[int]:
    """Choose recordings to label, in the order in which they were chosen.

    The first is the one with the longest gradient, as in the authors' code, each further one is
    drawn with a probability proportional to the squared distance from the nearest one before it, or
    from zero if that is nearer.
    The gradient by the last layer is an outer product, so distances need only the two factors.

    Args:
        probabilities: calibrated, `(B, K)`.
        embeddings: what the last layer reads, `(B, D)`.
        count: how many to choose; all if there are no more.
        rng: for the draws.
        is_multi_label: whether recordings may have several tags.

    >>> sure, torn = [0.99, 0.01], [0.5, 0.5]
    >>> sounds = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> badge(np.array([sure, torn, torn]), sounds, 2, np.random.default_rng(0))
    [1, 2]
    """
    out = output_gradients(probabilities, is_multi_label=is_multi_label)  # (B, K)
    inside = np.asarray(embeddings, np.float64)  # (B, D)
    squares = (out * out).sum(axis=1) * (inside * inside).sum(axis=1)  # (B,)
    chosen: list[int] = []
    distances = squares.copy()  # from the nearest one, of zero and those that are chosen
    left = np.ones(len(out), bool)
    for _ in range(min(count, len(out))):
        weights = np.where(left, distances, 0.0)
        if not chosen or weights.sum() <= _NOTHING * squares.sum():  # all that is left is a copy
            best = int(np.where(left, squares, -1.0).argmax())
        else:
            best = int(rng.choice(len(weights), p=weights / weights.sum()))
        chosen.append(best)
        left[best] = False
        products = (out @ out[best]) * (inside @ inside[best])
        distances = np.minimum(distances, squares + squares[best] - 2 * products).clip(0)
    return chosen
