"""A fusion model on two trained backbones: its features, its network, and its input."""

from earmark.errors import UserError
from earmark.layout import Layout
from earmark.params import Fusion
from earmark.store import Store
from earmark.taggers.device import Device
from earmark.taggers.input import FusionInput, FusionStore
from earmark.taggers.tagger import Tagger

_CPU = Device(name="cpu", precision="float32", channels_last=False)


def open_fusion(layout: Layout, fusion: Fusion) -> FusionStore:
    """The features of both backbones, read whole into memory."""
    audio, spec = (
        Store.open(layout.features(name), in_memory=True) for name in (fusion.audio, fusion.spec)
    )
    return FusionStore(audio, spec)


def fusion_tagger(layout: Layout, name: str, fold: str) -> Tagger:
    """A fresh head on the backbones that `name`_audio and `name`_spec learned on the same fold.

    Raises:
        UserError: the backbones read segments of unequal length.
    """
    audio, spec = (
        Tagger.load(layout.model(f"{name}_{backbone}", fold), _CPU)
        for backbone in ("audio", "spec")
    )
    hop_length = spec.input.options["hop_length"]
    if 1 + audio.input.segment_rows // hop_length != spec.input.segment_rows:
        raise UserError(segments_differ(name, audio.input.segment_rows, spec.input.segment_rows))
    tagger = Tagger.new(
        "cnn_comb",
        fusion_options(audio.network_options, spec.network_options),
        tags=spec.tags,
        input_=FusionInput(**spec.input.__dict__, audio=audio.input, hop_length=hop_length),
        aux_labels=spec.aux_labels,
        activation=spec.activation,
    )
    for backbone, trained in (("audio", audio), ("spec", spec)):
        state = trained.network.state_dict()
        weights = {key: value for key, value in state.items() if not key.startswith("head.")}
        tagger.network.get_submodule(backbone).load_state_dict(weights)
    return tagger


def segments_differ(name: str, n_samples: int, n_frames: int) -> str:
    """The message for backbones whose segments are not of one length."""
    return (
        f"params.yaml: models.fusion.{name}: its backbones read {n_samples} samples and {n_frames} "
        "frames; give both segments of the same seconds"
    )


def fusion_options(
    audio: dict[str, int | float], spec: dict[str, int | float]
) -> dict[str, int | float]:
    """The fusion network's options, from those of its backbones where they give some."""
    options: dict[str, int | float] = {
        key: spec[key] for key in ("n_frames", "n_mels") if key in spec
    }
    if "n_samples" in audio:
        options["n_samples"] = audio["n_samples"]
    return {
        **options,
        "audio_width": audio.get("width", 1.0),
        "spec_width": spec.get("width", 1.0),
    }
