"""Decoded and trimmed clips of given waveforms, as the stages decode and trim leave them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.corpora.quarantine import quarantine_table
from earmark.layout import Layout
from earmark.sound.trimmed_clips import TrimmedClips, write_trimmed
from earmark.store import Store, StoreWriter


def store_clips(
    layout: Layout,
    waveforms: Mapping[str, NDArray[np.int16]],
    *,
    rate: int,
    split: Mapping[str, str] | None = None,
    part: Mapping[str, Any] | None = None,
) -> TrimmedClips:
    """Store clips of which nothing is cut off, unless `part` says so for all of them."""
    metadata = {"sample_rate": rate}
    splits = {name: (split or {}).get(name, "train") for name in waveforms}
    with StoreWriter(layout.decoded, row_shape=(), dtype="int16", metadata=metadata) as store:
        for name, waveform in waveforms.items():
            store.append(waveform, clip=name, split=splits[name])
        store.add_table("quarantine", quarantine_table([]))
    whole = {"trimmed_start": 0, "peak": 0, "kept_whole": False}
    rows = (
        {"clip": name, "split": splits[name], "length": len(waveform), "sha256": name, **whole}
        | dict(part or {})
        for name, waveform in waveforms.items()
    )
    write_trimmed(layout.trimmed, rows, Store.open(layout.decoded))
    return TrimmedClips.open(layout.trimmed, layout.decoded)
