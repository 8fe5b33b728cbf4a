"""By what rules an answer is made of the probabilities of networks: the tagger without its weights.

One record for the ensemble of a workspace, its student and an exported bundle, so that all of them
answer alike. Shapes: B recordings or segments, K tags.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.errors import UserError
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

    def of_part(self, factor: float, *, of: str) -> "Estimator":
        """That of a part of a tagger, whose temperature differs by a factor."""
        unmeasured = f"not measured of this part of the {of}, whose are: {self.calibration}"
        return replace(self, temperature=self.temperature * factor, calibration=unmeasured)

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
        temperatures: member -> that of one network of it, and that of their mean over folds.
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
    temperatures: dict[str, list[float]]

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

    def part(self, members: Sequence[str] = (), folds: Sequence[str] = ()) -> "Rules":
        """The same for some members and folds; for all of them where none is named.

        A lone member has the temperature of its own; that of segments changes as that of clips
        does. How right the part is was not measured, and `calibration` says so.

        Raises:
            UserError: there is no such member or fold.
        """
        known = {"member": list(self.members), "fold": sorted({*chain(*self.members.values())})}
        for kind, names in (("member", members), ("fold", folds)):
            for name in names:
                if name not in known[kind]:
                    there = ", ".join(known[kind])
                    raise UserError(f"{kind} {name}: there is none; there are {there}")
        kept = {
            name: [fold for fold in of_member if fold in (folds or of_member)]
            for name, of_member in self.members.items()
            if name in (members or self.members)
        }
        if kept == self.members:
            return self
        factor = 1.0
        if len(kept) == 1:
            ((name, of_member),) = kept.items()
            of_one, of_mean = self.temperatures[name]
            factor = (of_one if len(of_member) == 1 else of_mean) / self.clip.temperature
        return replace(
            self,
            name="+".join(kept) if members else self.name,
            members=kept,
            weights={name: self.weights[name] for name in kept},
            aggregation={name: self.aggregation[name] for name in kept},
            temperatures={name: self.temperatures[name] for name in kept},
            clip=self.clip.of_part(factor, of=self.name),
            segment=self.segment and self.segment.of_part(factor, of=self.name),
        )

    @property
    def sample_rate(self) -> int:
        """Of the recordings as the features read them, in Hz."""
        rate: int = self.preparation["sample_rate"]
        return rate
