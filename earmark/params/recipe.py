"""The sections `model` and `finetune` of params.yaml: how networks are trained."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from earmark.params.scoring import Monitor
from earmark.params.section import (
    Count,
    CountOrNone,
    Decibel,
    Epochs,
    LearningRate,
    LossWeight,
    Section,
    Seed,
    Share,
    Text,
    check_pin,
)

MixupAt = Literal["features", "waveform", "equal_loudness"]


class Recipe(Section):
    """The recipe of all models or extractors; `training` of an entry overrides any key."""

    seed: Seed
    batch_size: Annotated[int, Field(ge=2, le=65_536)]  # more clips than the corpora here have
    sampler: Literal["shuffled", "class_balanced"]
    crops_per_clip: Literal["one", "all"]
    class_mixed_clips: bool
    epochs: Epochs
    patience: Epochs
    epoch_choice: Literal["last", "inner_split", "scored_fold"]
    monitor: Monitor
    optimizer: Literal["adam", "adamw", "sgd"]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    adam_epsilon: Annotated[float, Field(ge=1e-12, le=1)]  # less is 0 beside a float32
    schedule: Literal["cyclical", "cosine", "constant", "multistep"]
    base_lr: LearningRate
    max_lr: LearningRate
    half_cycle_epochs: Annotated[float, Field(ge=0.01, le=100_000)]
    lr_decay: Annotated[float, Field(ge=0, le=1)]  # at 1 the second update has half the rate
    plateau_factor: Annotated[float, Field(ge=0.0001, lt=1)]
    plateau_patience: Epochs
    multistep_stages: Annotated[int, Field(ge=1, le=100)]
    backbone_lr_multiplier: Share
    layerwise_lr_decay: Share
    freeze_batch_norm: bool
    l2: Annotated[float, Field(ge=0, le=10)]  # beyond it weights are 0 after a few updates
    weight_decay: Share  # times the learning rate; at 1 a rate of 1 leaves nothing
    gradient_clip: Annotated[float, Field(ge=0, le=1_000_000)]  # no gradient reaches that
    ema_decay: Annotated[float, Field(ge=0, le=0.99999)]  # the mean of the last 100,000 updates
    mixup_alpha: Annotated[float, Field(ge=0, le=100)]  # there every share is about a half
    mixup_share: Share
    mixup_draw: Literal["batch", "clip"]
    mixup_at: MixupAt
    augmented_share: Share
    circular_shift: bool
    time_stretch: Share
    band_shift: CountOrNone
    band_gain_db: Decibel
    mask_frames: CountOrNone
    mask_bands: CountOrNone
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    aux_weight: LossWeight
    noisy_label_weight: Share
    noisy_label_drop: Annotated[float, Field(ge=0, lt=1)]
    validation_crops: Count

    @model_validator(mode="after")
    def _bounds_in_order(self) -> "Recipe":
        if self.schedule in ("cyclical", "cosine") and self.max_lr < self.base_lr:
            raise ValueError("max_lr is below base_lr; swap or raise it")
        return self

    @model_validator(mode="after")
    def _mixup_mixes(self) -> "Recipe":
        if 0 < self.mixup_alpha < 0.001:  # numpy then draws 0 or 1, or divides 0 by 0
            raise ValueError("mixup_alpha below 0.001 mixes nothing; set it to 0, which is off")
        return self

    @model_validator(mode="after")
    def _stages_have_a_guide(self) -> "Recipe":
        if self.schedule == "multistep" and self.epoch_choice == "last":
            raise ValueError(
                "schedule multistep lowers the rate when a validation loss stays up, and with "
                "epoch_choice last none is looked at; set inner_split, or the schedule to cosine"
            )
        return self


class ModelRecipe(Recipe):
    """The recipe of models, and the weights.safetensors whose backbone training starts from.

    The head is fresh then. Extractors name theirs beside their network.
    """

    init_from: Text = ""
    init_sha256: Text = ""

    @model_validator(mode="after")
    def _weights_are_pinned(self) -> "ModelRecipe":
        check_pin(self.init_from, self.init_sha256, "init_sha256")
        return self
