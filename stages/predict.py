"""Probabilities of every crop of every held-out and test clip, by one model of one fold.

Reads: data/features/<kind>/ (for fusion those of its backbones) or
    data/embeddings/<extractor>/<fold>/, models/<member>/<fold>/, data/folds.parquet
Writes: data/predictions/<member>/<fold>/
Params: inference.n_crops, seed, runtime
"""

import sys

from tqdm import tqdm

from earmark.layout import Layout
from earmark.params import Params, member_name
from earmark.store import Store, StoreWriter, read_table
from earmark.taggers.device import Device
from earmark.taggers.joint import open_joint
from earmark.taggers.tagger import Tagger
from stages import stage

BATCH = 32


def run(
    params: Params, layout: Layout, kind: str, model: str, fold: str, extractor: str | None = None
) -> int:
    member = member_name(model, extractor)
    device = Device.choose(params.runtime)
    tagger = Tagger.load(layout.model(member, fold), device)
    folder = layout.embeddings(extractor, fold) if extractor else layout.features(kind)
    store = open_joint(layout) if kind == "fusion" else Store.open(folder)
    folds = read_table(layout.folds)
    roles = dict(zip(folds["clip"], folds[f"fold_{fold}"], strict=True))
    input_ = tagger.input
    metadata = {"tags": tagger.tags, "aggregation": input_.aggregation}
    n_tags = len(tagger.tags)
    n_crops = 0
    with StoreWriter(
        layout.predictions(member, fold), row_shape=(n_tags,), dtype="float32", metadata=metadata
    ) as out:
        for line in tqdm(range(len(store)), desc=f"predict {member}", unit="clip", disable=None):
            clip, variant = store.index["clip"].iloc[line], store.index["variant"].iloc[line]
            role = roles.get(clip, "")  # a clip that the user dropped has none
            if variant or role not in ("validation", "test"):
                continue
            n, seed = params.inference.n_crops, params.seed
            crops = input_.crops(store.rows(line), n_crops=n, seed=seed, clip=clip)
            found = tagger.clip_probabilities(crops, device, batch_size=BATCH)
            out.append(found, clip=clip, role=role)
            n_crops += len(found)
    return n_crops


if __name__ == "__main__":
    kind, model, *rest = sys.argv[1:]  # [extractor] fold
    with stage(f"predict_{kind} {'-'.join([model, *rest])}") as s:
        n_crops = run(s.params, s.layout, kind, model, rest[-1], *rest[:-1])
        s.log.info("predict: %d crops", n_crops)
