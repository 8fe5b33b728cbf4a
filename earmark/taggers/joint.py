"""The joint model of two trained backbones: its features, its network, and its input."""

from typing import Literal

from earmark.errors import UserError
from earmark.layout import Layout
from earmark.params import BACKBONES
from earmark.store import Store
from earmark.taggers.device import Device
from earmark.taggers.input import JointInput, JointStore
from earmark.taggers.tagger import Tagger

_CPU = Device(name="cpu", precision="float32", channels_last=False)
_BACKBONE_NETWORKS = {"audio": "cnn_audio", "spec": "cnn_spec"}


def open_joint(layout: Layout) -> JointStore:
    """The features of both backbones, read whole into memory."""
    stores = {t: Store.open(layout.features(k), in_memory=True) for t, k in BACKBONES.items()}
    return JointStore(stores["audio"], stores["spec"])


def joint_tagger(
    layout: Layout, name: str, fold: str, aggregation: Literal["confident_crop", "mean"]
) -> Tagger:
    """A fresh head on the backbones that `name`_audio and `name`_spec learned on the same fold.

    Raises:
        UserError: a backbone is no cnn_audio or cnn_spec, or they read segments of unequal length.
    """
    backbones = {t: Tagger.load(layout.model(f"{name}_{t}", fold), _CPU) for t in BACKBONES}
    for backbone, network in _BACKBONE_NETWORKS.items():
        found = backbones[backbone].network_name
        if found != network:
            place = f"models.{BACKBONES[backbone]}.{name}_{backbone}"
            raise UserError(f"params.yaml: {place}.network.name: {found}; it must be {network}")
    audio, spec = backbones["audio"].input, backbones["spec"].input
    options = _options(backbones["audio"], backbones["spec"])
    hop_length = spec.options["hop_length"]
    if 1 + audio.segment_rows // hop_length != spec.segment_rows:
        raise UserError(
            f"params.yaml: models.fusion.{name}: its backbones read {audio.segment_rows} samples and "
            f"{spec.segment_rows} frames; give both segments of the same seconds"
        )
    input_ = JointInput(
        **{**spec.__dict__, "kind": "fusion", "aggregation": aggregation},
        audio=audio,
        hop_length=hop_length,
    )
    above = backbones["spec"]
    tagger = Tagger.new(
        "cnn_comb",
        options,
        tags=above.tags,
        input_=input_,
        aux_labels=above.aux_labels,
        activation=above.activation,
    )
    for backbone, below in backbones.items():
        own = tagger.network.get_submodule(backbone)
        state = {k: v for k, v in below.network.state_dict().items() if not k.startswith("head.")}
        own.load_state_dict(state)
    return tagger


def _options(audio: Tagger, spec: Tagger) -> dict[str, int | float]:
    """The joint network's options, from those of the backbones where they give some."""
    found = {
        key: value for key, value in spec.network_options.items() if key in ("n_frames", "n_mels")
    }
    if "n_samples" in audio.network_options:
        found["n_samples"] = audio.network_options["n_samples"]
    widths = {"audio_width": audio, "spec_width": spec}
    return found | {key: t.network_options.get("width", 1.0) for key, t in widths.items()}
