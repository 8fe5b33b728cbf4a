"""A training from start to finish: its job is built, trained, tracked and kept."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from earmark.corpora.label_rounds import next_round, read_decisions
from earmark.errors import UserError
from earmark.evaluation.points import confusion_matrix
from earmark.features import build as build_feature
from earmark.features.augmentations import supported_augmentations
from earmark.features.segments import lengths_in_rows
from earmark.features.vggish import VggishPatches
from earmark.labels import Task
from earmark.layout import Layout
from earmark.networks import find
from earmark.params import Model, Network, Params
from earmark.params.roster import (
    EMBEDDING,
    FUSION,
    PATCHES,
    member_name,
    model_of,
    reads_all,
    recipe_of,
    weights_of,
)
from earmark.seeding import seed_for
from earmark.store import Store, write_table
from earmark.taggers.device import Device
from earmark.taggers.fusion import fusion_tagger, open_fusion
from earmark.taggers.input import FusionStore, Input
from earmark.taggers.tagger import Tagger
from earmark.tracking.runs import TrackedRun, tracked
from earmark.training.augmentation import applicable
from earmark.training.checkpoints import work_in_progress
from earmark.training.examples import Examples, fold_examples, splits_within, standardisation
from earmark.training.finished import finished_path, keep_finished
from earmark.training.job import Fitted, Job, job_key
from earmark.training.logistic import fit_at_once
from earmark.training.loop import fit
from earmark.weights import load_weights

logger = logging.getLogger(__name__)

RANDOM = "random values: no weight file was given, so nothing was learned from other sound"


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


def model_job(
    params: Params,
    layout: Layout,
    group: str,
    model: str,
    fold: str,
    extractor: str | None,
    *,
    decisions: pd.DataFrame | None = None,
) -> Job:
    """The training of a model of the roster, ready to start; `decisions` as for the examples."""
    entry = model_of(params, group, model)
    recipe, at_once = recipe_of(params, entry), find(entry.network.name).is_fitted_at_once
    if at_once:  # there is no epoch to choose, so no clips are held out for it
        recipe = recipe.model_copy(update={"epoch_choice": "last"})
    type_ = group if group in (EMBEDDING, FUSION) else params.features[group].type
    supported = supported_augmentations(type_, whole_clips=reads_all(entry))
    recipe = applicable(recipe, supported)
    member = member_name(model, extractor)
    device = Device.choose(params.runtime)
    seed_weights(recipe.seed, member, fold)
    store = _open_features(params, layout, group, fold, extractor)
    train, inner, validation = fold_examples(layout, store, fold, recipe, decisions)
    if group == FUSION:
        start = Start(fusion_tagger(layout, model, fold), frozenset(), _origin(store, extractor))
    else:
        key = f"models.{group}.{model}"
        start = new_start(params, layout, entry, group, store, train, key=key, name=member)
        start = start._replace(metadata=_origin(store, extractor) | start.metadata)
    return Job(
        member=member,
        fold=fold,
        recipe=recipe,
        tagger=start.tagger,
        train=train,
        validation=validation,
        inner=inner,
        device=device,
        checkpoint_seconds=params.runtime.checkpoint_seconds,
        frozen=tuple(entry.training.frozen),
        head=start.head,
        splits=splits_within(layout, fold, train) if at_once else [],
        metadata=start.metadata,
    )


class Start(NamedTuple):
    """An untrained network with its input, and where its weights come from.

    `head` and `metadata` are those of `Job`.
    """

    tagger: Tagger
    head: frozenset[str]
    metadata: dict[str, Any]


def new_start(
    params: Params,
    layout: Layout,
    entry: Model,
    group: str,
    store: Store | FusionStore,
    train: Examples,
    *,
    key: str,
    name: str,
) -> Start:
    """Build the network of an entry, with the weights that it starts from.

    Random ones are drawn from torch's generator, see `seed_weights`.

    Args:
        group: the feature that it reads, or "embedding".
        store: of that feature.
        train: the clips that its input is standardised on.
        key: of the entry in params.yaml, for messages.
        name: of the model, likewise.
    """
    input_ = _model_input(params, entry, group, store, train)
    tagger = new_tagger(entry.network, train.task, input_, key)
    path, sha256 = weights_of(params, entry)
    if not path:
        return Start(tagger, frozenset(), _random_start(tagger, name))
    head = tagger.network.tag_tensors()
    head = frozenset(load_weights(tagger.network, layout.root / path, sha256, fresh=head))
    return Start(tagger, head, {"weights_from": path})


def _origin(store: Store | FusionStore, extractor: str | None) -> dict[str, Any]:
    """What model.json says of the extractor behind a store of embeddings."""
    origin = {"extractor": extractor} if extractor else {}
    if start := store.metadata.get("random_start"):
        origin["random_start"] = start
    return origin


def extractor_job(
    params: Params,
    layout: Layout,
    extractor: str,
    fold: str,
    *,
    decisions: pd.DataFrame | None = None,
) -> Job:
    """The fine-tuning of an extractor, ready to start (Xu et al., section 2.2)."""
    entry = params.extractors[extractor]
    recipe = applicable(recipe_of(params, entry), VggishPatches.augmentations)
    device = Device.choose(params.runtime)
    store = Store.open(layout.features(PATCHES), in_memory=True)
    train, inner, validation = fold_examples(layout, store, fold, recipe, decisions)
    feature = params.features[PATCHES]
    input_ = Input(
        feature=PATCHES,
        type_name=feature.type,
        options=feature.options,
        sample_rate=params.decode.sample_rate,
        lengths=[1],
        padding="tile",
        silence=store.metadata["silence"],
        mean=[0.0],
        std=[1.0],
    )
    seed_weights(recipe.seed, extractor, fold)
    tagger = new_tagger(entry.network, train.task, input_, f"extractors.{extractor}")
    fresh: list[str] = []
    if entry.weights:
        fresh = load_weights(tagger.network, layout.root / entry.weights, entry.weights_sha256)
        origin = f"{Path(entry.weights).name} (sha256 {entry.weights_sha256}), fresh: {fresh}"
        metadata = {"weights_from": origin}
    else:
        metadata = _random_start(tagger, extractor)
    return Job(
        member=extractor,
        fold=fold,
        recipe=recipe,
        tagger=tagger,
        train=train,
        validation=validation,
        inner=inner,
        device=device,
        checkpoint_seconds=params.runtime.checkpoint_seconds,
        max_patches=entry.max_patches,
        head=frozenset(fresh),
        metadata=metadata,
    )


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


def seed_weights(seed: int, member: str, fold: str) -> None:
    """Key the initial weights of the network that is built next; torch takes 63 bits."""
    torch.manual_seed(seed_for(seed, "weights", member, fold) >> 1)


def _open_features(
    params: Params, layout: Layout, group: str, fold: str, extractor: str | None
) -> Store | FusionStore:
    if group == FUSION:
        return open_fusion(layout, params.fusion)
    folder = layout.embeddings(extractor, fold) if extractor else layout.features(group)
    return Store.open(folder, in_memory=True)


def _model_input(
    params: Params, entry: Model, group: str, store: Store | FusionStore, train: Examples
) -> Input:
    """How the network's input is cut and standardised, measured on the training clips."""
    rate = params.decode.sample_rate
    if group == EMBEDDING:
        type_, options = EMBEDDING, {"dims": int(store.metadata["row_shape"][0])}
    else:
        type_, options = params.features[group].type, params.features[group].options
    feature = build_feature(type_, options, sample_rate=rate)
    per = entry.input.standardisation or feature.standardisation
    mean, std = standardisation(train, per=per, scale=feature.scale)
    return Input(
        feature=group,
        type_name=type_,
        options=options,
        sample_rate=rate,
        lengths=lengths_in_rows(entry.input, feature),
        padding=entry.input.padding or feature.padding,
        silence=store.metadata["silence"],
        mean=mean,
        std=std,
    )


def _random_start(tagger: Tagger, name: str) -> dict[str, str]:
    """What model.json says where a paper starts from published weights instead: from which.

    Layers that a paper keeps as published are trained then: random ones would be of no use.
    """
    published = tagger.network.published
    if published is None:
        return {}
    for parameter in tagger.network.published_parameters().values():
        parameter.requires_grad_(True)
    paper = f"{published.name} weights ({published.paper})"
    logger.warning("%s starts from %s; its paper starts from %s", name, RANDOM, paper)
    return {"weights_from": RANDOM, "random_start": paper}


def new_tagger(network: Network, task: Task, input_: Input, key: str) -> Tagger:
    """Build an untrained network with its input.

    Raises:
        UserError: the network refuses its options; the message begins with `key` of params.yaml.
    """
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
        raise UserError(f"params.yaml: {key}.network: {error}") from error


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
