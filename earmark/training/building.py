"""The job of a training, built from params.yaml: its clips, input and network, ready to start."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from earmark.errors import UserError
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
from earmark.store import Store
from earmark.taggers.device import Device
from earmark.taggers.fusion import fusion_tagger, open_fusion
from earmark.taggers.input import FusionStore, Input
from earmark.taggers.tagger import Tagger
from earmark.training.augmentation import applicable
from earmark.training.examples import Examples, fold_examples, splits_within, standardisation
from earmark.training.job import Job
from earmark.weights import load_weights

logger = logging.getLogger(__name__)

RANDOM = "random values: no weight file was given, so nothing was learned from other sound"


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
