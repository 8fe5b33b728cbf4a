"""Whether the models of params.yaml can be built, and read what they are to be given."""

from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from earmark import features
from earmark.errors import UserError
from earmark.features.feature_type import can_mix_as_waveforms
from earmark.features.segments import lengths_in_rows
from earmark.layout import Layout
from earmark.networks import build, find
from earmark.params import Extractor, Model, Network, Params
from earmark.params.roster import EMBEDDING, FUSION, recipe_of
from earmark.settings.objections import objections
from earmark.taggers.fusion import fusion_options, segments_differ
from earmark.taggers.weights import load_weights

SEGMENT_KEYS = ("segment_seconds", "segment_samples", "segment_patches")
BACKBONE_NETWORKS = {"audio": "cnn_audio", "spec": "cnn_spec"}  # of a fusion model


def extractor_problems(extractor: Extractor, key: str) -> list[str]:
    if extractor.network.name != "vggish":
        return [f"{key}.network.name: {extractor.network.name} embeds nothing; use vggish"]
    return _network_problems(extractor.network, "patches", f"{key}.network")


def model_problems(entry: Model, params: Params, group: str, name: str) -> list[str]:
    """What is wrong with one entry of the roster; `group` is there, or embedding or fusion."""
    key = f"models.{group}.{name}"
    if group == FUSION:
        return _fusion_problems(entry, params, name)
    type_ = EMBEDDING if group == EMBEDDING else params.features[group].type
    if wrong := _network_problems(entry.network, type_, f"{key}.network"):
        return wrong
    if wrong := _segment_key_problems(entry, type_, f"{key}.input"):
        return wrong
    with torch.device("meta"):
        network = build(entry.network.name, 2, entry.network.options)
    names = [name for name, _ in network.named_parameters()]
    problems = [
        f"{key}.training.frozen: no parameter begins with {beginning!r}; "
        f"there are {', '.join(names[:4])}"
        for beginning in entry.training.frozen
        if not any(name.startswith(beginning) for name in names)
    ]
    problems += _recipe_problems(entry, params, type_, key)
    return problems + _segment_problems(entry, params, group, type_, key)


def _network_problems(network: Network, type_: str, key: str) -> list[str]:
    try:
        types = find(network.name).feature_types
    except (ValueError, UserError) as error:
        return [f"{key}.name: {error}"]
    if type_ not in types:
        fix = f"name it under a feature of type {' or '.join(sorted(types))}"
        return [f"{key}.name: {network.name} does not read {type_}; {fix}"]
    sizes = {option: value for option, value in network.options.items() if type(value) is int}
    if small := [option for option, value in sizes.items() if value < 1]:
        return [f"{key}.{option}: {sizes[option]}; it must be at least 1" for option in small]
    with torch.device("meta"):
        return [f"{key}: {line}" for line in objections(build, network.name, 2, network.options)]


def _segment_key_problems(entry: Model, type_: str, key: str) -> list[str]:
    """The length of a segment is given once, in the unit of the type of feature."""
    wanted = features.find(type_).segment_key
    problems = [
        f"{key}.{other}: a feature of type {type_} has {wanted}; give that instead"
        for other in SEGMENT_KEYS
        if other != wanted and getattr(entry.input, other) is not None
    ]
    if not problems and getattr(entry.input, wanted) is None:
        problems = [f"{key}.{wanted}: missing; add it"]
    return problems


def _recipe_problems(entry: Model, params: Params, type_: str, key: str) -> list[str]:
    """Augmentation that the type of feature cannot have."""
    recipe, feature_type = recipe_of(params, entry), features.find(type_)
    problems = []
    if recipe.mixup_at == "waveform" and not can_mix_as_waveforms(feature_type):
        problems.append(
            f"{key}.training: mixup_at waveform is not possible for {type_}; set it to features"
        )
    if (recipe.mask_frames or recipe.mask_bands) and not feature_type.has_bands:
        fix = "set them to 0"
        problems.append(f"{key}.training: mask_frames and mask_bands do not fit {type_}; {fix}")
    return problems


def _segment_problems(entry: Model, params: Params, group: str, type_: str, key: str) -> list[str]:
    """Whether the network can read the segments that it is to be given: a pass without values."""
    problems = []
    for origin, feature in _features_read(params, group, type_).items():
        for n_rows in lengths_in_rows(entry.input, feature):
            shape = (2, n_rows, *feature.row_shape)
            with FakeTensorMode():  # the meta device has no autocast
                network = build(entry.network.name, 2, entry.network.options)
                x = feature.network_view(torch.zeros(shape))
                lines = objections(network, x)
            fix = "make the segment and the options fit"
            where = f"{key}.input.{feature.segment_key}{origin}"
            problems += [f"{where}: {line}; {fix}" for line in lines]
    return problems


def _features_read(params: Params, group: str, type_: str) -> dict[str, features.FeatureType]:
    """The feature that a group's models read; of embeddings one for each extractor."""
    rate = params.decode.sample_rate
    if group == EMBEDDING:
        dims = {
            n: e.network.options.get("embedding_dim", 128) for n, e in params.extractors.items()
        }
        return {
            f" (extractor {name})": features.build(type_, {"dims": size}, sample_rate=rate)
            for name, size in dims.items()
        }
    return {"": features.build(type_, params.features[group].options, sample_rate=rate)}


def _fusion_problems(entry: Model, params: Params, name: str) -> list[str]:
    """Whether the two backbones exist, are of the right networks, and read the same seconds."""
    key = f"models.{FUSION}.{name}"
    problems = []
    if entry.network.name != "cnn_comb" or entry.network.options:
        fix = "write `network: {name: cnn_comb}`; its sizes follow from its backbones"
        problems.append(f"{key}.network: {entry.network.name} with options; {fix}")
    if given := [k for k, value in entry.input.model_dump().items() if value is not None]:
        problems.append(f"{key}.input.{given[0]}: its backbones decide; write `input: {{}}`")
    groups = {"audio": params.fusion.audio, "spec": params.fusion.spec}
    backbones: dict[str, Model] = {}
    for backbone, group in groups.items():
        found = params.models.get(group, {}).get(f"{name}_{backbone}")
        if found is None or group not in params.features:
            return problems  # reported where keys are held against each other
        backbones[backbone] = found
        network = BACKBONE_NETWORKS[backbone]
        if found.network.name != network:
            where = f"models.{group}.{name}_{backbone}.network.name"
            problems.append(f"{where}: {found.network.name}; models.fusion needs {network}")
    return problems or _fusion_feature_problems(params, name, backbones)


def _fusion_feature_problems(params: Params, name: str, backbones: dict[str, Model]) -> list[str]:
    rate = params.decode.sample_rate
    built: dict[str, Any] = {}
    wanted = {"audio": "waveform", "spec": "logmel"}
    for backbone, group in (("audio", params.fusion.audio), ("spec", params.fusion.spec)):
        feature = params.features[group]
        if feature.type != wanted[backbone]:
            fix = f"name a feature of type {wanted[backbone]}"
            return [f"fusion.{backbone}: {group} is of type {feature.type}; {fix}"]
        built[backbone] = features.build(feature.type, feature.options, sample_rate=rate)
    if built["audio"].target_hz != rate:
        return [
            f"features.{params.fusion.audio}.target_hz: {built['audio'].target_hz}, but "
            f"models.fusion.{name} needs that of decode.sample_rate, {rate}, to cut both backbones' "
            "segments at one moment; set one to the other"
        ]
    if any(_segment_key_problems(e, wanted[b], "") for b, e in backbones.items()):
        return []  # reported with the backbone itself
    n_samples, n_frames = (
        lengths_in_rows(backbones[b].input, built[b])[0] for b in ("audio", "spec")
    )
    if 1 + n_samples // built["spec"].hop_length != n_frames:
        return [segments_differ(name, n_samples, n_frames).removeprefix("params.yaml: ")]
    options = fusion_options(*(backbones[b].network.options for b in ("audio", "spec")))
    with torch.device("meta"):
        return [
            f"models.fusion.{name}: {line}" for line in objections(build, "cnn_comb", 2, options)
        ]


def weight_problems(params: Params, layout: Layout) -> list[str]:
    """Weight files that are missing, changed, or fit no network."""
    starts = {
        f"extractors.{name}.weights": (e.network, e.weights, e.weights_sha256)
        for name, e in params.extractors.items()
    }
    for group, models in params.models.items():
        for name, entry in models.items():
            training = entry.training
            where = f"models.{group}.{name}.training.init_from"
            starts[where] = (entry.network, training.init_from, training.init_sha256)
    problems = []
    for key, (network, path, sha256) in starts.items():
        if path:
            lines = objections(_load, network, layout.root / path, sha256)
            problems += [f"params.yaml: {key}: {line}" for line in lines]
    return problems


def _load(network: Network, path: Path, sha256: str) -> None:
    built = build(network.name, 2, network.options)
    load_weights(built, path, sha256, fresh=built.tag_tensors())
