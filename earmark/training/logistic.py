"""Networks that are fitted at once: logistic regression on the vectors that they pool of clips.

Of the recipe three keys count. `noisy_label_weight` is the weight of a clip whose label nobody
verified. `augmented_share` s stands for the draws of an epoch by their expectation: a clip itself
weighs 1 - s, and its variants share the rest. `class_mixed_clips` are clips of their own.
Shapes: N clips, R rows, one for each segment of a clip or variant, P values of a vector, K tags.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import svd
from scipy.special import log_softmax

from earmark.errors import UserError
from earmark.evaluation.points import check_metric
from earmark.networks import Network
from earmark.training.examples import Split
from earmark.training.job import Fitted, Job, Watcher
from earmark.training.validation import training_scores, validate, validation_scores

Floats = NDArray[np.float64]

# Of the sum of losses against half the sum of squared weights, scikit-learn's C. The weights grow
# with it, so they are tried in this order, up to the first that is worse than the one before.
STRENGTHS = tuple(float(10 ** (exponent / 2)) for exponent in range(-8, 5))
UNTRIED = 1.0  # where no training clips can be held out to choose by
ABSENT = 20.0  # the logit against a tag that no training clip has, or for one that all have
LEAST_DEVIATION = 1e-6  # a column that is all but constant is left as it is
MAX_ITERATIONS = 2000


@dataclass(frozen=True)
class Rows:
    """The vectors of some clips: what each is a vector of, and how much it counts."""

    vectors: Floats  # (R, P)
    targets: Floats  # (R, K)
    weights: Floats  # (R,)
    clips: NDArray[np.int64]  # (R,): position of the clip
    is_original: NDArray[np.bool_]  # (R,): of a clip itself, not of a variant

    def where(self, keep: NDArray[np.bool_]) -> "Rows":
        return Rows(*(column[keep] for column in self.__dict__.values()))


class Layer(NamedTuple):
    """A linear layer; its logits are those of a soft-max or, for several tags, of sigmoids."""

    weight: Floats  # (K, P)
    bias: Floats  # (K,)

    def losses(self, rows: Rows, *, is_multi_label: bool) -> Floats:
        """Return `(R,)`, as `earmark.training.losses` has them."""
        logits = rows.vectors @ self.weight.T + self.bias
        if is_multi_label:
            losses: Floats = (np.logaddexp(0, logits) - rows.targets * logits).mean(axis=1)
            return losses
        return -(rows.targets * log_softmax(logits, axis=1)).sum(axis=1)  # type: ignore[no-any-return]


def fit_at_once(job: Job, watcher: Watcher) -> Fitted:
    """Fit the linear head of a network, whose history has then one epoch.

    That row has no learning rate, and `strength` beside what the epochs of other trainings have.

    Args:
        job: what is fitted, and on what; its `splits` are those that the strength is chosen by.
        watcher: is told the values of the epoch.

    Raises:
        UserError: the recipe does not fit the corpus, or leaves no clip that counts.
    """
    check_metric(job.recipe.monitor, job.train.task, key=f"monitor ({job.name})", others=("loss",))
    network = job.device.place(job.tagger.network)
    rows = _standardised(_rows_of(job), network)
    is_multi_label = job.train.task.is_multi_label
    strength = _best_strength(rows, job.splits, is_multi_label=is_multi_label)
    layer = fit_layer(rows, strength, is_multi_label=is_multi_label)
    _set_head(network, layer)
    losses = layer.losses(rows, is_multi_label=is_multi_label)
    probabilities = validate(job.tagger, job.validation, job.device, job.recipe)
    row = {
        "epoch": 1,
        "train_loss": float(np.average(losses, weights=rows.weights)),
        **validation_scores(probabilities, job.validation, name=job.name),
        **dict.fromkeys(("learning_rate", "learning_rate_low", "learning_rate_high"), np.nan),
        "strength": strength,
    }
    watcher.log_epoch(row)
    row |= training_scores(job.tagger, job)
    return Fitted(replace(job.tagger, network=network), row, [row], probabilities)


def fit_layer(rows: Rows, strength: float, *, is_multi_label: bool) -> Layer:
    """Multinomial logistic regression, or for several tags per clip one regression for each tag.

    Where there are fewer rows than values, it is fitted in the space that the rows span: weights
    outside of it would be penalised and change no row's logits, so the layer is the same.
    """
    n_rows, n_values = rows.vectors.shape
    if n_rows < n_values:
        basis = svd(rows.vectors, full_matrices=False)[2]  # (R, P)
        spanned = replace(rows, vectors=rows.vectors @ basis.T)
        layer = fit_layer(spanned, strength, is_multi_label=is_multi_label)
        return Layer(layer.weight @ basis, layer.bias)
    n_tags = rows.targets.shape[1]
    layer = Layer(np.zeros((n_tags, rows.vectors.shape[1])), np.full(n_tags, -ABSENT))
    if not is_multi_label:
        _fit_tags(layer, rows, rows.targets.argmax(axis=1), strength)
        return layer
    for tag in range(n_tags):
        has_tag = rows.targets[:, tag] > 0.5
        of_tag = Layer(np.zeros((2, layer.weight.shape[1])), np.array([0.0, -ABSENT]))
        _fit_tags(of_tag, rows, has_tag.astype(np.int64), strength)
        layer.weight[tag] = of_tag.weight[1] - of_tag.weight[0]
        layer.bias[tag] = of_tag.bias[1] - of_tag.bias[0]
    return layer


def _fit_tags(layer: Layer, rows: Rows, labels: NDArray[np.int64], strength: float) -> None:
    """Fit the logits of the labels that occur; a label that is alone has the logit 0."""
    from sklearn.linear_model import LogisticRegression

    known = np.unique(labels)
    if len(known) == 1:
        layer.bias[:] = np.where(np.arange(len(layer.bias)) == known[0], 0.0, -ABSENT)
        return
    regression = LogisticRegression(C=strength, max_iter=MAX_ITERATIONS)
    regression.fit(rows.vectors, labels, sample_weight=rows.weights)
    weight, bias = regression.coef_, regression.intercept_
    if len(known) == 2:  # one logit, that of the second label
        weight, bias = np.vstack([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    layer.weight[known], layer.bias[known] = weight, bias


def _best_strength(rows: Rows, splits: list[Split], *, is_multi_label: bool) -> float:
    """The strength with the least log loss of clips that are held out within the training clips."""
    best, least = UNTRIED, np.inf
    for strength in STRENGTHS if splits else ():
        loss = _held_out_loss(rows, splits, strength, is_multi_label=is_multi_label)
        if loss >= least:
            break
        best, least = strength, loss
    return best


def _held_out_loss(
    rows: Rows, splits: list[Split], strength: float, *, is_multi_label: bool
) -> float:
    """The mean log loss of originals, each by a layer that was fitted without its split."""
    total = weight = 0.0
    for split in splits:
        fitted = rows.where(split.train[rows.clips])
        held_out = rows.where(split.validation[rows.clips] & rows.is_original)
        if not len(fitted.weights) or not len(held_out.weights):
            continue
        layer = fit_layer(fitted, strength, is_multi_label=is_multi_label)
        losses = layer.losses(held_out, is_multi_label=is_multi_label)
        total += float(losses @ held_out.weights)
        weight += float(held_out.weights.sum())
    return total / weight if weight else np.inf


def _rows_of(job: Job) -> Rows:
    """The vectors of all training clips and their variants, those of weight 0 left out."""
    examples, input_, recipe = job.train, job.tagger.input, job.recipe
    of_clip = 1 - (1 - recipe.noisy_label_weight) * examples.unverified.astype(np.float64)
    vectors, clips, weights, is_original = [], [], [], []
    for position, entries in enumerate(examples.entries):
        shares = _shares(len(entries), recipe.augmented_share) * of_clip[position]
        for number, (entry, share) in enumerate(zip(entries, shares.tolist(), strict=True)):
            if not share:
                continue
            segments = input_.covering_segments(examples.store.rows(entry))
            for segment in segments:
                batch = input_.stack([segment])
                vectors.append(job.tagger.embeddings(batch, job.device, batch_size=1)[0])
            clips += [position] * len(segments)
            weights += [share / len(segments)] * len(segments)
            is_original += [number == 0] * len(segments)
    if not vectors:
        fix = "raise it, or model.augmented_share to below 1"
        raise UserError(f"{job.name}: with this noisy_label_weight no training clip counts; {fix}")
    targets = examples.tag_targets.astype(np.float64)[clips]
    return Rows(
        np.array(vectors, np.float64),
        targets,
        np.array(weights),
        np.array(clips, np.int64),
        np.array(is_original),
    )


def _shares(n_entries: int, augmented_share: float) -> Floats:
    """How often each of a clip and its variants is drawn, `(entries,)`; they sum to 1."""
    if n_entries == 1:
        return np.ones(1)
    return np.array([1 - augmented_share] + [augmented_share / (n_entries - 1)] * (n_entries - 1))


def _standardised(rows: Rows, network: Network) -> Rows:
    """The rows as the network reads them, once it knows their mean and deviation."""
    mean = np.average(rows.vectors, axis=0, weights=rows.weights)
    deviation = np.sqrt(np.average((rows.vectors - mean) ** 2, axis=0, weights=rows.weights))
    deviation = np.where(deviation < LEAST_DEVIATION, 1.0, deviation)
    with torch.no_grad():
        network.get_buffer("mean").copy_(torch.from_numpy(mean))
        network.get_buffer("deviation").copy_(torch.from_numpy(deviation))
    return replace(rows, vectors=(rows.vectors - mean) / deviation)


def _set_head(network: Network, layer: Layer) -> None:
    """Give the head the fitted logits; those of an auxiliary task, which nobody reads, are 0."""
    weight, bias = (network.get_parameter(f"head.{name}") for name in ("weight", "bias"))
    n_tags = len(layer.bias)
    with torch.no_grad():
        weight.zero_()[:n_tags].copy_(torch.from_numpy(layer.weight))
        bias.zero_()[:n_tags].copy_(torch.from_numpy(layer.bias))
