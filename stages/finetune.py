"""Fine-tune a VGGish on the patches of one fold's training clips (Xu et al., section 3).

Reads: data/features/patches/, data/folds.parquet
Writes: models/<extractor>/<fold>/, data/training/<extractor>-<fold>.csv
Params: finetune, extractors.<extractor>, seed, runtime
"""

import sys
from pathlib import Path

from earmark.layout import Layout
from earmark.params import Params
from earmark.seeding import seed_for
from earmark.store import Store
from earmark.taggers.device import Device
from earmark.taggers.input import Input
from earmark.taggers.weights import load_weights
from earmark.training.batches import Sampler
from earmark.training.loop import Fitted, Job
from earmark.training.run import fold_examples, new_tagger, train_and_keep
from stages import stage

RANDOM = "random values: no weight file was given, so nothing was learned from other sound"


def run(params: Params, layout: Layout, extractor: str, fold: str) -> Fitted:
    import torch

    settings = params.extractors[extractor]
    store = Store.open(layout.features("patches"), in_memory=True)
    recipe = params.recipe(settings)
    train, validation, task = fold_examples(layout, store, fold, recipe)
    input_ = Input(
        kind="patches",
        options=params.features.options("patches"),
        sample_rate=params.decode.sample_rate,
        lengths=[1],
        aggregation="mean",
        padding="tile",
        silence=store.metadata["silence"],
        mean=[0.0],
        std=[1.0],
    )
    torch.manual_seed(seed_for(params.seed, "weights", extractor, fold) >> 1)
    tagger = new_tagger(settings.network, task, input_, f"extractors.{extractor}")
    origin = RANDOM
    if settings.weights:
        path = layout.root / settings.weights
        fresh = load_weights(tagger.network, path, settings.weights_sha256)
        origin = f"{Path(settings.weights).name} (sha256 {settings.weights_sha256}), fresh: {fresh}"
    sampler = Sampler(
        examples=train,
        input=input_,
        recipe=recipe,
        all_rows=True,
        max_rows=settings.max_patches,
    )
    job = Job(
        name=f"{extractor}-{fold}",
        seed=params.seed,
        recipe=recipe,
        tagger=tagger,
        sampler=sampler,
        validation=validation,
        device=Device.choose(params.runtime),
    )
    metadata = {"weights_from": origin}
    return train_and_keep(
        job, params, layout, stage="finetune", member=extractor, fold=fold, metadata=metadata
    )


if __name__ == "__main__":
    extractor, fold = sys.argv[1:]
    with stage(f"finetune {extractor}-{fold}") as s:
        if not s.params.extractors[extractor].weights:
            s.log.warning("VGGish %s starts from %s", extractor, RANDOM)
        run(s.params, s.layout, extractor, fold)
