"""The sections of params.yaml that prepare recordings for training."""

from typing import Annotated, Any, Literal

from pydantic import Field

from earmark.params.section import (
    Decibel,
    FilledText,
    HertzRange,
    Name,
    OpenSection,
    Processors,
    QualityRange,
    Seconds,
    Section,
    Share,
    Text,
)

Scheme = Literal["stratified", "grouped", "official", "first_last"]
Round = Literal["i", "ii", "iii"]  # DVC can put an i before a name, but cannot count


class Runtime(Section):
    """How this machine computes; `workers` and `checkpoint_seconds` change no result."""

    threads: Processors
    workers: Processors
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["float32", "bfloat16"]
    channels_last: bool
    checkpoint_seconds: Annotated[float, Field(ge=0, le=86_400)]  # a day of work lost at most


class Corpus(Section):
    """Where the recordings are and how they are read; `max_quarantined` changes no result.

    With `links_outside` clips may be links to files outside of the root.
    """

    name: Name
    adapter: Name
    root: FilledText
    table: Text
    label_corrections: FilledText
    synthetic: bool
    links_outside: bool
    max_quarantined: Share


class Decode(Section):
    """The sample rate of all later stages in Hz, and the seconds of sound in one stored file."""

    sample_rate: Annotated[int, Field(ge=8000, le=192_000)]
    shard_seconds: Annotated[float, Field(ge=1, le=36_000)]  # ten hours are 3 GB at 44.1 kHz


class Trim(Section):
    """What counts as silence at the ends, the least that trimming may leave, and the level.

    With `normalise` the peak of every clip is at full scale, as in Xu et al., section 3.1.
    """

    # Below 1 dB a clip would be its peak alone; 24 bits hold 144 dB.
    top_db: Annotated[float, Field(ge=1, le=200)]
    min_seconds: Seconds
    normalise: bool


class CrossValidation(Section):
    """How clips are divided into folds, and which of them may train and validate."""

    scheme: Scheme
    k: Annotated[int, Field(ge=2, le=1000)]  # every fold is a training of every model
    verified_validation_only: bool
    inner_share: Annotated[float, Field(gt=0, le=0.5)]
    drop_test_copies: bool


class LabelRounds(Section):
    """Which model of the roster checks labels, and what its answers decide about them."""

    feature: Name
    model: Name
    correct_above: Share
    correct_precision: Share
    doubt_weight: Share


class SameClass(Section):
    """Mixes of two clips of one class (Chen & Gupta, section 1.2); Takahashi et al.'s ranges."""

    copies: Annotated[int, Field(ge=0, le=100)]  # each as large as the corpus
    max_delay_seconds: Annotated[float, Field(ge=0, le=60)]  # by so much a mixture is longer
    gain_db: Decibel
    center_hz: HertzRange
    q: QualityRange


class PitchFill(Section):
    """Pitch-shifted copies until a class has `up_to` clips (Xu et al., section 3.2); 0 is off."""

    up_to: Annotated[int, Field(ge=0, le=100_000)]
    max_semitones: Annotated[int, Field(ge=1, le=24)]  # two octaves, as the effect pitch


class ClassMixing(Section):
    """New clips made of clips of one class."""

    same_class: SameClass
    pitch_fill: PitchFill


class Feature(OpenSection):
    """A named feature: its type, and the options of that type."""

    type: FilledText

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Fusion(Section):
    """The features that the two backbones of a fusion model read."""

    audio: Name
    spec: Name
