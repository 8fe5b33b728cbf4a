"""Cut the silence off both ends of every clip, and bring its peak to full scale.

Reads: data/decoded/
Writes: data/trimmed/
Params: trim
"""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.engine import map_ordered
from earmark.layout import Layout
from earmark.params import Params
from earmark.silence import Ends, peak_normalise, trim_ends
from earmark.store import Store, StoreWriter
from stages import stage


def run(params: Params, layout: Layout) -> dict[str, Any]:
    decoded = Store.open(layout.decoded)
    rate = decoded.about["sample_rate"]
    min_rows = round(params.trim.min_seconds * rate)
    ends = map_ordered(
        partial(_ends, decoded, params.trim.top_db),
        range(len(decoded)),
        workers=params.runtime.workers,
        description="trim",
        chunk=32,
    )
    n_whole, n_cut = 0, 0
    with StoreWriter(layout.trimmed, row_shape=(), dtype="int16", about=decoded.about) as store:
        for line, found in enumerate(ends):
            row = decoded.index.iloc[line]
            waveform = decoded.rows(line)
            # Xu et al., section 3.1: ends only, inner silence carries rhythm.
            is_kept_whole = found.end - found.start < min_rows
            start, end = (0, len(waveform)) if is_kept_whole else (found.start, found.end)
            n_whole += is_kept_whole
            n_cut += len(waveform) - (end - start)
            store.append(
                peak_normalise(np.asarray(waveform[start:end])),
                clip=row["clip"],
                split=row["split"],
                trimmed_start=start,
                kept_whole=is_kept_whole,
            )
    return {"clips": len(decoded), "kept_whole": n_whole, "seconds_cut": n_cut / rate}


def _ends(decoded: Store, top_db: float, line: int) -> Ends:
    waveform: NDArray[np.int16] = np.asarray(decoded.rows(line))
    return trim_ends(waveform, top_db=top_db)


if __name__ == "__main__":
    with stage("trim") as s:
        done = run(s.params, s.layout)
        s.log.info(
            "trim: %(clips)d clips, %(seconds_cut).1f s of silence cut, "
            "%(kept_whole)d shorter than trim.min_seconds kept whole",
            done,
        )
