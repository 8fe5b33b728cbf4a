"""Train one model of the roster on one fold.

Reads: data/features/<kind>/ or data/embeddings/<extractor>/<fold>/, data/folds.parquet
Writes: models/<member>/<fold>/, data/training/<member>-<fold>.csv
Params: model, models.<kind>.<model>, features.<kind>, seed, runtime
"""

import sys

import torch

from earmark.fitting import fold_examples, new_tagger, train_and_keep
from earmark.inference import Device, Input
from earmark.layout import Layout
from earmark.params import Model, Params, member_name
from earmark.seeding import seed_for
from earmark.store import Store
from earmark.training.batches import Examples, Sampler, standardisation
from earmark.training.loop import Fitted, Job
from stages import stage


def run(
    params: Params, layout: Layout, kind: str, model: str, fold: str, extractor: str | None = None
) -> Fitted:
    entry = params.entry(kind, model)
    recipe = params.recipe(entry)
    member = member_name(model, extractor)
    folder = layout.embeddings(extractor, fold) if extractor else layout.features(kind)
    store = Store.open(folder, in_memory=True)
    train, validation, tags = fold_examples(layout, store, fold)
    input_ = _input(params, entry, kind, store, train)
    torch.manual_seed(seed_for(params.seed, "weights", member, fold) >> 1)
    sampler = Sampler(
        examples=train,
        input=input_,
        batch_size=recipe.batch_size,
        balanced=False,
        augmented_share=recipe.augmented_share,
    )
    job = Job(
        name=f"{member}-{fold}",
        seed=params.seed,
        recipe=recipe,
        tagger=new_tagger(entry.network, tags, input_, f"models.{kind}.{model}"),
        sampler=sampler,
        validation=validation,
        device=Device.choose(params.runtime),
    )
    about = {"extractor": extractor} if extractor else {}
    return train_and_keep(
        job, params, layout, stage=f"train_{kind}", member=member, fold=fold, about=about
    )


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
        segment_rows=params.rows_read(kind, entry),
        rule=entry.rule,
        silence=store.about["silence"],
        mean=mean,
        std=std,
    )


if __name__ == "__main__":
    kind, model, *rest = sys.argv[1:]  # [extractor] fold
    with stage(f"train_{kind} {'-'.join([model, *rest])}") as s:
        run(s.params, s.layout, kind, model, rest[-1], *rest[:-1])
