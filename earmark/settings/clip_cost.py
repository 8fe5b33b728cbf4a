"""What tagging one clip takes of the ensemble and of the student: networks and their multiply-adds.

Shapes: N rows of a clip.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from earmark.features import FeatureType
from earmark.features.backbone import Backbone
from earmark.features.extraction import extract
from earmark.features.segments import lengths_in_rows
from earmark.params import Model, Params
from earmark.params.roster import (
    EMBEDDING,
    FUSION,
    PATCHES,
    members_of,
    model_of,
    student_of,
)
from earmark.settings.built import embedding_of, feature_of
from earmark.settings.network_size import load_of

CLIP_SECONDS = 10.0


class _Load(NamedTuple):
    """Of one network and a clip."""

    n_parameters: int
    flops: float


class _Rows(NamedTuple):
    """Of a clip, as a feature makes them; a feature may be a network itself."""

    feature: FeatureType
    n_rows: int
    flops: float


def clip_costs(params: Params, weights: Mapping[str, float]) -> dict[str, Any]:
    """Count what it takes to tag a clip of 10 s.

    What is no network is not counted: decoding, spectra, SoX. A rule that stops at a confident crop
    counts with all of its crops.

    Args:
        params: of the roster, with a student.
        weights: member -> weight; those of weight 0 are not asked.

    Returns:
        `{"clip_seconds", "ensemble", "student"}`, the latter two `{"networks", "parameters",
        "multiply_adds"}`.
    """
    waveform = np.zeros(round(CLIP_SECONDS * params.decode.sample_rate), np.int16)
    rows = _rows_of_features(params, waveform)
    asked = {name: group for name, group in members_of(params).items() if weights.get(name, 0) > 0}
    folds = len(params.fold_names)
    of_ensemble = [
        one for name, group in asked.items() for one in _member_loads(params, rows, name, group)
    ]
    read = {feature for group in asked.values() for feature in _features_read(params, group)}
    costs: dict[str, Any] = {"clip_seconds": CLIP_SECONDS}
    costs["ensemble"] = _sum(of_ensemble * folds, [rows[feature].flops for feature in read])
    if (student := student_of(params)) is not None:
        feature, entry = student
        load = _load(params, entry, rows[feature].feature, rows[feature].n_rows)
        costs["student"] = _sum([load], [rows[feature].flops])
    return costs


def _rows_of_features(params: Params, waveform: NDArray[np.int16]) -> dict[str, _Rows]:
    rows = {}
    for name in params.features:
        feature = feature_of(params, name)
        with FlopCounterMode(display=False) as counter:
            n_rows = len(extract(waveform, feature))
        is_network = isinstance(feature, Backbone)  # others multiply matrices, too
        rows[name] = _Rows(feature, n_rows, counter.get_total_flops() if is_network else 0.0)
    return rows


def _features_read(params: Params, group: str) -> list[str]:
    if group == FUSION:
        return [params.fusion.audio, params.fusion.spec]
    return [PATCHES if group == EMBEDDING else group]


def _member_loads(
    params: Params, rows: Mapping[str, _Rows], member: str, group: str
) -> Iterator[_Load]:
    """The networks that a member asks in each fold: also an extractor, or two backbones."""
    if group == EMBEDDING:
        name, extractor = next(
            (name, extractor)
            for name in params.models[EMBEDDING]
            for extractor in params.extractors
            if f"{name}-{extractor}" == member
        )
        patches, entry = rows[PATCHES], params.extractors[extractor]
        of_patch = load_of(entry.network, patches.feature, 1)
        yield _Load(of_patch.n_parameters, of_patch.flops * patches.n_rows)
        model, feature = model_of(params, group, name), embedding_of(params, entry)
        yield _load(params, model, feature, patches.n_rows)
    elif group == FUSION:  # its own layers are small beside them
        for role, name in (("audio", params.fusion.audio), ("spec", params.fusion.spec)):
            backbone = model_of(params, name, f"{member}_{role}")
            yield _load(params, backbone, rows[name].feature, rows[name].n_rows)
    else:
        model = model_of(params, group, member)
        yield _load(params, model, rows[group].feature, rows[group].n_rows)


def _load(params: Params, entry: Model, feature: FeatureType, n_rows: int) -> _Load:
    """One network with all segments of the clip."""
    n_parameters, flops = 0, 0.0
    for length in lengths_in_rows(entry.input, feature):
        load = load_of(entry.network, feature, length or n_rows)
        n_segments = math.ceil(n_rows / length) if length else 1
        if entry.prediction.aggregation != "mean" and n_segments > 1:
            n_segments = params.inference.n_crops
        n_parameters, flops = load.n_parameters, flops + n_segments * load.flops
    return _Load(n_parameters, flops)


def _sum(networks: list[_Load], of_features: list[float]) -> dict[str, int]:
    """A multiply-add is two floating-point operations."""
    flops = math.fsum([*(one.flops for one in networks), *of_features])
    n_parameters = [one.n_parameters for one in networks]
    return {
        "networks": len(networks),
        "parameters": int(np.sum(n_parameters)),
        "multiply_adds": round(flops / 2),
    }
