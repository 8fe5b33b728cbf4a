"""Whether a fusion model and its two backbones fit together."""

from typing import Any

from earmark.features.segments import lengths_in_rows
from earmark.params import Model, Network, Params
from earmark.params.roster import FUSION
from earmark.settings.built import feature_of, without_values
from earmark.settings.frozen_layers import frozen_problems
from earmark.settings.objections import objections
from earmark.settings.segment_keys import segment_key_problems
from earmark.taggers.fusion import fusion_options, segments_differ

NETWORKS = {"audio": "cnn_audio", "spec": "cnn_spec"}  # by backbone
FEATURE_TYPES = {"audio": "waveform", "spec": "logmel"}


def fusion_problems(entry: Model, params: Params, name: str) -> list[str]:
    """What is wrong with `models.fusion.<name>`, beside what is wrong with each backbone alone."""
    problems = _entry_problems(entry, f"models.{FUSION}.{name}")
    backbones = _backbones(params, name)
    if len(backbones) < len(NETWORKS):
        return problems  # the contradictions of params name the missing ones
    for backbone, model in backbones.items():
        network, wanted = model.network.name, NETWORKS[backbone]
        if network != wanted:
            key = f"models.{_group(params, backbone)}.{name}_{backbone}.network.name"
            problems.append(f"{key}: {network}; models.{FUSION}.{name} needs {wanted}; set it so")
    problems += _feature_problems(params, name)
    return problems or _segment_problems(params, name, backbones)


def _group(params: Params, backbone: str) -> str:
    """The feature that a backbone reads, `audio` or `spec`."""
    return params.fusion.audio if backbone == "audio" else params.fusion.spec


def _backbones(params: Params, name: str) -> dict[str, Model]:
    backbones = {}
    for backbone in NETWORKS:
        group = _group(params, backbone)
        model = params.models.get(group, {}).get(f"{name}_{backbone}")
        if model is not None and group in params.features:
            backbones[backbone] = model
    return backbones


def _entry_problems(entry: Model, key: str) -> list[str]:
    """The network and the input of a fusion model follow from its backbones."""
    problems = []
    fix = "write `network: {name: cnn_comb}`"
    if entry.network.name != "cnn_comb":
        problems.append(f"{key}.network.name: {entry.network.name} combines no backbones; {fix}")
    elif entry.network.options:
        option = next(iter(entry.network.options))
        problems.append(f"{key}.network.{option}: the backbones decide it; {fix}")
    given = [option for option, value in entry.input.model_dump().items() if value is not None]
    if given:
        problems.append(f"{key}.input.{given[0]}: the backbones decide it; write `input: {{}}`")
    return problems


def _feature_problems(params: Params, name: str) -> list[str]:
    for backbone, wanted in FEATURE_TYPES.items():
        group = _group(params, backbone)
        if (type_ := params.features[group].type) != wanted:
            fix = f"name a feature of type {wanted}"
            return [f"fusion.{backbone}: {group} is of type {type_}; {fix}"]
    rate, target = params.decode.sample_rate, _feature(params, "audio").target_hz
    if target == rate:
        return []
    return [
        f"features.{params.fusion.audio}.target_hz: {target}, but models.{FUSION}.{name} needs the "
        f"decode.sample_rate, {rate}, to cut the segments of both backbones at one moment; set one "
        "to the other"
    ]


def _segment_problems(params: Params, name: str, backbones: dict[str, Model]) -> list[str]:
    """Both backbones must read the same seconds, and the network must be buildable on them."""
    for backbone, model in backbones.items():
        if segment_key_problems(model, FEATURE_TYPES[backbone], ""):
            return []  # reported with the backbone
    audio, spec = (_feature(params, backbone) for backbone in ("audio", "spec"))
    n_samples = lengths_in_rows(backbones["audio"].input, audio)[0]
    n_frames = lengths_in_rows(backbones["spec"].input, spec)[0]
    if 1 + n_samples // spec.hop_length != n_frames:
        return [segments_differ(name, n_samples, n_frames).removeprefix("params.yaml: ")]
    options = fusion_options(backbones["audio"].network.options, backbones["spec"].network.options)
    network, key = Network(name="cnn_comb", **options), f"models.{FUSION}.{name}"
    if lines := objections(without_values, network):
        return [f"{key}: {line}" for line in lines]
    frozen = params.models[FUSION][name].training.frozen
    return frozen_problems(without_values(network), frozen, key)


def _feature(params: Params, backbone: str) -> Any:
    return feature_of(params, _group(params, backbone))
