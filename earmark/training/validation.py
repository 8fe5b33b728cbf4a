"""How good a network is on the validation clips, and whether the weights of this epoch are kept.

Shapes: V validation clips, K tags.
"""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.ensemble.crops import mean_over_crops
from earmark.errors import UserError
from earmark.evaluation.points import point_values
from earmark.features.segments import even_starts
from earmark.params import Recipe
from earmark.taggers.device import Device
from earmark.taggers.tagger import Tagger
from earmark.training.checkpoints import State, copy_weights
from earmark.training.examples import Examples
from earmark.training.finished import has_ended
from earmark.training.job import Job

MOST_TRAINING_CLIPS = 500  # that are scored after a training, spread evenly over all
NOT_FINITE_FIX = "lower the learning rate, or set runtime.precision to float32"


def validate(
    tagger: Tagger, examples: Examples, device: Device, recipe: Recipe
) -> NDArray[np.float32]:
    """Return probabilities `(V, K)`: the mean over a few evenly spaced segments of each clip."""
    if not len(examples):
        return np.empty((0, len(tagger.tags)), dtype=np.float32)
    segments, counts = [], []
    for position in range(len(examples)):
        of_clip = tagger.input.even_segments(examples.original(position), recipe.validation_crops)
        segments += of_clip
        counts.append(len(of_clip))
    probabilities = tagger.clip_probabilities(segments, device, batch_size=recipe.batch_size)
    starts = np.cumsum([0, *counts[:-1]])
    return np.asarray(mean_over_crops(probabilities, starts), dtype=np.float32)


def validation_scores(
    probabilities: NDArray[np.float32], examples: Examples, *, name: str
) -> dict[str, float]:
    """Return `validation_loss` and the metrics of the corpus, from probabilities `(V, K)`.

    Raises:
        UserError: a probability is not finite; the message begins with `name`.
    """
    if not np.isfinite(probabilities).all():
        clip = examples.clips[int(np.flatnonzero(~np.isfinite(probabilities).all(axis=1))[0])]
        raise UserError(
            f"{name}: the network's probabilities of clip {clip} are infinite or NaN; "
            f"{NOT_FINITE_FIX}"
        )
    exact = probabilities.astype(np.float64)
    targets, is_multi_label = examples.tag_targets, examples.task.is_multi_label
    metrics = point_values(exact, targets, is_multi_label=is_multi_label)
    metrics.pop("threshold", None)  # chosen on these very clips; not a score
    loss = _mean_loss(exact, targets, is_multi_label=is_multi_label)
    return {"validation_loss": loss, **metrics}


def training_scores(tagger: Tagger, job: Job) -> dict[str, float]:
    """`train_` and the name of each metric: how well the clips that were trained on are known.

    Beside the validation's they tell a network that learned its clips from one that learned too
    little. They are of the clips as they were recorded, and of labels that may be as wrong as those
    of validation: of verified ones alone where these are. Clips that a round of self-verification
    gave another label do not count, so that scores are of the corpus' own labels.
    """
    examples = job.train
    is_first = ~np.asarray(pd.Index(examples.clips).duplicated())  # others are of class_mixing
    is_first &= ~examples.is_corrected
    is_alike = (examples.unverified == 0) | job.validation.unverified.any()
    chosen = np.flatnonzero(is_first & is_alike if is_alike.any() else is_first)
    sample = examples.at(chosen[even_starts(len(chosen), 1, MOST_TRAINING_CLIPS)])
    probabilities = validate(tagger, sample, job.device, job.recipe)
    scores = validation_scores(probabilities, sample, name=job.name)
    scores.pop("validation_loss")
    return {f"train_{name}": value for name, value in scores.items()}


def _mean_loss(
    probabilities: NDArray[np.float64], targets: NDArray[np.float32], *, is_multi_label: bool
) -> float:
    """The training's loss of the tags alone, unweighted, of the mean over crops."""
    log_yes = np.log(np.maximum(probabilities, 1e-12))
    if not is_multi_label:
        return float((-(targets * log_yes).sum(axis=1)).mean())
    log_no = np.log(np.maximum(1 - probabilities, 1e-12))
    return float((-(targets * log_yes + (1 - targets) * log_no).mean(axis=1)).mean())


def monitored(scores: dict[str, float], monitor: str) -> float:
    """The value by which epochs are compared: the higher, the better."""
    value = -scores["validation_loss"] if monitor == "loss" else scores[monitor]
    return -math.inf if math.isnan(value) else value  # such as an area where every clip has a tag


def close_epoch(job: Job, state: State) -> None:
    """Validate, keep the weights if the recipe chooses them, and decide whether to stop.

    With `epoch_choice: last` the curve is for the eye alone: each epoch replaces the one before it,
    nothing ends training early, and no plateau lowers the rate. There may be no validation clips
    then, and no curve.
    """
    recipe, progress = job.recipe, state.progress
    with state.averaged():  # what is validated is what is kept
        scores = _scores(job, state, job.validation) if len(job.validation) else {}
        inner = _scores(job, state, job.inner) if job.inner else {}
        guide = {"last": None, "inner_split": inner, "scored_fold": scores}[recipe.epoch_choice]
        _keep_best(state, monitored(guide, recipe.monitor) if guide else float(progress.epoch))
    progress.history.append(
        {
            "epoch": progress.epoch + 1,
            "train_loss": progress.loss_sum / job.sampler.n_batches,
            **scores,
            **{f"inner_{name}": value for name, value in inner.items()},
            **job.learning_rates(progress),
        }
    )
    is_lowered = guide is not None and progress.plateau.step(
        guide["validation_loss"], factor=recipe.plateau_factor, patience=recipe.plateau_patience
    )
    progress.epoch, progress.step, progress.loss_sum = progress.epoch + 1, 0, 0.0
    progress.is_done = has_ended(recipe, progress)
    if recipe.schedule == "multistep" and is_lowered:
        state.begin_stage()


def _scores(job: Job, state: State, examples: Examples) -> dict[str, float]:
    tagger = replace(job.tagger, network=state.network)
    probabilities = validate(tagger, examples, job.device, job.recipe)
    return validation_scores(probabilities, examples, name=job.name)


def _keep_best(state: State, value: float) -> None:
    progress = state.progress
    progress.longest_wait = max(progress.longest_wait, progress.epochs_without_improvement)
    progress.epochs_without_improvement += 1
    if progress.best_epoch < 0 or value > progress.best_value:  # the first counts whatever it is
        progress.best_epoch, progress.best_value = progress.epoch, value
        progress.epochs_without_improvement = 0
        state.best = copy_weights(state.network)
