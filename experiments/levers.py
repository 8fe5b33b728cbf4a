"""The levers of the training recipe: each takes one part of it away, changes one, or adds one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

RECIPES = "recipes"  # the table of all levers
GROUP, NETWORK, BASELINE = "logmel128", "compact", "baseline"  # of profiles/folder.yaml
_ENTRY = f"models.{GROUP}.{NETWORK}"
_FEATURE = f"features.{GROUP}"


@dataclass(frozen=True, eq=False)
class Lever:
    """One change of the recipe, in the words of `dvc exp run -S`.

    `times` are keys whose value is multiplied, whatever it is: so that twice the epochs are twice
    those that the user gave, and a corpus of a lower sample rate keeps its own hop length.
    `member` is the model that is trained.
    """

    name: str
    what: str
    settings: Sequence[str] = ()
    times: Mapping[str, float] = field(default_factory=dict)
    member: str = NETWORK

    def settings_on(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """Its settings on these params."""
        scaled = (f"{key}={_scaled(params, key, times)}" for key, times in self.times.items())
        return (*self.settings, *scaled)


BASE = Lever("base", "the recipe")
ALONE = f"~models.{GROUP}.{BASELINE}"  # leaves the network alone in the graph


def _scaled(params: Mapping[str, Any], key: str, times: float) -> int:
    value: Any = params
    for part in key.split("."):
        value = value[part]
    return max(1, round(value * times)) if value else 0


def _resolution(frequency: float, time: float) -> dict[str, float]:
    """As many bands and frames a second as that times; what is counted in them covers the same."""
    return {
        f"{_FEATURE}.n_mels": frequency,
        f"{_FEATURE}.hop_length": 1 / time,
        "model.band_shift": frequency,
        "model.mask_bands": frequency,
        "model.mask_frames": time,
    }


LEVERS = (
    # mixing of sounds
    Lever("mixup_plain", "mixed as they are, not at equal loudness", ("model.mixup_at=waveform",)),
    Lever("mixup_features", "features mixed instead of sounds", ("model.mixup_at=features",)),
    Lever("mixup_batch", "one share for a batch, not for each clip", ("model.mixup_draw=batch",)),
    Lever("mixup_strong", "shares of all sizes: Beta(1, 1)", ("model.mixup_alpha=1.0",)),
    Lever("no_mixup", "no mixup", ("model.mixup_alpha=0.0",)),
    # what is drawn anew for each clip of each batch
    Lever("no_tempo", "no change of tempo", ("model.time_stretch=0.0",)),
    Lever("no_pitch", "no change of pitch", ("model.band_shift=0",)),
    Lever("no_equaliser", "no random equaliser", ("model.band_gain_db=0.0",)),
    Lever("no_masks", "no masks", ("model.mask_frames=0", "model.mask_bands=0")),
    # regularisation and optimisation
    Lever("adam", "Adam with an L2 penalty instead of AdamW", ("model.optimizer=adam",)),
    Lever("no_dropout", "no dropout", (f"+{_ENTRY}.network.dropout=0.0",)),
    Lever("label_smoothing", "label smoothing 0.1", ("model.label_smoothing=0.1",)),
    Lever("no_average", "the last weights, not their mean", ("model.ema_decay=0.0",)),
    Lever("half_epochs", "half the epochs", times={"model.epochs": 0.5}),
    Lever("double_epochs", "twice the epochs", times={"model.epochs": 2}),
    # what the network reads, and the network
    Lever(
        "one_deviation",
        "one mean and deviation for all bands",
        (f"{_ENTRY}.input.standardisation=array",),
    ),
    Lever("fine_time", "half the bands, twice the frames a second", times=_resolution(0.5, 2)),
    Lever(
        "fine_frequency",
        "twice the bands, half the frames a second",
        times={f"{_FEATURE}.n_fft": 2, **_resolution(2, 0.5)},
    ),
    Lever("wide", "a network twice as wide", (f"+{_ENTRY}.network.base_width=32",)),
    Lever("baseline", "logistic regression in its place", (f"~{_ENTRY}",), member=BASELINE),
)
