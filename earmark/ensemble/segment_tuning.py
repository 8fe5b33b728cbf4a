"""What segments of recordings are worth: their own temperature, thresholds and rejection level.

They are fitted on segments of validation clips, each predicted by the networks of the fold that
validates it. Shapes: S segments, K tags.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.ensemble.rules import Rules, Windows
from earmark.ensemble.segments import Networks, segments_of, tag_segments, with_sound
from earmark.evaluation.calibration import judge, tempered_out_of_fold, top_predictions
from earmark.evaluation.predictions import ENSEMBLE, Predictions
from earmark.evaluation.temperature import fit_temperature, temper
from earmark.evaluation.thresholds import tune
from earmark.sound.samples import Int16
from earmark.taggers.device import Device

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]

MAX_SEGMENTS = 8  # of a clip: a long one has no more to say on calibration than others together
MIN_ANSWERED = 20  # a level that fewer segments reach is that of the luckiest


@dataclass(frozen=True)
class ClipSegments:
    """What the networks of its fold give for some segments of a clip: `(S, K)`."""

    clip: str
    starts: list[int]
    probabilities: Floats


def predict_segments(
    networks: Networks,
    waveforms: Iterator[tuple[str, Int16]],
    rules: Rules,
    windows: Windows,
    device: Device,
) -> Iterator[ClipSegments]:
    """Tag segments with sound, at most MAX_SEGMENTS of a clip, evenly spread over it.

    Args:
        networks: those of one fold.
        waveforms: clips that the fold validates, by name, decoded and not trimmed.
    """
    for clip, waveform in waveforms:
        segments = segments_of(len(waveform), windows, sample_rate=rules.sample_rate)
        loud = with_sound(waveform, segments, top_db=rules.preparation["trim"]["top_db"])
        heard = [segment for segment, is_loud in zip(segments, loud, strict=True) if is_loud]
        positions = np.linspace(0, len(heard) - 1, min(len(heard), MAX_SEGMENTS)).round()
        chosen = [heard[int(position)] for position in positions]
        found = list(tag_segments(networks, waveform, chosen, rules, device))
        if found:
            yield ClipSegments(clip, [one.start for one in chosen], np.concatenate(found))


def segment_predictions(
    clips: Predictions, by_fold: Mapping[str, list[ClipSegments]]
) -> Predictions:
    """One row a segment, with what is known of its clip.

    Args:
        clips: the ensemble's of validation clips.
        by_fold: fold -> segments of the clips that it validates.
    """
    rows, probabilities, starts = [], [], []
    known = clips.clips.reset_index(drop=True)
    row_of = {
        (fold, clip): i
        for i, (fold, clip) in enumerate(zip(known["fold"], known["clip"], strict=True))
    }
    for fold, found in by_fold.items():
        for one in found:
            if (fold, one.clip) in row_of:
                rows += [row_of[fold, one.clip]] * len(one.starts)
                starts += one.starts
                probabilities.append(one.probabilities)
    table = known.iloc[rows].reset_index(drop=True).assign(start=starts)
    return Predictions.of(ENSEMBLE, clips.task, table, np.concatenate(probabilities))


def tune_segments(
    segments: Predictions, clips: Predictions, metadata: Mapping[str, Any]
) -> dict[str, Any]:
    """Fit the estimator of segments on those of trusted clips.

    How much less sharp the mean over folds is than one fold's networks is taken over from clips.
    Segments are rejected below the level at which those above are as often right as clips are
    above theirs, `evaluate.rejection_threshold`: of the answers of a timeline no smaller a share
    is right than of the answers of clips.

    Args:
        segments: out of fold, see `segment_predictions`.
        clips: likewise, the ensemble's.
        metadata: of data/ensemble.

    Returns:
        `temperature` and `rejection_threshold`, `thresholds` where clips may have several tags; the
        precision of clips that was asked for, that of the segments answered, and their `coverage`;
        and what `judge` returns, all with temperatures of the other folds.
    """
    is_multi_label = clips.task.is_multi_label
    validation = segments.validation
    rows = validation.is_trusted
    trusted = validation.take(rows)
    temperature = fit_temperature(
        trusted.probabilities, trusted.targets, is_multi_label=is_multi_label
    )
    tempered = tempered_out_of_fold(validation)[rows]
    wanted = _precision(clips.validation, metadata["preparation"]["rejection_threshold"])
    confidence, is_right = top_predictions(tempered, trusted.targets)
    level = level_of_precision(confidence, is_right, wanted)
    answered = confidence >= level
    tuned: dict[str, Any] = {}
    if is_multi_label:
        by_one = temper(validation.probabilities, temperature, is_multi_label=True)
        by_tag = tune(by_one, validation.targets, rows).by_tag.tolist()
        tuned["thresholds"] = dict(zip(clips.task.tags, by_tag, strict=True))
    return {
        **tuned,
        "temperature": temperature * metadata["mean_temperatures"][ENSEMBLE],
        "temperature_out_of_fold": temperature,
        "rejection_threshold": level,
        "n_segments": len(trusted),
        "n_clips": int(trusted.clips["clip"].nunique()),
        "precision_of_clips": wanted,
        "precision": float(is_right[answered].mean()) if answered.any() else None,
        "coverage": float(answered.mean()),
        **judge(trusted, tempered),
    }


def level_of_precision(confidence: Floats, is_right: Bools, precision: float) -> float:
    """The lowest confidence from which upwards at least `precision` of the answers are right.

    Levels that fewer than MIN_ANSWERED answers reach do not count. If none is precise enough, it is
    the most precise one; 0 if all answers together are.

    >>> confidence, is_right = np.linspace(0, 0.99, 100), np.arange(100) >= 40
    >>> round(level_of_precision(confidence, is_right, 0.9), 2)
    0.34
    """
    if not len(confidence) or is_right.mean() >= precision:
        return 0.0
    order = np.argsort(-confidence, kind="stable")
    shares = np.cumsum(is_right[order]) / np.arange(1, len(order) + 1)
    falling = confidence[order]
    is_last = np.append(falling[1:] < falling[:-1], True)  # of equal confidences
    candidates = np.flatnonzero(is_last & (np.arange(1, len(order) + 1) >= MIN_ANSWERED))
    if not len(candidates):
        return float(falling[-1])
    precise = candidates[shares[candidates] >= precision]
    chosen = precise[-1] if len(precise) else candidates[shares[candidates].argmax()]
    return float(falling[chosen])


def _precision(clips: Predictions, threshold: float) -> float:
    """How many of the clips that are answered are right, each by the other folds' temperature."""
    rows = clips.is_trusted
    confidence, is_right = top_predictions(tempered_out_of_fold(clips)[rows], clips.targets[rows])
    answered = confidence >= threshold
    return float(is_right[answered].mean()) if answered.any() else 1.0


def as_table(segments: Predictions, sample_rate: int) -> pd.DataFrame:
    """Clip, fold, start in seconds, label, and the probability of each tag."""
    columns = segments.clips[["clip", "fold", "label", "verified"]].reset_index(drop=True)
    seconds = segments.clips["start"].to_numpy() / sample_rate
    probabilities = pd.DataFrame(segments.probabilities, columns=segments.task.tags)
    return pd.concat([columns.assign(start_seconds=seconds), probabilities], axis=1)
