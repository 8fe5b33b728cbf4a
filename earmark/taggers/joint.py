"""The joint model of two trained trunks: its features, its network, and its input."""

from typing import Literal

from earmark.errors import UserError
from earmark.layout import Layout
from earmark.params import TRUNKS
from earmark.store import Store
from earmark.taggers.input import JointInput, JointStore
from earmark.taggers.tagger import Device, Tagger

_CPU = Device(name="cpu", precision="float32", channels_last=False)
_TRUNK_NETWORKS = {"audio": "cnn_audio", "spec": "cnn_spec"}


def open_joint(layout: Layout) -> JointStore:
    """The features of both trunks, read whole into memory."""
    stores = {t: Store.open(layout.features(k), in_memory=True) for t, k in TRUNKS.items()}
    return JointStore(stores["audio"], stores["spec"])


def joint_tagger(layout: Layout, name: str, fold: str, rule: Literal["recrop", "mean"]) -> Tagger:
    """A fresh head on the trunks that `name`_audio and `name`_spec learned on the same fold.

    Raises:
        UserError: a trunk is no cnn_audio or cnn_spec, or they read segments of unequal length.
    """
    trunks = {t: Tagger.load(layout.model(f"{name}_{t}", fold), _CPU) for t in TRUNKS}
    for trunk, network in _TRUNK_NETWORKS.items():
        found = trunks[trunk].network_name
        if found != network:
            place = f"models.{TRUNKS[trunk]}.{name}_{trunk}"
            raise UserError(f"params.yaml: {place}.network.name: {found}; it must be {network}")
    audio, spec = trunks["audio"].input, trunks["spec"].input
    options = _options(trunks["audio"], trunks["spec"])
    hop_length = spec.options["hop_length"]
    if 1 + audio.segment_rows // hop_length != spec.segment_rows:
        raise UserError(
            f"params.yaml: models.fusion.{name}: its trunks read {audio.segment_rows} samples and "
            f"{spec.segment_rows} frames; give both segments of the same seconds"
        )
    input_ = JointInput(
        **{**spec.__dict__, "kind": "fusion", "rule": rule}, audio=audio, hop_length=hop_length
    )
    above = trunks["spec"]
    tagger = Tagger.new(
        "cnn_comb",
        options,
        tags=above.tags,
        input_=input_,
        events=above.events,
        activation=above.activation,
    )
    for trunk, below in trunks.items():
        own = tagger.network.get_submodule(trunk)
        state = {k: v for k, v in below.network.state_dict().items() if not k.startswith("head.")}
        own.load_state_dict(state)
    return tagger


def _options(audio: Tagger, spec: Tagger) -> dict[str, int | float]:
    """The joint network's options, from those of the trunks where they give some."""
    found = {
        key: value for key, value in spec.network_options.items() if key in ("n_frames", "n_mels")
    }
    if "n_samples" in audio.network_options:
        found["n_samples"] = audio.network_options["n_samples"]
    widths = {"audio_width": audio, "spec_width": spec}
    return found | {key: t.network_options.get("width", 1.0) for key, t in widths.items()}
