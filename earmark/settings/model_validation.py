"""Whether the models of params.yaml can be built, and can read the segments of their features."""

import re
from pathlib import Path

from pydantic import ValidationError

from earmark import features
from earmark.features import FeatureType
from earmark.features.augmentations import supported_augmentations
from earmark.features.backbone import Backbone
from earmark.features.feature_type import AUGMENTATIONS
from earmark.features.segments import lengths_in_rows
from earmark.layout import Layout
from earmark.networks import build, find
from earmark.params import Extractor, Model, Network, Params
from earmark.params.roster import (
    EMBEDDING,
    FUSION,
    PATCHES,
    STUDENT,
    entries_of,
    is_baseline,
    overrides_of,
    reads_all,
    recipe_of,
    student_of,
    weights_of,
)
from earmark.settings.built import embedding_of, feature_of, without_values
from earmark.settings.frozen_layers import frozen_problems
from earmark.settings.fusion_validation import fusion_problems
from earmark.settings.network_size import (
    MAX_BATCH_BYTES,
    gigabytes,
    load_of,
    machine_bytes,
    parameter_problems,
)
from earmark.settings.objections import objections
from earmark.settings.option_limits import NETWORK_LIMITS, limit_problems
from earmark.settings.segment_fit import segment_refusal
from earmark.settings.segment_keys import segment_key_problems
from earmark.weights import check_format, load_weights


def extractor_problems(extractor: Extractor, params: Params, key: str) -> list[str]:
    """What is wrong with the network of the extractor at a key path, or with its batches."""
    if extractor.network.name != "vggish":
        return [f"{key}.network.name: {extractor.network.name} makes no embeddings; use vggish"]
    if wrong := _network_problems(extractor.network, "patches", f"{key}.network"):
        return wrong
    problems = _augmentation_problems(extractor, PATCHES, key)
    return problems + _batch_problems(extractor, params, "", key)


def model_problems(entry: Model, params: Params, group: str, name: str) -> list[str]:
    """What is wrong with a model; `group` is a feature of params.yaml, embedding or fusion."""
    key = f"models.{group}.{name}"
    if group == FUSION:
        return _augmentation_problems(entry, FUSION, key) + fusion_problems(entry, params, name)
    return _entry_problems(entry, params, group, key)


def student_problems(params: Params) -> list[str]:
    """What is wrong with the student, if there is one: what may be wrong with any model, and more.

    A network that is fitted at once has no loss that could learn a share of an answer.
    """
    if (student := student_of(params)) is None:
        return []
    feature, entry = student
    key = f"{STUDENT}.{feature}"
    if feature not in params.features:  # reported with the contradictions of params
        return []
    if problems := _entry_problems(entry, params, feature, key):
        return problems
    if find(entry.network.name).is_fitted_at_once:
        fix = "take one that is trained by epochs, such as compact_cnn"
        return [f"{key}.network.name: {entry.network.name} is fitted at once; {fix}"]
    return []


def _entry_problems(entry: Model, params: Params, group: str, key: str) -> list[str]:
    type_ = EMBEDDING if group == EMBEDDING else params.features[group].type
    if wrong := _network_problems(entry.network, type_, f"{key}.network"):
        return wrong
    package = entry.network.name.split(".")[0]
    if ":" in entry.network.name and package not in ("earmark", params.extensions):
        fix = f"set extensions: {package}, or move the network to {params.extensions}/"
        return [f"{key}.network.name: changes in {package}/ would not be tracked; {fix}"]
    if wrong := segment_key_problems(entry, type_, f"{key}.input"):
        return wrong
    if is_baseline(entry.network) and features.kind_of(type_) == EMBEDDING:
        fix = "set it to mean or mean_max"
        return [f"{key}.network.pooling: statistics are of spectra, not of embeddings; {fix}"]
    problems = frozen_problems(without_values(entry.network), entry.training.frozen, key)
    problems += _augmentation_problems(entry, type_, key)
    misfits = _segment_problems(entry, params, group, key)
    return problems + (misfits or _batch_problems(entry, params, group, key))


def _network_problems(network: Network, type_: str, key: str) -> list[str]:
    if wrong := objections(find, network.name):
        return [f"{key}.name: {line}" for line in wrong]
    types = find(network.name).feature_types
    if features.kind_of(type_) not in types:
        fix = f"name it under a feature of type {' or '.join(sorted(types))}"
        return [f"{key}.name: {network.name} does not read {type_}; {fix}"]
    is_own = ":" in network.name
    if wrong := limit_problems(network.options, NETWORK_LIMITS, key, is_own=is_own):
        return wrong
    wrong = [f"{key}: {line}" for line in objections(without_values, network)]
    return wrong or parameter_problems(network, key)


def _augmentation_problems(entry: Model | Extractor, type_: str, key: str) -> list[str]:
    """Augmentation that the entry itself asks for, and its type of feature does not support."""
    whole_clips = isinstance(entry, Model) and reads_all(entry)
    supported = supported_augmentations(type_, whole_clips=whole_clips)
    of_what = f"whole clips of {type_}" if whole_clips else type_
    own = overrides_of(entry)
    return [
        f"{key}.training.{name}: {of_what} cannot be augmented so; set it to {neutral}"
        for name, neutral in AUGMENTATIONS.items()
        if name not in supported and own.get(name, neutral) != neutral
    ]


def _segment_problems(entry: Model, params: Params, group: str, key: str) -> list[str]:
    """Whether the network can read its segments: a forward pass on tensors without values."""
    problems = []
    n_inputs = getattr(without_values(entry.network), "n_inputs", None)
    for origin, feature in _features_read(params, group).items():
        if n_inputs is not None and feature.row_shape != (n_inputs,):
            fix = f"set it to {feature.row_shape[-1]}, the values of a row of {group}"
            problems.append(f"{key}.network.n_inputs{origin}: {n_inputs}; {fix}")
            continue
        for n_rows in lengths_in_rows(entry.input, feature):
            line = segment_refusal(entry.network, feature, n_rows or 2)  # whole clips: of two
            where = f"{key}.input.{feature.segment_key}{origin}"
            problems += [f"{where}: {line}"] if line else []
    return problems


def _batch_problems(entry: Model | Extractor, params: Params, group: str, key: str) -> list[str]:
    """Batches that no machine holds."""
    n_bytes = _batch_bytes(entry, params, group)
    if n_bytes <= MAX_BATCH_BYTES:
        return []
    name = "max_patches" if isinstance(entry, Extractor) else "the segment"
    return [
        f"{key}: training takes about {gigabytes(n_bytes)} of memory for a batch; lower "
        f"batch_size, {name} or the network's sizes"
    ]


def memory_warnings(params: Params) -> list[str]:
    """Models whose batches take more memory than this machine has."""
    warnings, available = [], machine_bytes()
    for key, entry in entries_of(params).items():
        group = key.split(".")[1]
        if group != FUSION and (n_bytes := _batch_bytes(entry, params, group)) > available:
            warnings.append(
                f"params.yaml: {key}: training takes about {gigabytes(n_bytes)} of memory for a "
                f"batch, and this machine has {gigabytes(available)}; lower batch_size"
            )
    return warnings


def _batch_bytes(entry: Model | Extractor, params: Params, group: str) -> float:
    """What training keeps in memory for its largest batch, roughly; 0 if its recipe is unsound."""
    try:
        batch_size = recipe_of(params, entry).batch_size
    except ValidationError:  # reported with the contradictions of params
        return 0.0
    if isinstance(entry, Extractor):
        patches = features.build(PATCHES, {}, sample_rate=params.decode.sample_rate)
        return load_of(entry.network, patches, 1).bytes_of(batch_size * entry.max_patches)
    loads = [
        load_of(entry.network, feature, n_rows or 2)
        for feature in _features_read(params, group).values()
        for n_rows in lengths_in_rows(entry.input, feature)
    ]
    return max((load.bytes_of(batch_size) for load in loads), default=0.0)


def _features_read(params: Params, group: str) -> dict[str, FeatureType]:
    """The feature that a group's models read; for embeddings one per extractor."""
    if group == EMBEDDING:
        return {
            f" (extractor {name})": embedding_of(params, extractor)
            for name, extractor in params.extractors.items()
        }
    return {"": feature_of(params, group)}


def weight_problems(params: Params, layout: Layout) -> list[str]:
    """Weight files that are missing, changed, or do not fit their network."""
    problems = []
    for key, entry in entries_of(params).items():
        name = "weights" if isinstance(entry, Extractor) else "training.init_from"
        path, sha256 = weights_of(params, entry)
        if path:
            if re.fullmatch(r"[0-9a-f]{64}", sha256):
                lines = objections(_load, entry.network, layout.root / path, sha256)
            else:  # reading params.yaml says what a sha256 is
                lines = objections(check_format, layout.root / path)
            problems += [f"params.yaml: {key}.{name}: {line}" for line in lines]
    for name in params.features:
        lines = objections(_load_backbone, params, name)
        problems += [f"params.yaml: features.{name}.weights: {line}" for line in lines]
    return problems


def _load_backbone(params: Params, name: str) -> None:
    try:
        built = feature_of(params, name)
    except ValueError:  # reported with the features
        return
    if isinstance(built, Backbone):
        built.load()


def _load(network: Network, path: Path, sha256: str) -> None:
    built = build(network.name, 2, network.options)
    load_weights(built, path, sha256, fresh=built.tag_tensors())


def weight_warnings(params: Params) -> list[str]:
    """Published weights that are trained further, where the paper keeps them as they are."""
    warnings = []
    for key, entry in entries_of(params).items():
        published = find(entry.network.name).published
        if not (published and published.is_fixed and weights_of(params, entry)[0]):
            continue
        network = without_values(entry.network)
        frozen = () if isinstance(entry, Extractor) else tuple(entry.training.frozen)
        trained = {n for n, p in network.published_parameters().items() if p.requires_grad}
        if any(not name.startswith(frozen) for name in trained):
            warnings.append(
                f"params.yaml: {key}: the layers from {published.name} are trained, which "
                f"{published.paper} does not do; keep them as they are with network.frozen: true"
            )
    return warnings
