"""Cut the silence off both ends of every clip; scale its peak to full scale if that is wanted.

Reads: data/decoded/
Writes: data/trimmed/
Params: trim
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from earmark.layout import Layout
from earmark.params import Params, Trim
from earmark.processes import map_ordered
from earmark.sound.trimming import Trimmed, trim
from earmark.spool import Scratch, release
from earmark.store import Store, StoreWriter
from stages import stage


def run(params: Params, layout: Layout) -> dict[str, Any]:
    decoded = Store.open(layout.decoded)
    rate = decoded.metadata["sample_rate"]
    n_whole, n_samples = 0, 0
    with StoreWriter(
        layout.trimmed, row_shape=(), dtype="int16", metadata=decoded.metadata
    ) as store:
        clips = map_ordered(
            partial(_trim, decoded, params.trim, store.scratch_folder),
            range(len(decoded)),
            workers=params.runtime.workers,
            description="trim",
            name_of=decoded.index["clip"].iloc.__getitem__,
        )
        known = zip(decoded.index["clip"], decoded.index["split"], clips, strict=True)
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


def _trim(decoded: Store, options: Trim, scratch_folder: Path, position: int) -> Trimmed:
    rate, scratch = decoded.metadata["sample_rate"], Scratch(scratch_folder, is_shared=True)
    waveform = np.asarray(decoded.rows(position))
    trimmed = trim(waveform, sample_rate=rate, scratch=scratch, **options.model_dump())
    release(waveform)
    return trimmed


if __name__ == "__main__":
    with stage("trim") as s:
        summary = run(s.params, s.layout)
        s.log.info(
            "trim: %(clips)d clips, %(seconds_cut).1f s of silence cut, "
            "%(kept_whole)d shorter than trim.min_seconds kept whole",
            summary,
        )
