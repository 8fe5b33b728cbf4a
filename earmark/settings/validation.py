"""Everything that is wrong with params.yaml and the corpus, found before any work."""

from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from pydantic import TypeAdapter, ValidationError
from torch._subclasses.fake_tensor import FakeTensorMode

from earmark.corpora.adapters import ADAPTERS
from earmark.corpora.adapters import find as find_adapter
from earmark.corpora.clips import problems_of
from earmark.corpora.corrections import problems_of as correction_problems
from earmark.corpora.corrections import read_corrections
from earmark.corpora.synthetic.corpus import DemoOptions
from earmark.errors import UserError
from earmark.evaluation.label_groups import merging
from earmark.evaluation.points import MULTI_CLASS_METRICS, MULTI_LABEL_METRICS
from earmark.features import build as build_features
from earmark.labels import is_multi_label, tags_of
from earmark.layout import Layout
from earmark.networks import build, find
from earmark.params import KINDS, Model, Network, Params
from earmark.sound import sox
from earmark.taggers.device import Device
from earmark.taggers.weights import load_weights


def option_problems(params: Params, source: str = "params.yaml") -> list[str]:
    """Options that only the code they are for can judge: networks, effects, features, demo."""
    found: list[str] = []
    for kind in KINDS:
        for name, entry in params.models.of_kind(kind).items():
            if kind != "fusion":  # its network follows from its backbones
                found += _model_problems(entry, params, kind, f"models.{kind}.{name}")
    for name, extractor in params.extractors.items():
        place = f"extractors.{name}"
        if extractor.network.name == "vggish":
            found += _network_problems(extractor.network, "patches", f"{place}.network")
        else:
            found.append(
                f"{place}.network.name: {extractor.network.name} embeds nothing; use vggish"
            )
    found += _said(Device.choose, params.runtime)
    for effect, options in params.augment.items():
        found += _said(sox.check_options, effect, options)
    for kind in type(params.features).model_fields:
        if getattr(params.features, kind) is not None:
            rate = params.decode.sample_rate
            said = _said(build_features, kind, params.features.options(kind), sample_rate=rate)
            place = f"features.{kind}: "
            found += [place + line.removeprefix(place) for line in said]
    for name, options in params.demo.items():
        found += _demo_problems(options, f"demo.{name}")
    found += _said(find_adapter, params.corpus.adapter)
    return [f"{source}: {line}" for line in found]


def _said(function: Any, *args: Any, **kwargs: Any) -> list[str]:
    """What a call objects to, as one line."""
    try:
        function(*args, **kwargs)
    except (ValueError, TypeError, RuntimeError, UserError) as error:  # torch: an impossible size
        return [" ".join(str(error).split())]
    return []


def _demo_problems(options: dict[str, Any], place: str) -> list[str]:
    try:
        TypeAdapter(DemoOptions).validate_python(options)
    except ValidationError as error:
        return [
            f"{'.'.join([place, *map(str, problem['loc'])])}: "
            f"{problem['msg'].removeprefix('Value error, ')} (profiles/demo.yaml shows one)"
            for problem in error.errors()
        ]
    return [f"{place}: {line}" for line in _said(DemoOptions, **options)]


def _model_problems(entry: Model, params: Params, kind: str, place: str) -> list[str]:
    if wrong := _network_problems(entry.network, kind, f"{place}.network"):
        return wrong
    with torch.device("meta"):
        names = [
            n for n, _ in build(entry.network.name, 2, entry.network.options).named_parameters()
        ]
    found = [
        f"{place}.frozen: no parameter begins with {beginning!r}; there are {', '.join(names[:4])}"
        for beginning in entry.frozen
        if not any(name.startswith(beginning) for name in names)
    ]
    return found + _segment_problems(entry, params, kind, place)


def _network_problems(network: Network, kind: str, place: str) -> list[str]:
    try:
        types = find(network.name).feature_types
    except ValueError as error:
        return [f"{place}.name: {error}"]
    if ("waveform" if kind.startswith("wave") else kind) not in types:
        return [
            f"{place}.name: {network.name} reads {', '.join(sorted(types))}, not {kind}; move it"
        ]
    sizes = {key: value for key, value in network.options.items() if type(value) is int}
    if small := [key for key, value in sizes.items() if value < 1]:
        return [f"{place}.{key}: {sizes[key]}; it must be at least 1" for key in small]
    with torch.device("meta"):
        return [f"{place}: {line}" for line in _said(build, network.name, 2, network.options)]


def _segment_problems(entry: Model, params: Params, kind: str, place: str) -> list[str]:
    """Whether the network can read the segments that it is to be given: a pass without values."""
    if getattr(params.features, "patches" if kind == "embedding" else kind) is None:
        return []  # said already
    fix = "make the segment and the options fit"
    said = []
    lengths = params.rows_read(kind, entry)
    for (origin, row_shape), n_rows in product(_row_shapes(params, kind).items(), lengths):
        shape = (2, n_rows, *row_shape)
        if kind == "patches":
            shape = (2, n_rows * row_shape[0], row_shape[1])  # patches are stacked in time
        with FakeTensorMode():  # the meta device has no autocast
            network = build(entry.network.name, 2, entry.network.options)
            found = _said(network, torch.zeros(shape))
        said += [f"{place}.{entry.segment_key}{origin}: {line}; {fix}" for line in found]
    return said


def _row_shapes(params: Params, kind: str) -> dict[str, tuple[int, ...]]:
    """The shape of one row that the models of a kind read, by extractor where there are some."""
    if kind == "embedding":
        return {
            f" (extractor {name})": (e.network.options.get("embedding_dim", 128),)
            for name, e in params.extractors.items()
        }
    rate = params.decode.sample_rate
    try:
        options = params.features.options(kind)
        return {"": build_features(kind, options, sample_rate=rate).row_shape}
    except ValueError:
        return {}  # said already


def corpus_problems(params: Params, layout: Layout) -> list[str]:
    """What is wrong with the corpus' folder and table; nothing is decoded."""
    corpus = params.corpus
    root = layout.root / corpus.root
    if not root.exists() and _is_made_by_a_stage(params, layout, root):
        return []
    if corpus.adapter not in ADAPTERS:
        return []  # said of the options
    try:
        clips = find_adapter(corpus.adapter).read_clips(root, corpus.table)
    except UserError as error:
        return list(error.problems)
    problems = problems_of(clips, root=root, cv=params.cv)
    try:
        edits = read_corrections(layout.root / corpus.label_corrections)
        problems += correction_problems(edits, clips)
    except UserError as error:
        problems += error.problems
    problems += _score_problems(clips.loc[clips["split"] == "train", "label"], params)
    missing = [path for path in clips["path"] if not (root / path).exists()]
    share = len(missing) / max(1, len(clips))
    if corpus.max_quarantined < share < 1:
        fix = "they would be quarantined; restore them or delete their rows"
        problems.append(f"corpus: {len(missing)} files missing, such as {missing[0]}; {fix}")
    return problems


def _score_problems(labels: pd.Series, params: Params) -> list[str]:
    """Figures that this kind of corpus has not, and groups of tags that it does not know."""
    several = is_multi_label(labels)
    valid = MULTI_LABEL_METRICS if several else MULTI_CLASS_METRICS
    kind = "several tags" if several else "one tag"
    named = {"evaluate.metric": params.evaluate.metric, "model.monitor": params.model.monitor}
    problems = [
        f"params.yaml: {key}: {value} is not for a corpus of {kind} a clip; "
        f"choose one of {', '.join(valid)}"
        for key, value in named.items()
        if value not in (*valid, "loss")
    ]
    return problems + _said(merging, tags_of(labels), params.evaluate.label_groups)


def _is_made_by_a_stage(params: Params, layout: Layout, root: Path) -> bool:
    return root in {layout.demo(name) for name in params.demo}


def weight_problems(params: Params, layout: Layout) -> list[str]:
    """Weight files that are missing, changed, or fit no network."""
    problems = []
    starts = {
        f"extractors.{name}": (extractor.network, extractor.weights, extractor.weights_sha256)
        for name, extractor in params.extractors.items()
    }
    for kind in set(KINDS) - {"fusion"}:
        for name, entry in params.models.of_kind(kind).items():
            starts[f"models.{kind}.{name}"] = (entry.network, entry.init_from, entry.init_sha256)
    for place, (network, path, sha256) in starts.items():
        if path:
            try:
                built = build(network.name, 2, network.options)
                load_weights(built, layout.root / path, sha256, fresh=built.tag_tensors())
            except UserError as error:
                problems += [f"params.yaml: {place}: {line}" for line in error.problems]
    return problems
