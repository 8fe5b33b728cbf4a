"""The sections `models` and `extractors` of params.yaml: entries of the roster."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from earmark.params.scoring import AggregationKey
from earmark.params.section import (
    Count,
    FilledText,
    OpenSection,
    Section,
    SegmentSeconds,
    Share,
    Text,
    check_pin,
)

Padding = Literal["right", "random", "tile", "tile_gap"]
Standardisation = Literal["array", "column"]
Times = Annotated[float, Field(ge=0.01, le=100)]  # of the segment


class Network(OpenSection):
    """A network by name, or `package.module:Class`; other keys are its constructor's options."""

    name: FilledText

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class ModelInput(Section):
    """The segment that a network reads, in the unit of its feature, and the padding of short clips.

    `all` is the clip itself, however long. `lengths` are those of several segments, as multiples of
    the segment given; None means [1.0].
    Padding and standardisation None mean those of the type of feature.
    """

    segment_seconds: SegmentSeconds | Literal["all"] | None = None
    # Ten minutes at 192 kHz.
    segment_samples: Annotated[int, Field(ge=1, le=115_200_000)] | None = None
    segment_patches: Count | Literal["all"] | None = None
    lengths: Annotated[list[Times], Field(min_length=1, max_length=100)] | None = None
    padding: Padding | None = None
    standardisation: Standardisation | None = None


class ModelTraining(OpenSection):
    """What is special to a model's training; further keys override those of `model`.

    Parameters whose names begin with one of `frozen` are not trained, and their layers stay in
    evaluation mode.
    """

    frozen: list[FilledText] = Field(default_factory=list)

    @property
    def overrides(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class ModelPrediction(Section):
    """How the crops of a clip become its probabilities; training does not depend on it."""

    aggregation: AggregationKey


class Model(Section):
    """An entry of the roster; a change of `prediction` does not train it again."""

    network: Network
    input: ModelInput
    training: ModelTraining
    prediction: ModelPrediction


class Student(Model):
    """A network that learns what the ensemble answers for its own training clips.

    The `teacher_weight` is the share of the ensemble's answer in what is learned of a clip; the
    rest is the label given. So many `made_clips` are made of each training clip, cut and changed;
    of these it learns the answer alone.
    """

    teacher_weight: Share
    made_clips: Annotated[int, Field(ge=0, le=1000)]


class Extractor(Section):
    """A fine-tuned VGGish; `training` overrides `finetune`, and `model` does not apply to it."""

    network: Network
    weights: Text
    weights_sha256: Text
    max_patches: Count
    training: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _weights_are_pinned(self) -> "Extractor":
        check_pin(self.weights, self.weights_sha256, "weights_sha256")
        return self
