"""Extract one feature from every clip and its variants.

Reads: data/trimmed/, data/augmented/, data/class_mixed/
Writes: data/features/<feature>/
Params: features.<feature>, decode.sample_rate
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from earmark.layout import Layout
from earmark.params import Params
from earmark.processes import map_ordered
from earmark.spool import FileRows, Scratch, release
from earmark.store import Store, StoreWriter
from stages import stage

if TYPE_CHECKING:
    from earmark.features import FeatureType

# sha256 is that of the trimmed sound: the key of its crops (variants are never predicted).
COLUMNS = ("clip", "split", "variant", "partner", "sha256")


def run(params: Params, layout: Layout, feature: str) -> int:
    from earmark.features import build

    declared = params.features[feature]
    extractor = build(declared.type, declared.options, sample_rate=params.decode.sample_rate)
    stores = [
        Store.open(layout.trimmed),
        *Store.open_all(layout.augmented),
        Store.open(layout.class_mixed),
    ]
    clips = [(which, i) for which, store in enumerate(stores) for i in range(len(store))]
    metadata = {"type": declared.type, "silence": np.atleast_1d(extractor.silence).tolist()}
    with StoreWriter(
        layout.features(feature),
        row_shape=extractor.row_shape,
        dtype=extractor.dtype,
        metadata=metadata,
    ) as out:
        rows = map_ordered(
            partial(_rows, stores, extractor, out.scratch_folder),
            clips,
            workers=params.runtime.workers,
            description=f"features {feature}",
            name_of=lambda clip: stores[clip[0]].index["clip"].iloc[clip[1]],
        )
        for (which, i), extracted in zip(clips, rows, strict=True):
            row = stores[which].index.iloc[i]
            out.append(extracted, **{key: row.get(key, "") for key in COLUMNS})
    return len(clips)


def _rows(
    stores: list[Store], extractor: "FeatureType", scratch_folder: Path, clip: tuple[int, int]
) -> NDArray[Any] | FileRows:
    from earmark.features.extraction import extract

    which, i = clip
    scratch = Scratch(scratch_folder, is_shared=True)
    waveform = np.asarray(stores[which].rows(i))
    rows = extract(waveform, extractor, scratch=scratch)
    release(waveform)
    return rows


if __name__ == "__main__":
    with stage("features", "feature") as s:
        s.log.info("features: %d clips and variants", run(s.params, s.layout, **s.arguments))
