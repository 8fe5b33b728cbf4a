"""Train one model of the roster on one fold.

Reads: data/features/<kind>/ or data/embeddings/<extractor>/<fold>/, data/folds.parquet; for
    fusion both data/features/ of its backbones, and models/<backbone>/<fold>/
Writes: models/<member>/<fold>/, data/training/<member>-<fold>.csv
Params: model, models.<kind>.<model>, features.<kind>, seed, runtime
"""

import sys

import torch

from earmark.layout import Layout
from earmark.params import Model, Params, member_name
from earmark.seeding import seed_for
from earmark.store import Store
from earmark.taggers.device import Device
from earmark.taggers.input import Input, default_padding
from earmark.taggers.joint import joint_tagger, open_joint
from earmark.taggers.tagger import Tagger
from earmark.taggers.weights import load_weights
from earmark.training.batches import Examples, Sampler, standardisation
from earmark.training.loop import Fitted, Job
from earmark.training.run import fold_examples, new_tagger, train_and_keep
from stages import stage


def run(
    params: Params, layout: Layout, kind: str, model: str, fold: str, extractor: str | None = None
) -> Fitted:
    entry = params.entry(kind, model)
    recipe = params.recipe(entry)
    member = member_name(model, extractor)
    device = Device.choose(params.runtime)
    torch.manual_seed(seed_for(params.seed, "weights", member, fold) >> 1)
    metadata = {"extractor": extractor} if extractor else {}
    if kind == "fusion":
        joint = open_joint(layout)
        train, validation, _ = fold_examples(layout, joint, fold, recipe)
        tagger, frozen, head = (
            joint_tagger(layout, model, fold, entry.aggregation),
            (),
            frozenset[str](),
        )
    else:
        folder = layout.embeddings(extractor, fold) if extractor else layout.features(kind)
        store = Store.open(folder, in_memory=True)
        train, validation, task = fold_examples(layout, store, fold, recipe)
        input_ = _input(params, entry, kind, store, train)
        tagger = new_tagger(entry.network, task, input_, f"models.{kind}.{model}")
        frozen, head = tuple(entry.frozen), _start(tagger, entry, layout)
        metadata |= {"weights_from": entry.init_from} if entry.init_from else {}
    job = Job(
        name=f"{member}-{fold}",
        seed=params.seed,
        recipe=recipe,
        tagger=tagger,
        sampler=Sampler(examples=train, input=tagger.input, recipe=recipe),
        validation=validation,
        device=device,
        frozen=frozen,
        head=head,
    )
    return train_and_keep(
        job, params, layout, stage=f"train_{kind}", member=member, fold=fold, metadata=metadata
    )


def _start(tagger: Tagger, entry: Model, layout: Layout) -> frozenset[str]:
    """Load the backbone that a model starts from, if any; returns what stands fresh on it."""
    if not entry.init_from:
        return frozenset()
    head = tagger.network.tag_tensors()
    path = layout.root / entry.init_from
    return frozenset(load_weights(tagger.network, path, entry.init_sha256, fresh=head))


def _input(params: Params, entry: Model, kind: str, store: Store, train: Examples) -> Input:
    """How the network's input is cut and standardised, measured on the training clips."""
    match kind:
        case "logmel":
            mean, std = standardisation(train, per="array")
        case "mfcc":
            mean, std = standardisation(train, per="column")
        case "wave44k" | "wave16k":
            mean, std = standardisation(train, per="none", scale=32768.0)  # int16 to [-1, 1]
        case _:
            mean, std = standardisation(train, per="none")
    return Input(
        kind=kind,
        options=params.features.options("patches" if kind == "embedding" else kind),
        sample_rate=params.decode.sample_rate,
        lengths=params.rows_read(kind, entry),
        aggregation=entry.aggregation,
        padding=entry.padding or default_padding(kind),
        silence=store.metadata["silence"],
        mean=mean,
        std=std,
    )


if __name__ == "__main__":
    kind, model, *rest = sys.argv[1:]  # [extractor] fold
    with stage(f"train_{kind} {'-'.join([model, *rest])}") as s:
        run(s.params, s.layout, kind, model, rest[-1], *rest[:-1])
