"""A network that checks labels: trained in a fold, it answers clips that it did not train on.

Shapes: K tags.
"""

import logging

import numpy as np

from earmark.corpora.label_rounds import answered_clips, read_decisions
from earmark.corpora.stored_tables import read_folds
from earmark.layout import Layout
from earmark.params import Params
from earmark.store import Store, StoreWriter
from earmark.training.building import model_job
from earmark.training.checkpoints import work_in_progress
from earmark.training.job import Fitted, Job, job_key
from earmark.training.logistic import fit_at_once
from earmark.training.loop import fit

logger = logging.getLogger(__name__)


class _Unwatched:
    """MLflow has the trainings of members alone; a checking network is thrown away."""

    def log_epoch(self, values: dict[str, float]) -> None:
        del values


def check_labels(params: Params, layout: Layout, round_: str, fold: str, *, code: str = "") -> int:
    """Train `label_rounds.model` on the labels as the round before left them, and keep its answers.

    data/checks/<round>/<fold>/ holds the mean probabilities `(1, K)` over the crops that cover each
    of `answered_clips`. The network itself is not kept.

    Args:
        code: as for `train_model`.

    Returns:
        The number of answered clips.

    Raises:
        UserError: as `train_model`; or an answer is not finite.
    """
    feature, model = params.label_rounds.feature, params.label_rounds.model
    decisions = read_decisions(layout, round_)
    job = model_job(params, layout, feature, model, fold, None, decisions=decisions)
    clips = set(answered_clips(read_folds(layout, [fold]), fold, params.cv))
    with work_in_progress(layout.home, job_key(job, code)) as checkpoint:
        if job.tagger.network.is_fitted_at_once:
            fitted = fit_at_once(job, _Unwatched())
        else:
            fitted = fit(job, checkpoint, _Unwatched())
        return _write_answers(job, fitted, clips, layout, round_)


def _write_answers(job: Job, fitted: Fitted, clips: set[str], layout: Layout, round_: str) -> int:
    tagger, store = fitted.tagger, job.train.store
    assert isinstance(store, Store)  # the checking model reads a feature
    n_tags = len(tagger.tags)
    with StoreWriter(
        layout.check(round_, job.fold),
        row_shape=(n_tags,),
        dtype="float32",
        metadata={"tags": tagger.tags, "round": round_, "model": job.member},
    ) as out:
        for position, row in enumerate(store.index.to_dict("records")):
            if row.get("variant", "") or row["clip"] not in clips:
                continue
            segments = tagger.input.covering_segments(store.rows(position))
            crops = tagger.clip_probabilities(
                segments, job.device, batch_size=job.recipe.batch_size
            )
            out.append(crops.mean(axis=0, keepdims=True, dtype=np.float32), clip=row["clip"])
    return len(clips)
