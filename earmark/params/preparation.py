"""The sections of params.yaml that prepare recordings for training."""

from typing import Annotated, Any, Literal

from pydantic import Field

from earmark.params.section import (
    Bounds,
    Count,
    Name,
    NotNegative,
    OpenSection,
    Positive,
    Section,
    Share,
)

Scheme = Literal["stratified", "grouped", "official", "first_last"]


class Runtime(Section):
    """How this machine computes; `workers` and `checkpoint_seconds` change no result."""

    threads: Count
    workers: Count
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["float32", "bfloat16"]
    channels_last: bool
    checkpoint_seconds: NotNegative


class Corpus(Section):
    """Where the recordings are and how they are read; `max_quarantined` changes no result.

    With `links_outside` clips may be links to files outside of the root.
    """

    name: Name
    adapter: Name
    root: Annotated[str, Field(min_length=1)]
    table: str
    label_corrections: Annotated[str, Field(min_length=1)]
    synthetic: bool
    links_outside: bool
    max_quarantined: Share


class Decode(Section):
    """The sample rate of all later stages in Hz, and the seconds of sound in one stored file."""

    sample_rate: Annotated[int, Field(ge=8000, le=192_000)]
    shard_seconds: Positive


class Trim(Section):
    """What counts as silence at the ends, the least that trimming may leave, and the level.

    With `normalise` the peak of every clip is at full scale, as in Xu et al., section 3.1.
    """

    top_db: Positive
    min_seconds: NotNegative
    normalise: bool


class CrossValidation(Section):
    """How clips are divided into folds, and which of them may train and validate."""

    scheme: Scheme
    k: Annotated[int, Field(ge=2)]
    verified_validation_only: bool
    inner_share: Annotated[float, Field(gt=0, le=0.5)]
    drop_test_copies: bool


class SameClass(Section):
    """Mixes of two clips of one class (Chen & Gupta, section 1.2); Takahashi et al.'s ranges."""

    copies: Annotated[int, Field(ge=0)]
    max_delay_seconds: NotNegative
    gain_db: NotNegative
    center_hz: Bounds
    q: Bounds


class PitchFill(Section):
    """Pitch-shifted copies until a class has `up_to` clips (Xu et al., section 3.2); 0 is off."""

    up_to: Annotated[int, Field(ge=0)]
    max_semitones: Count


class ClassMixing(Section):
    """New clips made of clips of one class."""

    same_class: SameClass
    pitch_fill: PitchFill


class Feature(OpenSection):
    """A named feature: its type, and the options of that type."""

    type: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Fusion(Section):
    """The features that the two backbones of a fusion model read."""

    audio: Name
    spec: Name
