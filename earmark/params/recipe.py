"""The sections `model` and `finetune` of params.yaml: how networks are trained."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from earmark.params.scoring import Monitor
from earmark.params.section import Count, NotNegative, Positive, Section, Share, check_pin


class Recipe(Section):
    """The recipe of all models or extractors; `training` of an entry overrides any key."""

    seed: int
    batch_size: Annotated[int, Field(ge=2)]
    sampler: Literal["shuffled", "class_balanced"]
    crops_per_clip: Literal["one", "all"]
    class_mixed_clips: bool
    epochs: Count
    patience: Count
    epoch_choice: Literal["last", "inner_split", "scored_fold"]
    monitor: Monitor
    optimizer: Literal["adam", "sgd"]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    adam_epsilon: Positive
    schedule: Literal["cyclical", "cosine", "constant", "multistep"]
    base_lr: Positive
    max_lr: Positive
    half_cycle_epochs: Positive
    lr_decay: NotNegative
    plateau_factor: Annotated[float, Field(gt=0, lt=1)]
    plateau_patience: Count
    multistep_stages: Count
    backbone_lr_multiplier: Share
    l2: NotNegative
    gradient_clip: NotNegative
    ema_decay: Annotated[float, Field(ge=0, lt=1)]
    mixup_alpha: NotNegative
    mixup_share: Share
    mixup_draw: Literal["batch", "clip"]
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

    @model_validator(mode="after")
    def _bounds_in_order(self) -> "Recipe":
        if self.schedule in ("cyclical", "cosine") and self.max_lr < self.base_lr:
            raise ValueError("max_lr is below base_lr; swap or raise it")
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

    init_from: str = ""
    init_sha256: str = ""

    @model_validator(mode="after")
    def _weights_are_pinned(self) -> "ModelRecipe":
        check_pin(self.init_from, self.init_sha256, "init_sha256")
        return self
