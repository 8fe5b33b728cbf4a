"""What of params.yaml works, but probably not as it is meant."""

import os

import numpy as np

from earmark.corpora.adapters import find as find_adapter
from earmark.features.vggish import HOP_LENGTH, PATCH_FRAMES
from earmark.features.vggish import SAMPLE_RATE as PATCH_RATE
from earmark.layout import Layout
from earmark.params import Model, Params
from earmark.params.roster import EMBEDDING, FUSION, STUDENT
from earmark.records import read_json
from earmark.settings.feature_validation import feature_warnings
from earmark.settings.model_validation import memory_warnings, weight_warnings
from earmark.sound.headers import seconds_of
from earmark.sound.recordings import path_of
from earmark.wording import shortened

N_HEADERS = 500  # that are read: a second, and the share of short clips is known to some percent
PATCH_SECONDS = PATCH_FRAMES * HOP_LENGTH / PATCH_RATE


def warnings_of(params: Params, layout: Layout, *, params_only: bool) -> list[str]:
    """One line for each, of params that are sound; `params_only` leaves the corpus alone."""
    warnings = [
        *weight_warnings(params),
        *_runtime_warnings(params),
        *feature_warnings(params),
        *memory_warnings(params),
    ]
    if params_only:
        return warnings
    from earmark.settings.corpus_validation import corpus_warnings  # which no stage waits for
    from earmark.settings.unlabelled_validation import unlabelled_warnings

    return [
        *warnings,
        *corpus_warnings(params, layout),
        *_quarantine_warnings(params, layout),
        *header_warnings(params, layout),
        *unlabelled_warnings(params, layout),
    ]


def _runtime_warnings(params: Params) -> list[str]:
    n_processors = os.cpu_count() or 1
    counts = {"threads": params.runtime.threads, "workers": params.runtime.workers}
    return [
        f"params.yaml: runtime.{name}: {count}, but this machine has {n_processors} processors; "
        f"more make it slower, so lower it"
        for name, count in counts.items()
        if count > n_processors
    ]


def _quarantine_warnings(params: Params, layout: Layout) -> list[str]:
    """A limit that the last run does not keep, and that DVC need not apply to it again."""
    path, limit = layout.metrics / "decode.json", params.corpus.max_quarantined
    last = read_json(path) if path.exists() else {}
    n_bad, n_clips = last.get("quarantined", 0), last.get("clips", 0)
    if not n_bad > limit * n_clips:
        return []
    return [
        f"params.yaml: corpus.max_quarantined: {limit:g}, but the last run left out {n_bad} of "
        f"{n_clips} clips; to apply the limit run `dvc repro --force --single-item decode`"
    ]


def header_warnings(params: Params, layout: Layout) -> list[str]:
    """What headers of recordings tell, where there are any: that too many cannot be read.

    And which models have a segment that is longer than most clips.
    """
    segments = {
        f"models.{group}.{name}.input": segment_seconds(entry, params, group)
        for group, models in params.models.items()
        for name, entry in models.items()
        if group != FUSION
    }
    for feature, student in params.student.items():
        segments[f"{STUDENT}.{feature}.input"] = segment_seconds(student, params, feature)
    root = layout.root / params.corpus.root
    if not root.is_dir():
        return []
    clips = find_adapter(params.corpus.adapter).read_clips(root, params.corpus.table)
    clips = clips.iloc[:: 1 + len(clips) // N_HEADERS]
    starts = clips["start_seconds"].fillna(0).to_numpy(float)
    ends = [
        seconds_of(path_of(root, path)) if np.isnan(end) else end
        for path, end in zip(clips["path"], clips["end_seconds"], strict=True)
    ]
    seconds = np.array(ends, float) - starts
    seconds = seconds[~np.isnan(seconds)]
    warnings = []
    unread = clips["path"][np.isnan(np.array(ends, float))].tolist()
    if len(unread) > params.corpus.max_quarantined * len(clips):
        warnings.append(
            f"corpus: {len(unread)} of {len(clips)} headers looked at cannot be read, such as that "
            f"of {shortened(unread[0])}; `dvc repro decode` lists all"
        )
    for key, length in segments.items():
        n_shorter = int((seconds < length).sum())
        if n_shorter > len(seconds) / 2:
            warnings.append(
                f"params.yaml: {key}: the segment has {length:g} s, and {n_shorter} of "
                f"{len(seconds)} clips looked at are shorter and will be padded; shorten it if "
                "that is not meant"
            )
    return warnings


def segment_seconds(entry: Model, params: Params, group: str) -> float:
    """The longest segment of a model in seconds; 0 for whole clips."""
    input_, times = entry.input, max(entry.input.lengths or [1.0])
    if isinstance(input_.segment_seconds, float):
        return times * input_.segment_seconds
    if input_.segment_samples is not None and group != EMBEDDING:
        feature = params.features[group]
        return times * input_.segment_samples / float(feature.options["target_hz"])
    n_patches = input_.segment_patches
    return times * n_patches * PATCH_SECONDS if isinstance(n_patches, int) else 0.0
