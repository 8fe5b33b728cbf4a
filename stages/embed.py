"""Turn every patch of every clip into the embedding of one fold's extractor.

Reads: data/features/patches/, models/<extractor>/<fold>/
Writes: data/embeddings/<extractor>/<fold>/
Params: runtime
"""

import numpy as np

from earmark.layout import Layout
from earmark.params import Params
from earmark.params.roster import PATCHES
from earmark.processes import progress
from earmark.store import Store, StoreWriter
from stages import stage

BATCH = 128


def run(params: Params, layout: Layout, extractor: str, fold: str) -> int:
    from earmark.taggers.device import Device
    from earmark.taggers.tagger import Tagger

    device = Device.choose(params.runtime)
    tagger = Tagger.load(layout.model(extractor, fold), device)
    store = Store.open(layout.features(PATCHES))
    start = tagger.metadata.get("random_start", "")
    metadata = {"silence": [0.0], "extractor": extractor, "fold": fold, "random_start": start}
    shape = (tagger.embedding_dim,)
    with StoreWriter(
        layout.embeddings(extractor, fold), row_shape=shape, dtype="float32", metadata=metadata
    ) as out:
        name, total = f"embed {extractor}-{fold}", len(store)
        for position in progress(range(total), total=total, description=name):
            row = store.index.iloc[position]
            patches = store.rows(position)[:, np.newaxis]  # segments of one patch
            rows = tagger.embeddings(patches, device, batch_size=BATCH)
            columns = ("clip", "split", "variant", "partner", "sha256")
            out.append(rows, **{key: row[key] for key in columns})
    return len(store)


if __name__ == "__main__":
    with stage("embed", "extractor", "fold") as s:
        s.log.info("embed: %d clips and variants", run(s.params, s.layout, **s.arguments))
