"""One training from start to finish: tracked, resumable, and kept with its learning curve."""

import logging
from typing import Any

import numpy as np
import pandas as pd

from earmark.errors import UserError
from earmark.evaluation.points import confusion_matrix
from earmark.layout import Layout
from earmark.params import Network, Params, Recipe
from earmark.store import Store, read_table, write_table
from earmark.taggers.input import Input, JointStore
from earmark.taggers.tagger import Tagger
from earmark.training.batches import Examples, Task
from earmark.training.checkpoints import code_digest, work_folder
from earmark.training.loop import Fitted, Job, fit, job_key
from earmark.training.tracking import TrackedRun, tracked

logger = logging.getLogger(__name__)

# What decides the course of a training; a checkpoint of other code is never continued.
_CODE = (
    "earmark/training",
    "earmark/networks",
    "earmark/taggers/device.py",
    "earmark/taggers/tagger.py",
    "earmark/taggers/weights.py",
    "earmark/taggers/input.py",
    "earmark/features/segments.py",
)


def fold_examples(
    layout: Layout, store: Store | JointStore, fold: str, recipe: Recipe
) -> tuple[Examples, Examples, Task]:
    """Training and validation examples of a fold, and the task that the corpus sets."""
    folds = read_table(layout.folds)
    task = Task.of(folds[folds["split"] == "train"])
    role = folds[f"fold_{fold}"]
    train = Examples.select(store, folds[role == "train"], task, with_new=recipe.class_mixed_clips)
    return train, Examples.select(store, folds[role == "validation"], task), task


def new_tagger(network: Network, task: Task, input_: Input, place: str) -> Tagger:
    """Build a network; what it refuses is an error of the place in params.yaml."""
    try:
        return Tagger.new(
            network.name,
            network.options,
            tags=task.tags,
            input_=input_,
            aux_labels=task.aux_labels,
            activation=task.activation,
        )
    except ValueError as error:
        raise UserError(f"params.yaml: {place}.network: {error}") from error


def train_and_keep(
    job: Job,
    params: Params,
    layout: Layout,
    *,
    stage: str,
    member: str,
    fold: str,
    metadata: dict[str, Any],
) -> Fitted:
    """Fit, then write models/<member>/<fold>/ and the learning curve under data/training/."""
    code = code_digest(layout.root, *_CODE)
    clips = {"train": job.sampler.examples.clips, "validation": job.validation.clips}
    with (
        work_folder(layout.home, {**job_key(job, clips, code), "about": metadata}) as work,
        tracked(
            layout, experiment=f"earmark/{params.corpus.name}", name=job.name, stage=stage
        ) as run,
    ):
        run.log_params(_tracked_params(job, params, metadata))
        fitted = fit(job, work / "checkpoint.safetensors", run)
        _log_figures(run, job, fitted)
    best = {**fitted.best, "epochs_trained": len(fitted.history)}
    fitted.tagger.save(
        layout.model(member, fold), {**metadata, "member": member, "fold": fold, "best": best}
    )
    curve = pd.DataFrame(fitted.history)
    curve.insert(0, "fold", fold)
    curve.insert(0, "model", member)
    write_table(layout.learning_curve(member, fold), curve)
    shown = "map_at_3" if job.recipe.monitor == "loss" else job.recipe.monitor
    logger.info(
        "%s: best epoch %d of %d, validation %s %.3f",
        job.name,
        fitted.best["epoch"],
        len(fitted.history),
        shown,
        fitted.best[shown],
    )
    return fitted


def _tracked_params(job: Job, params: Params, metadata: dict[str, Any]) -> dict[str, Any]:
    return {
        "seed": params.seed,
        "recipe": job.recipe.model_dump(),
        "network": {"name": job.tagger.network_name, **job.tagger.network_options},
        "input": {"kind": job.tagger.input.kind, "lengths": job.tagger.input.lengths},
        "runtime": params.runtime.model_dump(),
        **metadata,
    }


def _log_figures(run: TrackedRun, job: Job, fitted: Fitted) -> None:
    from earmark.reports.figures import confusion_figure, learning_curve_figure

    if job.tagger.activation == "softmax":  # several tags a clip cannot be mistaken for each other
        labels = job.validation.tag_targets.argmax(axis=1)
        confusion = confusion_matrix(fitted.validation_probabilities.astype(np.float64), labels)
        run.log_figure(confusion_figure(confusion, job.tagger.tags), "confusion_matrix.png")
    run.log_figure(learning_curve_figure(pd.DataFrame(fitted.history)), "learning_curve.png")
