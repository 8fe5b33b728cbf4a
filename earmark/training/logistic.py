"""Networks that are fitted at once: logistic regression on the vectors that they pool of clips.

Of the recipe three keys count. `noisy_label_weight` is the weight of a clip whose label nobody
verified, beside that of rounds of self-verification. `augmented_share` s stands for the draws of an
epoch by their expectation: a clip itself weighs 1 - s, and its variants share the rest.
`class_mixed_clips` are clips of their own.
Shapes: N clips, R rows, one for each segment of a clip or variant, P values of a vector, K tags.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from earmark.errors import UserError
from earmark.evaluation.points import check_metric
from earmark.networks import Network
from earmark.processes import one_thread
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
        from scipy.special import log_softmax  # the rest of a training does without scipy

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
    import sklearn.linear_model  # noqa: F401  (not within the block: it limits what is loaded then)

    check_metric(job.recipe.monitor, job.train.task, key=f"monitor ({job.name})", others=("loss",))
    network = job.device.place(job.tagger.network)
    rows = _standardised(_rows_of(job), network)
    is_multi_label = job.train.task.is_multi_label
    with one_thread():  # threads that share products as small as these take 20 times as long
        strength = _best_strength(rows, job.splits, is_multi_label=is_multi_label)
        layer = Regression(rows, is_multi_label=is_multi_label).fit(strength)
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


class Regression:
    """Multinomial logistic regression, or for several tags per clip one regression for each tag.

    It is fitted at one strength after another, each time from where the last one ended, which is
    near. Where there are fewer rows than values, that happens in the space that the rows span:
    weights outside of it would be penalised and change no row's logits, so the layer is the same.
    """

    def __init__(self, rows: Rows, *, is_multi_label: bool) -> None:
        n_rows, n_values = rows.vectors.shape
        self._basis = np.linalg.qr(rows.vectors.T)[0] if n_rows < n_values else None  # (P, R)
        self._vectors = rows.vectors if self._basis is None else rows.vectors @ self._basis
        self._weights = rows.weights
        self._is_multi_label = is_multi_label
        columns = rows.targets.T > 0.5 if is_multi_label else [rows.targets.argmax(axis=1)]
        n_labels = 2 if is_multi_label else rows.targets.shape[1]
        self._columns = [_Labels(column, n_labels) for column in columns]

    def fit(self, strength: float) -> Layer:
        layers = [one.fit(self._vectors, self._weights, strength) for one in self._columns]
        weight, bias = layers[0]
        if self._is_multi_label:
            weight = np.array([layer.weight[1] - layer.weight[0] for layer in layers])
            bias = np.array([layer.bias[1] - layer.bias[0] for layer in layers])
        return Layer(weight if self._basis is None else weight @ self._basis.T, bias)


class _Labels:
    """The label of each row, and the logits of those that occur; one that is alone has logit 0."""

    def __init__(self, labels: NDArray[np.generic], n_labels: int) -> None:
        from sklearn.linear_model import LogisticRegression

        self._labels = labels.astype(np.int64)
        self._known = np.unique(self._labels)
        self._n_labels = n_labels
        self._regression = LogisticRegression(max_iter=MAX_ITERATIONS, warm_start=True)

    def fit(self, vectors: Floats, weights: Floats, strength: float) -> Layer:
        weight = np.zeros((self._n_labels, vectors.shape[1]))
        bias = np.full(self._n_labels, -ABSENT)
        if len(self._known) == 1:
            bias[self._known] = 0.0
            return Layer(weight, bias)
        self._regression.set_params(C=strength)
        self._regression.fit(vectors, self._labels, sample_weight=weights)
        known_weight, known_bias = self._regression.coef_, self._regression.intercept_
        if len(self._known) == 2:  # one logit, that of the second label
            known_weight = np.vstack([-known_weight, known_weight]) / 2
            known_bias = np.concatenate([-known_bias, known_bias]) / 2
        weight[self._known], bias[self._known] = known_weight, known_bias
        return Layer(weight, bias)


def _best_strength(rows: Rows, splits: list[Split], *, is_multi_label: bool) -> float:
    """The strength with the least log loss of clips that are held out within the training clips."""
    parts = []
    for split in splits:
        fitted = rows.where(split.train[rows.clips])
        held_out = rows.where(split.validation[rows.clips] & rows.is_original)
        if len(fitted.weights) and len(held_out.weights):
            parts.append((Regression(fitted, is_multi_label=is_multi_label), held_out))
    best, least = UNTRIED, np.inf
    for strength in STRENGTHS if parts else ():
        total = weight = 0.0
        for regression, held_out in parts:
            losses = regression.fit(strength).losses(held_out, is_multi_label=is_multi_label)
            total += float(losses @ held_out.weights)
            weight += float(held_out.weights.sum())
        if total / weight >= least:
            break
        best, least = strength, total / weight
    return best


def _rows_of(job: Job) -> Rows:
    """The vectors of all training clips and their variants, those of weight 0 left out."""
    examples, input_, recipe = job.train, job.tagger.input, job.recipe
    of_clip = 1 - (1 - recipe.noisy_label_weight) * examples.unverified.astype(np.float64)
    of_clip *= examples.weights
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
