"""A trained tagger as one ONNX file: waveforms of clips in, their probabilities out.

    waveform (B, T) -> rows (B, N, ...) -> [embeddings] -> crops (B * C, S, ...) -> network
                    -> (B * C, K) -> mean over the crops of a clip -> probabilities (B, K)

A feature is made of the whole clip and then cut, as in training, so that the frames at the edges of
a crop hear their neighbours.
Shapes: B clips of equal length, T samples, N rows, S rows of a crop, C crops, K tags.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from earmark.errors import UserError
from earmark.exporting.cropping import covering_crops
from earmark.exporting.front_ends import FrontEnd, rows_of, stored
from earmark.exporting.graph import Graph, Value
from earmark.exporting.network_graph import (
    embeddings_graph,
    over_time_graph,
    probabilities_graph,
)
from earmark.exporting.pooling import probabilities_of_linear
from earmark.features import FeatureType, build
from earmark.features.backbone import WINDOW_SECONDS, Backbone
from earmark.features.logmel import LogMel, Mfcc
from earmark.features.waveform import Waveform
from earmark.networks.linear import Linear
from earmark.sound.excerpts import SHORTEST_SECONDS
from earmark.taggers.input import FusionInput, Input
from earmark.taggers.tagger import Tagger
from earmark.whole_files import whole_file

FORMAT = 1
METADATA_KEY = "earmark"


@dataclass(frozen=True)
class OnnxInfo:
    """What was written where; `metadata` is also in the file, as json under the key "earmark"."""

    path: Path
    n_bytes: int
    metadata: dict[str, Any]


def export(
    tagger: Tagger,
    extractor: Tagger | None,
    path: Path,
    *,
    front_end: FrontEnd,
    details: Mapping[str, Any],
) -> OnnxInfo:
    """Write a tagger as an ONNX file that describes itself.

    Input `waveform`, float32 (batch, samples) in [-1, 1): clips of equal length at
    `metadata["sample_rate"]`, trimmed and with their peak at full scale as metadata["trim"] says,
    rounded to 16 bits. Output `probabilities`, float32 (batch, tags): the mean over the crops that
    cover a clip, not tempered.

    Args:
        extractor: whose embeddings the tagger reads, if it reads embeddings.
        path: of the file, which appears whole or not at all.
        front_end: "stft" for the operator of that name, "conv" for runtimes that have none.
        details: more entries of the metadata, such as the temperature.

    Raises:
        UserError: there is no ONNX for the network or its feature.
    """
    graph = Graph()
    waveform = graph.input("waveform", np.float32, ["batch", "samples"])
    rows, row_shape = _rows(graph, waveform, tagger, extractor, front_end)
    probabilities = _of_clips(graph, rows, tagger, row_shape)
    metadata = {**_description(tagger, extractor, front_end), **details}
    graph.output("probabilities", probabilities, np.float32, ["batch", len(tagger.tags)])
    model = graph.model({METADATA_KEY: json.dumps(metadata)})
    with whole_file(path) as part:
        onnx.save(model, part)
    return OnnxInfo(path, path.stat().st_size, metadata)


def _rows(
    graph: Graph,
    waveform: Value,
    tagger: Tagger,
    extractor: Tagger | None,
    front_end: FrontEnd,
) -> tuple[Value, tuple[int, ...]]:
    """The rows (B, N, *row_shape) that a tagger reads, see `earmark.taggers.rows.rows_read`."""
    if isinstance(tagger.input, FusionInput):
        raise UserError(
            f"network {tagger.network_name}: reads two features at once, which has no ONNX; "
            "leave this model out"
        )
    if extractor is not None:
        return _embeddings(graph, waveform, extractor, front_end), (extractor.embedding_dim,)
    feature = _feature(tagger.input)
    if not isinstance(feature, Backbone):
        rows = rows_of(graph, waveform, feature, front_end)
    else:
        front = feature.front_end
        read = rows_of(graph, waveform, front, front_end)
        model = over_time_graph(feature.load(), front.row_shape)
        rows = graph.inline(model, read, key="backbone")
    return stored(graph, rows, feature), feature.row_shape


def _embeddings(graph: Graph, waveform: Value, extractor: Tagger, front_end: FrontEnd) -> Value:
    """What an extractor makes of every patch: (B, P, D)."""
    feature = _feature(extractor.input)
    patches = stored(graph, rows_of(graph, waveform, feature, front_end), feature)
    segments = graph.op("Reshape", patches, graph.ints([-1, 1, *feature.row_shape]))
    model = embeddings_graph(extractor, feature.row_shape)
    embeddings = graph.inline(model, segments, key="extractor")  # (B * P, D)
    shape = graph.op("Shape", patches, start=0, end=2)
    shape = graph.op("Concat", shape, graph.ints([extractor.embedding_dim]), axis=0)
    return graph.op("Reshape", embeddings, shape)


def _of_clips(graph: Graph, rows: Value, tagger: Tagger, row_shape: tuple[int, ...]) -> Value:
    """The mean (B, K) of the probabilities of the crops of each length that cover a clip."""
    if isinstance(tagger.network, Linear) and tagger.input.lengths == [0]:
        return probabilities_of_linear(graph, rows, tagger)
    model, n_tags = probabilities_graph(tagger, row_shape), len(tagger.tags)
    by_length = []
    batch = graph.as_list(graph.size(rows, 0))
    for length in tagger.input.lengths:
        crops = covering_crops(graph, rows, tagger.input, length, row_shape=row_shape)
        probabilities = graph.inline(model, crops, key="network")  # (B * C, K)
        shape = graph.op("Concat", batch, graph.ints([-1, n_tags]), axis=0)
        by_length.append(graph.op("Reshape", probabilities, shape))
    crops = graph.op("Concat", *by_length, axis=1)  # (B, C, K)
    return graph.op("ReduceMean", crops, graph.ints([1]), keepdims=0)


def _feature(input_: Input) -> FeatureType:
    return build(input_.type_name, input_.options, sample_rate=input_.sample_rate)


def _description(tagger: Tagger, extractor: Tagger | None, front_end: FrontEnd) -> dict[str, Any]:
    """What the file says of itself."""
    read = tagger if extractor is None else extractor
    feature, sample_rate = _feature(read.input), read.input.sample_rate
    is_windowed = isinstance(feature, Backbone)
    return {
        "format": FORMAT,
        "tags": tagger.tags,
        "activation": tagger.activation,
        "network": tagger.network_name,
        "feature": read.input.feature,
        "front_end": front_end,
        "sample_rate": sample_rate,
        "segment_samples": _segment_samples(tagger.input, feature),
        "shortest_samples": math.ceil(SHORTEST_SECONDS * sample_rate),
        # In predict a longer clip is several windows, whose rows then stand one after another.
        "longest_samples": round(1.5 * WINDOW_SECONDS * sample_rate) - 1 if is_windowed else None,
        "aggregation": "mean",
        "weights_sha256": tagger.metadata.get("weights_sha256"),
    }


def _segment_samples(input_: Input, feature: FeatureType) -> int | None:
    """How many samples fill a crop; None where that is no fixed number."""
    if input_.segment_rows == 0:
        return None
    if isinstance(feature, LogMel | Mfcc):
        return (input_.segment_rows - 1) * feature.hop_length
    if isinstance(feature, Waveform):
        return math.ceil(input_.segment_rows * feature.sample_rate / feature.target_hz)
    return None
