"""Cut the silence off both ends of every clip; scale its peak to full scale if that is wanted.

Reads: data/decoded/
Writes: data/trimmed/
Params: trim
"""

from functools import partial
from typing import Any

import numpy as np

from earmark.layout import Layout
from earmark.params import Params, Trim
from earmark.processes import map_ordered
from earmark.sound.trimming import Trimmed, trim
from earmark.store import Store, StoreWriter
from stages import stage


def run(params: Params, layout: Layout) -> dict[str, Any]:
    decoded = Store.open(layout.decoded)
    rate = decoded.metadata["sample_rate"]
    clips = map_ordered(
        partial(_trim, decoded, params.trim),
        range(len(decoded)),
        workers=params.runtime.workers,
        description="trim",
        name_of=decoded.index["clip"].iloc.__getitem__,
    )
    n_whole, n_samples = 0, 0
    known = zip(decoded.index["clip"], decoded.index["split"], clips, strict=True)
    with StoreWriter(
        layout.trimmed, row_shape=(), dtype="int16", metadata=decoded.metadata
    ) as store:
        for clip, split, trimmed in known:
            n_whole += trimmed.kept_whole
            n_samples += len(trimmed.waveform)
            store.append(
                trimmed.waveform,
                clip=clip,
                split=split,
                trimmed_start=trimmed.start,
                kept_whole=trimmed.kept_whole,
                sha256=trimmed.sha256,
            )
    n_cut = int(decoded.index["length"].sum()) - n_samples
    return {"clips": len(decoded), "kept_whole": n_whole, "seconds_cut": n_cut / rate}


def _trim(decoded: Store, options: Trim, position: int) -> Trimmed:
    rate = decoded.metadata["sample_rate"]
    return trim(np.asarray(decoded.rows(position)), sample_rate=rate, **options.model_dump())


if __name__ == "__main__":
    with stage("trim") as s:
        summary = run(s.params, s.layout)
        s.log.info(
            "trim: %(clips)d clips, %(seconds_cut).1f s of silence cut, "
            "%(kept_whole)d shorter than trim.min_seconds kept whole",
            summary,
        )
