"""params.yaml, read through frozen models that refuse what they do not know.

Defaults live in params.yaml alone: a key that is not there is an error, except where `None` means
"as in the shared section".
"""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

from earmark.errors import UserError
from earmark.features.segments import Padding

KINDS = ("logmel", "mfcc", "wave44k", "wave16k", "patches", "embedding", "fusion")
BACKBONES = {"audio": "wave44k", "spec": "logmel"}  # of a fusion model: suffix of the name -> kind


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise ValueError("a name must be of a-z, 0-9 and _ alone")
    return name


# The figures that a model can be chosen and ranked by; the last three are for multi-label corpora.
Metric = Literal[
    "map_at_3", "accuracy", "macro_f1", "roc_auc", "mean_average_precision", "micro_f1"
]

Name = Annotated[str, AfterValidator(_plain_name)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Bounds = Annotated[list[Positive], Field(min_length=2, max_length=2)]


class Section(BaseModel):
    """A mapping of params.yaml: unknown keys, lax types, NaN and infinity are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Runtime(Section):
    threads: Count
    workers: Count
    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["float32", "bfloat16"]
    channels_last: bool


class Corpus(Section):
    name: Name
    adapter: Name
    root: Annotated[str, Field(min_length=1)]
    table: str
    edits: Annotated[str, Field(min_length=1)]  # a csv of decisions about doubtful clips
    synthetic: bool
    max_quarantined: Share


class Decode(Section):
    sample_rate: Annotated[int, Field(ge=8000, le=192_000)]
    shard_seconds: Positive


class Trim(Section):
    top_db: Positive
    min_seconds: NotNegative


class CrossValidation(Section):
    scheme: Literal["stratified", "grouped", "official", "first_last"]
    k: Annotated[int, Field(ge=2)]
    verified_validation_only: bool

    @property
    def fold_names(self) -> list[str]:
        """All folds of the scheme; `folds` chooses those that are run."""
        if self.scheme == "first_last":
            return ["first", "last"]
        return [str(fold) for fold in range(self.k)]


class Recipe(Section):
    """What every model shares; an entry of the roster may override any of it."""

    batch_size: Annotated[int, Field(ge=2)]
    sampler: Literal["shuffled", "class_balanced"]
    crops_per_clip: Literal["one", "all"]
    class_mixed_clips: bool
    epochs: Count
    patience: Count
    monitor: Metric | Literal["loss"]
    optimizer: Literal["adam", "sgd"]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    schedule: Literal["cyclical", "constant", "multistep"]
    base_lr: Positive
    max_lr: Positive
    half_cycle_epochs: Positive
    lr_decay: NotNegative
    plateau_factor: Annotated[float, Field(gt=0, lt=1)]
    plateau_patience: Count
    multistep_stages: Count
    backbone_lr_multiplier: Share
    l2: NotNegative
    gradient_clip: Positive
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    mixup_alpha: NotNegative
    mixup_share: Share
    mixup_at: Literal["features", "waveform"]
    augmented_share: Share
    circular_shift: bool
    mask_frames: Annotated[int, Field(ge=0)]
    mask_bands: Annotated[int, Field(ge=0)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    aux_weight: NotNegative
    noisy_label_weight: Share
    noisy_label_drop: Annotated[float, Field(ge=0, lt=1)]
    validation_crops: Count
    checkpoint_seconds: NotNegative

    @model_validator(mode="after")
    def _bounds_in_order(self) -> "Recipe":
        if self.schedule == "cyclical" and self.max_lr < self.base_lr:
            raise ValueError("max_lr is below base_lr; swap or raise it")
        return self


class Network(Section):
    """A network by name; the other keys are its constructor's options."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Model(Section):
    """An entry of the roster: network, segment, rule of inference, and its own training values.

    `init_from` names the weights.safetensors of a model that earmark trained; its backbone is where
    this one starts, with a fresh head. Parameters whose names begin with one of `frozen` stay as
    they are, and their layers in evaluation mode.
    """

    segment_key: ClassVar[str]
    network: Network
    aggregation: Literal["confident_crop", "mean"]
    padding: Padding | None = (
        None  # of a short clip; None: as `of_kind` in earmark/taggers/tagger.py has it
    )
    lengths: Annotated[list[Positive], Field(min_length=1)] = [1.0]  # in segments
    init_from: str = ""
    init_sha256: str = ""
    frozen: list[str] = []
    training: dict[str, Any] = {}  # keys of `model` that this one sets for itself

    @model_validator(mode="after")
    def _weights_are_pinned(self) -> "Model":
        _check_pin(self.init_from, self.init_sha256, "init_sha256")
        return self


class FrameModel(Model):
    segment_key: ClassVar[str] = "segment_seconds"
    segment_seconds: Positive


class WaveModel(Model):
    segment_key: ClassVar[str] = "segment_samples"
    segment_samples: Count


class PatchModel(Model):
    segment_key: ClassVar[str] = "segment_patches"
    segment_patches: Count


class FusionModel(Section):
    """The joint model `name` of the trained backbones `name`_audio and `name`_spec."""

    aggregation: Literal["confident_crop", "mean"]
    training: dict[str, Any] = {}


class Extractor(Section):
    """A fine-tuned VGGish; `training` overrides `finetune`, and `model` leaves it alone."""

    network: Network
    weights: str
    weights_sha256: str
    max_patches: Count
    training: dict[str, Any] = {}

    @model_validator(mode="after")
    def _weights_are_pinned(self) -> "Extractor":
        _check_pin(self.weights, self.weights_sha256, "weights_sha256")
        return self


def _check_pin(path: str, sha256: str, key: str) -> None:
    if path and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError(f"{key} must be the 64 hex digits of the weight file's sha256")


class Roster(Section):
    """The models, by the kind of input that they read."""

    logmel: dict[Name, FrameModel]
    mfcc: dict[Name, FrameModel]
    wave44k: dict[Name, WaveModel]
    wave16k: dict[Name, WaveModel]
    patches: dict[Name, PatchModel]
    embedding: dict[Name, PatchModel]
    fusion: dict[Name, FusionModel]

    def of_kind(self, kind: str) -> dict[str, Any]:
        entries: dict[str, Any] = getattr(self, kind)
        return entries


class SameClass(Section):
    """Two clips of one class in one (Chen & Gupta, section 1.2); the ranges are Takahashi's."""

    copies: Annotated[int, Field(ge=0)]
    max_delay_seconds: NotNegative
    gain_db: NotNegative
    center_hz: Bounds
    q: Bounds


class PitchFill(Section):
    """Copies at other pitches until a class has `up_to` clips (Xu et al., section 3.2); 0: none."""

    up_to: Annotated[int, Field(ge=0)]
    max_semitones: Count


class Mix(Section):
    """New clips from those of a class, so that it must know the labels."""

    same_class: SameClass
    pitch_fill: PitchFill


class Frames(Section):
    n_fft: Annotated[int, Field(ge=16)]
    hop_length: Count
    n_mels: Count
    f_min_hz: NotNegative
    f_max_hz: Positive


class Cepstra(Frames):
    n_mfcc: Count


class Wave(Section):
    target_hz: Annotated[int, Field(ge=1000)]


class Features(Section):
    """Options of each kind; a kind that no model reads may be left out."""

    logmel: Frames | None = None
    mfcc: Cepstra | None = None
    wave44k: Wave | None = None
    wave16k: Wave | None = None
    patches: Section | None = None

    def options(self, kind: str) -> dict[str, Any]:
        section: Section | None = getattr(self, kind)
        assert section is not None, f"validated: features.{kind} is there"
        return section.model_dump()


class Inference(Section):
    n_crops: Count
    confidence: Share


class Ensemble(Section):
    weights: Literal["learned", "equal"] | dict[str, NotNegative]


class Evaluate(Section):
    metric: Metric
    n_resamples: Annotated[int, Field(ge=10)]
    label_groups: dict[str, list[str]]  # name -> tags that count as one when scored
    rejection_threshold: (
        Share  # a likeliest tag that is less probable is answered "unknown"; 0: never
    )


class Params(Section):
    """The whole of params.yaml, checked."""

    seed: int
    runtime: Runtime
    corpus: Corpus
    demo: dict[Name, dict[str, Any]]
    decode: Decode
    trim: Trim
    cv: CrossValidation
    folds: Annotated[list[int | str], Field(min_length=1)]
    augment: dict[Name, dict[str, Any]]
    mix: Mix
    features: Features
    model: Recipe
    finetune: Recipe
    models: Roster
    extractors: dict[Name, Extractor]
    inference: Inference
    ensemble: Ensemble
    evaluate: Evaluate

    @property
    def fold_names(self) -> list[str]:
        return [str(fold) for fold in self.folds]

    def entry(self, kind: str, name: str) -> Any:
        entries = self.models.of_kind(kind)
        if name not in entries:
            raise UserError(
                f"params.yaml: models.{kind}.{name}: no such model; there are {sorted(entries)}"
            )
        return entries[name]

    def recipe(self, entry: Model | FusionModel | Extractor) -> Recipe:
        """The shared recipe with the entry's own values laid over it."""
        shared = self.finetune if isinstance(entry, Extractor) else self.model
        return Recipe.model_validate({**shared.model_dump(), **entry.training})

    def rows_read(self, kind: str, entry: Model) -> list[int]:
        """How many rows of its features a network reads at once, for each of its lengths."""
        return [self._rows(kind, entry, length) for length in entry.lengths]

    def _rows(self, kind: str, entry: Model, length: float) -> int:
        if isinstance(entry, FrameModel):
            # Centred frames: 2 s at 44.1 kHz and hop 512 are 173 (Shan & Ren, section 2.1).
            n_samples = round(length * entry.segment_seconds * self.decode.sample_rate)
            return 1 + int(n_samples // self.features.options(kind)["hop_length"])
        segment_rows: int = getattr(entry, entry.segment_key)
        return max(1, round(length * segment_rows))

    def members(self) -> dict[str, str]:
        """Member of the ensemble -> kind; an embedding model is one member an extractor."""
        found: dict[str, str] = {}
        for kind in KINDS:
            for name in self.models.of_kind(kind):
                if kind == "embedding":
                    found |= {member_name(name, e): kind for e in self.extractors}
                else:
                    found[name] = kind
        return dict(sorted(found.items()))


def member_name(model: str, extractor: str | None) -> str:
    return f"{model}-{extractor}" if extractor else model


def flattened(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
