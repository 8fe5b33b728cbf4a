"""Make new training clips from those of a class: mixtures of two, and others at another pitch.

Reads: data/decoded/, data/trimmed/, data/folds.parquet
Writes: data/class_mixed/
Params: class_mixing, trim.normalise, seed
"""

import json
from functools import partial

import numpy as np
from numpy.typing import NDArray

from earmark.corpora.stored_tables import read_folds
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.params import Params
from earmark.processes import duration, map_ordered
from earmark.sound import class_mixing
from earmark.sound.class_mixing import NewClip
from earmark.sound.samples import as_float, as_int16
from earmark.sound.trimmed_clips import TrimmedClips
from earmark.sound.trimming import peak_normalise, without_clipping
from earmark.store import StoreWriter
from stages import stage

LONGEST_SECONDS = 600.0  # of a clip to mix, which is done in memory at 40 bytes a sample


def run(params: Params, layout: Layout) -> int:
    trimmed = TrimmedClips.open(layout.trimmed, layout.decoded)
    folds = read_folds(layout)
    clips = folds[folds["split"] == "train"]
    plan = [
        *class_mixing.plan_mixtures(clips, params.class_mixing.same_class, params.seed),
        *class_mixing.plan_pitches(clips, params.class_mixing.pitch_fill, params.seed),
    ]
    if plan:
        import scipy.signal  # noqa: F401 -- here once, and not in each worker
    line_of = {clip: line for line, clip in enumerate(trimmed.index["clip"])}
    rate = trimmed.metadata["sample_rate"]
    _check_lengths(trimmed, plan, line_of)
    made = map_ordered(
        partial(_make, trimmed, line_of, params.trim.normalise),
        plan,
        workers=params.runtime.workers,
        description="class_mixing",
        name_of=lambda new: f"{new.variant} of {new.clip}",
    )
    with StoreWriter(
        layout.class_mixed, row_shape=(), dtype="int16", metadata={"sample_rate": rate}
    ) as store:
        for new, waveform in zip(plan, made, strict=True):
            names = {"clip": new.clip, "variant": new.variant, "partner": new.partner}
            drawn = json.dumps(new.values, sort_keys=True)
            store.append(waveform, split="train", drawn=drawn, **names)
    return len(plan)


def _check_lengths(trimmed: TrimmedClips, plan: list[NewClip], line_of: dict[str, int]) -> None:
    lengths = trimmed.index["length"] / trimmed.metadata["sample_rate"]
    for new in plan:
        for clip in filter(None, (new.clip, new.partner)):
            seconds = float(lengths.iloc[line_of[clip]])
            if seconds > LONGEST_SECONDS:
                raise UserError(
                    f"clip {clip}: {duration(seconds)} long, and clips above "
                    f"{duration(LONGEST_SECONDS)} cannot be mixed; give it start_seconds and "
                    "end_seconds, or set same_class.copies and pitch_fill.up_to to 0"
                )


def _make(
    trimmed: TrimmedClips, line_of: dict[str, int], normalise: bool, new: NewClip
) -> NDArray[np.int16]:
    rate = trimmed.metadata["sample_rate"]
    waveform = trimmed.waveform(line_of[new.clip])
    if new.variant == "pitch_fill":
        shifted = class_mixing.shift_pitch(as_float(waveform), rate, new.values["semitones"])
        return as_int16(shifted)
    partner = as_float(trimmed.waveform(line_of[new.partner]))
    mixture = class_mixing.mix(as_float(waveform), partner, rate, new.values).astype(np.float32)
    # As loud as other clips: at full scale where they are, else only so low that nothing clips.
    return as_int16(peak_normalise(mixture) if normalise else without_clipping(mixture))


if __name__ == "__main__":
    with stage("class_mixing") as s:
        s.log.info("class_mixing: %d new clips", run(s.params, s.layout))
