"""Make SoX variants of the training clips, one for each effect, with their drawn values recorded.

Reads: data/trimmed/
Writes: data/augmented/
Params: augment, seed
"""

import json
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.layout import Layout
from earmark.params import Params
from earmark.processes import map_ordered
from earmark.seeding import rng_for
from earmark.sound import sox
from earmark.store import Store, StoreWriter
from stages import stage

Variant = tuple[str, str, dict[str, Any]]  # clip, effect, drawn values


def run(params: Params, layout: Layout) -> int:
    trimmed = Store.open(layout.trimmed)
    effects = params.augment
    if effects:
        sox.require()
    lines = [line for line, split in enumerate(trimmed.index["split"]) if split == "train"]
    plan = [(line, effect) for line in lines for effect in sorted(effects)]
    variants = map_ordered(
        partial(_variant, trimmed, effects, params.seed),
        plan,
        workers=params.runtime.workers,
        description="augment",
    )
    with StoreWriter(
        layout.augmented, row_shape=(), dtype="int16", metadata=trimmed.metadata
    ) as store:
        for waveform, (clip, effect, values) in variants:
            drawn = json.dumps(values, sort_keys=True)
            store.append(waveform, clip=clip, split="train", variant=effect, drawn=drawn)
    return len(plan)


def _variant(
    trimmed: Store, effects: dict[str, dict[str, Any]], seed: int, item: tuple[int, str]
) -> tuple[NDArray[np.int16], Variant]:
    line, effect = item
    clip = str(trimmed.index["clip"].iloc[line])
    values = sox.draw(effect, effects[effect], rng_for(seed, "augment", effect, clip))
    waveform = np.asarray(trimmed.rows(line))
    rate = trimmed.metadata["sample_rate"]
    return sox.apply(waveform, rate, effect, values), (clip, effect, values)


if __name__ == "__main__":
    with stage("augment") as s:
        s.log.info("augment: %d variants", run(s.params, s.layout))
