"""Tag segments of validation clips by the networks of their fold; fit the estimator of segments.

Reads: data/decoded/, data/ensemble/, data/plan.json, models/ (behind data/predictions/)
Writes: data/timeline/, metrics/timeline.json
Params: timeline, runtime
"""

from collections.abc import Iterator
from typing import Any

from earmark.layout import Layout
from earmark.params import Params
from earmark.processes import progress
from earmark.records import write_json, write_table
from earmark.sound.samples import Int16
from earmark.store import Store
from earmark.whole_files import whole_folder
from stages import stage


def run(params: Params, layout: Layout) -> dict[str, Any]:
    from earmark.ensemble.rules import Windows
    from earmark.ensemble.segment_tuning import (
        as_table,
        predict_segments,
        segment_predictions,
        tune_segments,
    )
    from earmark.evaluation.predictions import ENSEMBLE, read_metadata, read_predictions
    from earmark.inference.workspace import load_ensemble

    tagger, given = load_ensemble(params.runtime, layout), params.timeline
    windows = Windows(window_seconds=given.window_seconds, hop_seconds=given.hop_seconds)
    ensemble, store = read_predictions(layout.ensemble, ENSEMBLE), Store.open(layout.decoded)
    position_of = {clip: i for i, clip in enumerate(store.index["clip"])}
    validation = ensemble.validation
    by_fold = {}
    for fold in validation.clips["fold"].unique():
        clips = validation.clips["clip"][validation.clips["fold"] == fold]
        positions = [position_of[clip] for clip in clips if clip in position_of]
        networks = {name: {fold: folds[fold]} for name, folds in tagger.networks.items()}
        by_fold[str(fold)] = list(
            predict_segments(
                networks,
                _waveforms(store, positions, description=f"timeline {fold}"),
                tagger.rules,
                windows,
                tagger.device,
            )
        )
    segments = segment_predictions(validation, by_fold)
    fitted = tune_segments(segments, validation, read_metadata(layout.ensemble))
    with whole_folder(layout.timeline) as part:
        write_table(part / "segments.parquet", as_table(segments, tagger.sample_rate))
        write_json(part / "timeline.json", {**given.model_dump(), **fitted})
    write_json(layout.metrics / "timeline.json", fitted)
    return fitted


def _waveforms(
    store: Store, positions: list[int], *, description: str
) -> Iterator[tuple[str, Int16]]:
    for position in progress(positions, total=len(positions), description=description):
        yield str(store.index.iloc[position]["clip"]), store.rows(position)


if __name__ == "__main__":
    with stage("timeline") as s:
        fitted = run(s.params, s.layout)
        s.log.info(
            "timeline: %d segments, the likeliest tag of %.1f%% is right; temperature %.2f, "
            "%.1f%% of segments answered at %.2f or more, %.1f%% of them right",
            fitted["n_segments"],
            100 * fitted["share_right"],
            fitted["temperature"],
            100 * fitted["coverage"],
            fitted["rejection_threshold"],
            100 * (fitted["precision"] or 0),
        )
