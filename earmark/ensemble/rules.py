"""By what rules an answer is made of the probabilities of networks: the tagger without its weights.

One record for the ensemble of a workspace, its student and an exported bundle, so that all of them
answer alike. Shapes: B recordings or segments, K tags.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.evaluation.temperature import temper

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class Estimator:
    """How probabilities become an answer, for one kind of sound: clips, or segments of a timeline.

    Attributes:
        temperature: divides their logits.
        rejection_threshold: below it the answer is "unknown".
        thresholds: where a recording may have several tags, above which probability each is
            answered.
        calibration: one line on what was measured of its probabilities, and on which clips.
    """

    temperature: float
    rejection_threshold: float
    thresholds: dict[str, float] | None
    calibration: str

    def temper(self, combined: Floats) -> Floats:
        """The calibrated probabilities `(B, K)` of those that the networks together give."""
        is_multi_label = self.thresholds is not None
        return temper(combined, self.temperature, is_multi_label=is_multi_label)

    def answer(self, probabilities: Mapping[str, float]) -> list[str] | None:
        """The tags to answer, likeliest first; none of them, or None for "unknown".

        Args:
            probabilities: calibrated, by tag, likeliest first.
        """
        likeliest = next(iter(probabilities))
        if probabilities[likeliest] < self.rejection_threshold:
            return None
        if self.thresholds is None:
            return [likeliest]
        return [tag for tag, p in probabilities.items() if p >= self.thresholds[tag]]


@dataclass(frozen=True, kw_only=True)
class Windows:
    """The segments of a timeline: how long each is and how far the next one begins, in seconds."""

    window_seconds: float
    hop_seconds: float

    def samples(self, sample_rate: int) -> tuple[int, int]:
        """Both in samples, at least one."""
        lengths = (self.window_seconds, self.hop_seconds)
        window, hop = (max(1, round(seconds * sample_rate)) for seconds in lengths)
        return window, hop


@dataclass(frozen=True, kw_only=True)
class Rules:
    """All that answers depend on but the networks.

    Attributes:
        name: of the tagger, such as "ensemble".
        tags: K names.
        is_multi_label: whether a recording may have several.
        members: name -> the folds of its networks; those of weight 0 are left out.
        weights: of the members.
        aggregation: member -> how its crops become a clip.
        fold_mean: of a member's networks.
        preparation: of recordings, as data/ensemble/ensemble.json has it.
        clip: the estimator of whole recordings.
        segment: that of segments; None where none was fitted.
        windows: the segments that it was fitted on.
    """

    name: str
    tags: list[str]
    is_multi_label: bool
    members: dict[str, list[str]]
    weights: dict[str, float]
    aggregation: dict[str, Any]
    fold_mean: str
    preparation: dict[str, Any]
    clip: Estimator
    segment: Estimator | None
    windows: Windows | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> "Rules":
        """Raises KeyError or TypeError where `value` is no such record."""
        segment, windows = value["segment"], value["windows"]
        return cls(
            **{
                **value,
                "clip": Estimator(**value["clip"]),
                "segment": None if segment is None else Estimator(**segment),
                "windows": None if windows is None else Windows(**windows),
            }
        )

    @property
    def sample_rate(self) -> int:
        """Of the recordings as the features read them, in Hz."""
        rate: int = self.preparation["sample_rate"]
        return rate
