"""Extract one feature from every clip, and put that of its variants beside it.

Reads: data/decoded/, data/trimmed/, data/augmented/<feature>/, data/class_mixed/
Writes: data/features/<feature>/
Params: features.<feature>, decode.sample_rate
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from earmark.layout import Layout
from earmark.params import Params
from earmark.processes import map_ordered
from earmark.sound.samples import Int16
from earmark.sound.trimmed_clips import TrimmedClips
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
    trimmed = TrimmedClips.open(layout.trimmed, layout.decoded)
    mixed = Store.open(layout.class_mixed)
    metadata = {"type": declared.type, "silence": np.atleast_1d(extractor.silence).tolist()}
    with StoreWriter(
        layout.features(feature),
        row_shape=extractor.row_shape,
        dtype=extractor.dtype,
        metadata=metadata,
    ) as out:
        extracted = partial(_append, out, extractor, feature, params.runtime.workers)
        extracted(trimmed)
        for variants in Store.open_all(layout.augmented(feature)):
            out.adopt(variants, map(_columns, variants.index.to_dict("records")))
        extracted(mixed)
        return len(out)


def _append(
    out: StoreWriter,
    extractor: "FeatureType",
    feature: str,
    workers: int,
    clips: TrimmedClips | Store,
) -> None:
    """Extract the feature of all clips."""
    if not len(clips):
        return
    out.scratch_folder.mkdir(exist_ok=True)
    rows = map_ordered(
        partial(_rows, clips, extractor, out.scratch_folder),
        range(len(clips)),
        workers=workers,
        description=f"features {feature}",
        name_of=clips.index["clip"].iloc.__getitem__,
    )
    for row, made in zip(clips.index.to_dict("records"), rows, strict=True):
        out.append(made, **_columns(row))


def _columns(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {key: row.get(key, "") for key in COLUMNS}


def _rows(
    clips: TrimmedClips | Store, extractor: "FeatureType", scratch_folder: Path, position: int
) -> NDArray[Any] | FileRows:
    from earmark.features.extraction import extract

    waveform: Int16 = (
        clips.rows(position)
        if isinstance(clips, Store)
        else clips.waveform(position, scratch=Scratch(scratch_folder))
    )
    rows = extract(waveform, extractor, scratch=Scratch(scratch_folder, is_shared=True))
    release(waveform)
    return rows


if __name__ == "__main__":
    with stage("features", "feature") as s:
        s.log.info("features: %d clips and variants", run(s.params, s.layout, **s.arguments))
