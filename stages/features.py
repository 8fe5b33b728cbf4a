"""Extract the features of one kind from every clip and its variants.

Reads: data/trimmed/, data/augmented/, data/mixed/
Writes: data/features/<kind>/
Params: features.<kind>
"""

import sys
from functools import partial

import numpy as np
from numpy.typing import NDArray

from earmark.features import Extractor, build
from earmark.layout import Layout
from earmark.params import Params
from earmark.processes import map_ordered
from earmark.store import Store, StoreWriter
from stages import stage


def run(params: Params, layout: Layout, kind: str) -> int:
    stores = [Store.open(f) for f in (layout.trimmed, layout.augmented, layout.mixed)]
    extractor = build(kind, params.features.options(kind), sample_rate=params.decode.sample_rate)
    lines = [(which, line) for which, store in enumerate(stores) for line in range(len(store))]
    # The clips that cost most are not known beforehand, so small chunks keep both cores busy.
    rows = map_ordered(
        partial(_rows, stores, extractor),
        lines,
        workers=params.runtime.workers,
        description=f"features {kind}",
    )
    metadata = {"kind": kind, "silence": np.atleast_1d(extractor.silence).tolist()}
    with StoreWriter(
        layout.features(kind),
        row_shape=extractor.row_shape,
        dtype=extractor.dtype,
        metadata=metadata,
    ) as store:
        for (which, line), found in zip(lines, rows, strict=True):
            row = stores[which].index.iloc[line]
            facts = {key: row.get(key, "") for key in ("clip", "split", "variant", "partner")}
            store.append(found, **facts)
    return len(lines)


def _rows(stores: list[Store], extractor: Extractor, item: tuple[int, int]) -> NDArray[np.generic]:
    which, line = item
    waveform = stores[which].rows(line).astype(np.float32) / np.float32(32768)
    rows: NDArray[np.generic] = np.asarray(extractor(waveform)).astype(extractor.dtype)
    return rows


if __name__ == "__main__":
    kind = sys.argv[1]
    with stage(f"features {kind}") as s:
        s.log.info("features: %s of %d clips and variants", kind, run(s.params, s.layout, kind))
