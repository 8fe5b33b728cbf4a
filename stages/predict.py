"""Probabilities of every crop of every validation, dropped and test clip, by one model of one fold.

Reads: data/features/<feature>/ (for fusion those of its backbones) or
    data/embeddings/<extractor>/<fold>/, models/<member>/<fold>/, data/folds.parquet
Writes: data/predictions/<member>/<fold>/
Params: models.<group>.<model>.prediction, inference.n_crops, seed, runtime
"""

from earmark.corpora.split_names import DROPPED, VALIDATION
from earmark.corpora.stored_tables import read_folds
from earmark.layout import Layout
from earmark.params import Params
from earmark.params.roster import FUSION, member_name, model_of
from earmark.processes import progress
from earmark.store import Store, StoreWriter
from stages import stage

BATCH = 32


def run(
    params: Params, layout: Layout, group: str, model: str, fold: str, extractor: str | None = None
) -> int:
    from earmark.taggers.device import Device
    from earmark.taggers.fusion import open_fusion
    from earmark.taggers.input import crop_rng, crops_of
    from earmark.taggers.tagger import Tagger

    member = member_name(model, extractor)
    aggregation = model_of(params, group, model).prediction.aggregation
    device = Device.choose(params.runtime)
    tagger = Tagger.load(layout.model(member, fold), device)
    folder = layout.embeddings(extractor, fold) if extractor else layout.features(group)
    store = open_fusion(layout, params.fusion) if group == FUSION else Store.open(folder)
    folds = read_folds(layout, [fold])
    split_of = dict(zip(folds["clip"], folds[f"fold_{fold}"], strict=True))
    start = tagger.metadata.get("random_start", "")
    metadata = {"tags": tagger.tags, "aggregation": aggregation, "random_start": start}
    n_tags = len(tagger.tags)
    n_crops = 0
    with StoreWriter(
        layout.predictions(member, fold), row_shape=(n_tags,), dtype="float32", metadata=metadata
    ) as out:
        name, total = f"predict {member}-{fold}", len(store)
        for position in progress(range(total), total=total, description=name):
            row = store.index.iloc[position]
            split = split_of.get(row["clip"], "")
            if row["variant"] or split not in (VALIDATION, "test", DROPPED):
                continue
            for crops in crops_of(aggregation):
                segments = tagger.input.prediction_segments(
                    store.rows(position),
                    crops=crops,
                    n_crops=params.inference.n_crops,
                    rng=crop_rng(params.seed, member=member, fold=fold, sha256=row["sha256"]),
                )
                probabilities = tagger.clip_probabilities(segments, device, batch_size=BATCH)
                out.append(probabilities, clip=row["clip"], split=split, crops=crops)
                n_crops += len(probabilities)
    return n_crops


if __name__ == "__main__":
    with stage("predict", "group", "model", "extractor", "fold") as s:
        s.log.info("predict: %d crops", run(s.params, s.layout, **s.arguments))
