"""Find the silence at both ends of every clip, and its peak if that is to be at full scale.

Reads: data/decoded/
Writes: data/trimmed/
Params: trim
"""

import hashlib
from functools import partial
from typing import Any

import numpy as np

from earmark.layout import Layout
from earmark.params import Params, Trim
from earmark.processes import map_ordered
from earmark.sound.trimmed_clips import write_trimmed
from earmark.sound.trimming import find_part
from earmark.spool import release
from earmark.store import Store
from stages import stage


def run(params: Params, layout: Layout) -> dict[str, Any]:
    decoded = Store.open(layout.decoded)
    names = decoded.index[["clip", "split"]].to_dict("records")
    parts = map_ordered(
        partial(_part, decoded, params.trim),
        range(len(decoded)),
        workers=params.runtime.workers,
        description="trim",
        name_of=decoded.index["clip"].iloc.__getitem__,
    )
    rows = ({**known, **part} for known, part in zip(names, parts, strict=True))
    index = write_trimmed(layout.trimmed, rows, decoded)
    n_cut = int(decoded.index["length"].sum()) - int(index["length"].sum())
    return {
        "clips": len(index),
        "kept_whole": int(index["kept_whole"].sum()),
        "seconds_cut": n_cut / decoded.metadata["sample_rate"],
    }


def _part(decoded: Store, options: Trim, position: int) -> dict[str, Any]:
    waveform, rate = np.asarray(decoded.rows(position)), decoded.metadata["sample_rate"]
    part = find_part(waveform, sample_rate=rate, **options.model_dump())
    digest = hashlib.sha256()
    for block in part.blocks(waveform):
        digest.update(block.data)
    release(waveform)
    return {
        "trimmed_start": part.start,
        "length": part.end - part.start,
        "peak": part.peak,
        "kept_whole": part.kept_whole,
        "sha256": digest.hexdigest(),
    }


if __name__ == "__main__":
    with stage("trim") as s:
        summary = run(s.params, s.layout)
        s.log.info(
            "trim: %(clips)d clips, %(seconds_cut).1f s of silence cut, "
            "%(kept_whole)d shorter than trim.min_seconds kept whole",
            summary,
        )
