"""One training from start to finish: tracked, resumable, and kept with its learning curve."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from earmark.errors import UserError
from earmark.evaluation.points import confusion_matrix
from earmark.features import build as build_feature
from earmark.features.segments import lengths_in_rows
from earmark.labels import Task
from earmark.layout import Layout
from earmark.params import Model, Network, Params, Recipe
from earmark.params.roster import EMBEDDING, FUSION, PATCHES, member_name, model_of, recipe_of
from earmark.seeding import seed_for
from earmark.store import Store, read_table, write_table
from earmark.taggers.device import Device
from earmark.taggers.fusion import fusion_tagger, open_fusion
from earmark.taggers.input import FusionStore, Input
from earmark.taggers.tagger import Tagger
from earmark.taggers.weights import load_weights
from earmark.training.batches import Examples, Sampler, standardisation
from earmark.training.checkpoints import code_digest, work_folder
from earmark.training.loop import Fitted, Job, fit, job_key
from earmark.training.tracking import TrackedRun, tracked

logger = logging.getLogger(__name__)

RANDOM = "random values: no weight file was given, so nothing was learned from other sound"

# What decides the course of a training; a checkpoint of other code is never continued.
_CODE = (
    "earmark/training",
    "earmark/networks",
    "earmark/taggers",
    "earmark/features",
)


def train_model(
    params: Params, layout: Layout, group: str, model: str, fold: str, extractor: str | None
) -> Fitted:
    """Train a model of the roster on one fold, and keep it under models/<member>/<fold>/."""
    entry = model_of(params, group, model)
    recipe = recipe_of(params, entry)
    member = member_name(model, extractor)
    torch.manual_seed(seed_for(recipe.seed, "weights", member, fold) >> 1)
    metadata = {"extractor": extractor} if extractor else {}
    frozen, head = tuple(entry.training.frozen), frozenset[str]()
    if group == FUSION:
        store: Store | FusionStore = open_fusion(layout, params.fusion)
        train, validation, _ = fold_examples(layout, store, fold, recipe)
        tagger = fusion_tagger(layout, model, fold)
    else:
        folder = layout.embeddings(extractor, fold) if extractor else layout.features(group)
        store = Store.open(folder, in_memory=True)
        train, validation, task = fold_examples(layout, store, fold, recipe)
        input_ = _input(params, entry, group, store, train)
        tagger = new_tagger(entry.network, task, input_, f"models.{group}.{model}")
        head = _start(tagger, entry, layout)
        if entry.training.init_from:
            metadata["weights_from"] = entry.training.init_from
    job = Job(
        name=f"{member}-{fold}",
        seed=recipe.seed,
        recipe=recipe,
        tagger=tagger,
        sampler=Sampler(examples=train, input=tagger.input, recipe=recipe),
        validation=validation,
        device=Device.choose(params.runtime),
        checkpoint_seconds=params.runtime.checkpoint_seconds,
        frozen=frozen,
        head=head,
    )
    return train_and_keep(
        job, params, layout, stage=f"train_{group}", member=member, fold=fold, metadata=metadata
    )


def train_extractor(params: Params, layout: Layout, extractor: str, fold: str) -> Fitted:
    """Fine-tune an extractor on the patches of one fold (Xu et al., section 3)."""
    settings = params.extractors[extractor]
    store = Store.open(layout.features(PATCHES), in_memory=True)
    recipe = recipe_of(params, settings)
    train, validation, task = fold_examples(layout, store, fold, recipe)
    feature = params.features[PATCHES]
    input_ = Input(
        feature=PATCHES,
        type=feature.type,
        options=feature.options,
        sample_rate=params.decode.sample_rate,
        lengths=[1],
        padding="tile",
        silence=store.metadata["silence"],
        mean=[0.0],
        std=[1.0],
    )
    torch.manual_seed(seed_for(recipe.seed, "weights", extractor, fold) >> 1)
    tagger = new_tagger(settings.network, task, input_, f"extractors.{extractor}")
    origin = RANDOM
    if settings.weights:
        path = layout.root / settings.weights
        fresh = load_weights(tagger.network, path, settings.weights_sha256)
        origin = f"{Path(settings.weights).name} (sha256 {settings.weights_sha256}), fresh: {fresh}"
    else:
        logger.warning("VGGish %s starts from %s", extractor, RANDOM)
    sampler = Sampler(
        examples=train,
        input=input_,
        recipe=recipe,
        all_rows=True,
        max_rows=settings.max_patches,
    )
    job = Job(
        name=f"{extractor}-{fold}",
        seed=recipe.seed,
        recipe=recipe,
        tagger=tagger,
        sampler=sampler,
        validation=validation,
        device=Device.choose(params.runtime),
        checkpoint_seconds=params.runtime.checkpoint_seconds,
    )
    metadata = {"weights_from": origin}
    return train_and_keep(
        job, params, layout, stage="finetune", member=extractor, fold=fold, metadata=metadata
    )


def _start(tagger: Tagger, entry: Model, layout: Layout) -> frozenset[str]:
    """Load the backbone that a model starts from, if any; returns what stands fresh on it."""
    training = entry.training
    if not training.init_from:
        return frozenset()
    head = tagger.network.tag_tensors()
    path = layout.root / training.init_from
    return frozenset(load_weights(tagger.network, path, training.init_sha256, fresh=head))


def _input(params: Params, entry: Model, group: str, store: Store, train: Examples) -> Input:
    """How the network's input is cut and standardised, measured on the training clips."""
    rate = params.decode.sample_rate
    if group == EMBEDDING:
        type_, options = EMBEDDING, {"dims": int(store.metadata["row_shape"][0])}
    else:
        type_, options = params.features[group].type, params.features[group].options
    feature = build_feature(type_, options, sample_rate=rate)
    mean, std = standardisation(train, per=feature.standardisation, scale=feature.scale)
    return Input(
        feature=group,
        type=type_,
        options=options,
        sample_rate=rate,
        lengths=lengths_in_rows(entry.input, feature),
        padding=entry.input.padding or feature.padding,
        silence=store.metadata["silence"],
        mean=mean,
        std=std,
    )


def fold_examples(
    layout: Layout, store: Store | FusionStore, fold: str, recipe: Recipe
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
        "recipe": job.recipe.model_dump(),
        "network": {"name": job.tagger.network_name, **job.tagger.network_options},
        "input": {"feature": job.tagger.input.feature, "lengths": job.tagger.input.lengths},
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
