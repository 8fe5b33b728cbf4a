"""A training from start to finish: its job is trained, tracked and kept."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from earmark.corpora.label_rounds import next_round, read_decisions
from earmark.evaluation.points import confusion_matrix
from earmark.layout import Layout
from earmark.params import Params
from earmark.records import write_table
from earmark.tracking.runs import TrackedRun, tracked
from earmark.training.building import extractor_job, model_job
from earmark.training.checkpoints import work_in_progress
from earmark.training.finished import finished_path, keep_finished
from earmark.training.job import Fitted, Job, job_key
from earmark.training.logistic import fit_at_once
from earmark.training.loop import fit

logger = logging.getLogger(__name__)


def train_model(
    params: Params,
    layout: Layout,
    group: str,
    model: str,
    fold: str,
    extractor: str | None,
    *,
    code: str = "",
) -> Fitted:
    """Train a model of the roster on one fold, and keep it under models/<member>/<fold>/.

    Args:
        group: the feature that it reads, or "embedding" or "fusion".
        model: its name among `models.<group>`.
        extractor: whose embeddings it reads; None for other groups.
        code: a digest of the code that can reach the result, so that a training killed under other
            code is not continued.

    Raises:
        UserError: the model is unknown, does not fit its feature or the corpus, or diverges.
    """
    decisions = _last_decisions(params, layout)
    job = model_job(params, layout, group, model, fold, extractor, decisions=decisions)
    return train_job(job, params, layout, stage=f"train_{group}", code=code)


def train_extractor(
    params: Params, layout: Layout, extractor: str, fold: str, *, code: str = ""
) -> Fitted:
    """Fine-tune an extractor on the patches of one fold, and keep it likewise.

    Arguments and errors are those of `train_model`.
    """
    decisions = _last_decisions(params, layout)
    job = extractor_job(params, layout, extractor, fold, decisions=decisions)
    return train_job(job, params, layout, stage="finetune", code=code)


def _last_decisions(params: Params, layout: Layout) -> pd.DataFrame | None:
    """What the last round of self-verification decided about labels; None without rounds."""
    return read_decisions(layout, next_round(params.rounds)) if params.rounds else None


def train_job(
    job: Job,
    params: Params,
    layout: Layout,
    *,
    stage: str,
    code: str,
    write: Callable[[Job, Fitted, Layout], None] | None = None,
) -> Fitted:
    """Fit, then write models/<member>/<fold>/ and the learning curve under data/training/.

    Args:
        stage: as the tracked run names it.
        code: as in `train_model`.
        write: writes other outputs instead.
    """
    tags, work = _run_tags(job, code), job_key(job, code)
    finished = finished_path(layout.home, work)
    # The run ends last: it is FINISHED only if its outputs are there.
    with (
        tracked(layout, params, name=job.name, stage=stage, tags=tags) as run,
        work_in_progress(layout.home, work) as checkpoint,
    ):
        run.start(checkpoint.parent)
        run.log_params(_tracked_params(job, params))
        at_once = job.tagger.network.is_fitted_at_once
        fitted = fit_at_once(job, run) if at_once else fit(job, checkpoint, run, finished=finished)
        _track_result(job, fitted, run)
        # before the block ends, which drops the checkpoint
        (write or _write_outputs)(job, fitted, layout)
        if not at_once:
            keep_finished(checkpoint, finished, job.recipe)
    shown = "map_at_3" if job.recipe.monitor == "loss" else job.recipe.monitor
    clips, key = ("validation", shown) if shown in fitted.kept else ("training", f"train_{shown}")
    logger.info(
        "%s: kept epoch %d of %d, %s %s %.3f",
        job.name,
        fitted.kept["epoch"],
        len(fitted.history),
        clips,
        shown,
        fitted.kept[key],
    )
    return fitted


def _write_outputs(job: Job, fitted: Fitted, layout: Layout) -> None:
    fitted.tagger.save(layout.model(job.member, job.fold), description(job, fitted))
    write_table(layout.learning_curve(job.member, job.fold), learning_curve(job, fitted))


def description(job: Job, fitted: Fitted) -> dict[str, Any]:
    """What model.json says of a training."""
    kept = {
        **fitted.kept,
        "epochs_trained": len(fitted.history),
        "epoch_choice": job.recipe.epoch_choice,
    }
    return {**job.metadata, "member": job.member, "fold": job.fold, "kept": kept}


def learning_curve(job: Job, fitted: Fitted) -> pd.DataFrame:
    """Return one row per epoch, which says of which training it is."""
    curve = pd.DataFrame(fitted.history)
    curve.insert(0, "fold", job.fold)
    curve.insert(0, "model", job.member)
    curve.insert(2, "epoch_choice", job.recipe.epoch_choice)
    return curve


def _run_tags(job: Job, code: str) -> dict[str, str]:
    """What the runs of MLflow are grouped and filtered by."""
    tags = {"model": job.member, "fold": job.fold, "feature": job.tagger.input.feature}
    return {**tags, "code.digest": code}


def _track_result(job: Job, fitted: Fitted, run: TrackedRun) -> None:
    run.log_kept(fitted.kept)
    if not len(job.validation):
        return
    task, confusion = job.validation.task, None
    if not task.is_multi_label:  # else no tag is taken for another
        labels = job.validation.tag_targets.argmax(axis=1)
        probabilities = fitted.validation_probabilities.astype(np.float64)
        confusion = confusion_matrix(probabilities, labels)
    run.log_figures(fitted.history, confusion, task.tags)


def _tracked_params(job: Job, params: Params) -> dict[str, Any]:
    return {
        "recipe": job.recipe.model_dump(),
        "network": {"name": job.tagger.network_name, **job.tagger.network_options},
        "input": {"feature": job.tagger.input.feature, "lengths": job.tagger.input.lengths},
        "runtime": params.runtime.model_dump(),
        **job.metadata,
    }
