"""Everything that is wrong with params.yaml and the corpus, found before any work."""

from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch._subclasses.fake_tensor import FakeTensorMode

from earmark import sox
from earmark.clips import problems_of
from earmark.corpora import ADAPTERS
from earmark.corpora.demo import DemoOptions
from earmark.errors import UserError
from earmark.features import build as build_features
from earmark.inference import load_weights
from earmark.layout import Layout
from earmark.networks import build, find
from earmark.params import KINDS, Model, Network, Params


def option_problems(params: Params, source: str = "params.yaml") -> list[str]:
    """Options that only the code they are for can judge: networks, effects, features, demo."""
    found: list[str] = []
    for kind in KINDS:
        for name, entry in params.models.of_kind(kind).items():
            place = f"models.{kind}.{name}"
            wrong = _network_problems(entry.network, kind, f"{place}.network")
            found += wrong or _segment_problems(entry, params, kind, place)
    for name, extractor in params.extractors.items():
        place = f"extractors.{name}"
        if extractor.network.name == "vggish":
            found += _network_problems(extractor.network, "patches", f"{place}.network")
        else:
            found.append(
                f"{place}.network.name: {extractor.network.name} embeds nothing; use vggish"
            )
    for effect, options in params.augment.items():
        found += _said(sox.check_options, effect, options)
    for kind in KINDS[:-1]:
        if getattr(params.features, kind) is not None:
            rate = params.decode.sample_rate
            said = _said(build_features, kind, params.features.options(kind), sample_rate=rate)
            place = f"features.{kind}: "
            found += [place + line.removeprefix(place) for line in said]
    for name, options in params.demo.items():
        found += _demo_problems(options, f"demo.{name}")
    return [f"{source}: {line}" for line in found]


def _said(function: Any, *args: Any, **kwargs: Any) -> list[str]:
    """What a call objects to, as one line."""
    try:
        function(*args, **kwargs)
    except (ValueError, TypeError, RuntimeError) as error:  # torch: a size that cannot be
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


def _network_problems(network: Network, kind: str, place: str) -> list[str]:
    try:
        kinds = find(network.name).input_kinds
    except ValueError as error:
        return [f"{place}.name: {error}"]
    if kind not in kinds:
        return [
            f"{place}.name: {network.name} reads {', '.join(sorted(kinds))}, not {kind}; move it"
        ]
    sizes = {key: value for key, value in network.options.items() if type(value) is int}
    if small := [key for key, value in sizes.items() if value < 1]:
        return [f"{place}.{key}: {sizes[key]}; it must be at least 1" for key in small]
    with torch.device("meta"):
        return [f"{place}: {line}" for line in _said(build, network.name, 2, network.options)]


def _segment_problems(entry: Model, params: Params, kind: str, place: str) -> list[str]:
    """Whether the network can read the segments that it is to be given: one pass without values."""
    if getattr(params.features, "patches" if kind == "embedding" else kind) is None:
        return []  # said already
    shape = (2, params.rows_read(kind, entry), *_row_shape(params, kind))
    if kind == "patches":
        shape = (2, shape[1] * shape[2], shape[3])  # patches are stacked in time
    with FakeTensorMode():  # the meta device has no autocast
        network = build(entry.network.name, 2, entry.network.options)
        said = _said(network, torch.zeros(shape))
    mend = "make the segment and the network's options fit"
    return [f"{place}.{entry.segment_key}: {line}; {mend}" for line in said]


def _row_shape(params: Params, kind: str) -> tuple[int, ...]:
    """The shape of one row of the features that the models of a kind read."""
    if kind == "embedding":
        sizes = (e.network.options.get("embedding_dim", 128) for e in params.extractors.values())
        return (next(sizes, 128),)
    rate = params.decode.sample_rate
    try:
        return build_features(kind, params.features.options(kind), sample_rate=rate).row_shape
    except ValueError:
        return {"logmel": (80,), "mfcc": (80,), "patches": (96, 64)}.get(kind, ())  # said already


def corpus_problems(params: Params, layout: Layout) -> list[str]:
    """What is wrong with the corpus' folder and table; nothing is decoded."""
    corpus = params.corpus
    root = layout.root / corpus.root
    if not root.exists() and _is_made_by_a_stage(params, layout, root):
        return []
    try:
        clips = ADAPTERS[corpus.adapter](root, corpus.table)
    except UserError as error:
        return list(error.problems)
    problems = problems_of(clips, root=root, cv=params.cv)
    missing = [path for path in clips["path"] if not (root / path).exists()]
    if missing and len(missing) < len(clips):
        mend = "they would be quarantined; restore them or delete their rows"
        problems.append(f"corpus: {len(missing)} files missing, such as {missing[0]}; {mend}")
    return problems


def _is_made_by_a_stage(params: Params, layout: Layout, root: Path) -> bool:
    return root in {layout.demo(name) for name in params.demo}


def weight_problems(params: Params, layout: Layout) -> list[str]:
    """Weight files that are missing, changed, or fit no network."""
    problems = []
    for name, extractor in params.extractors.items():
        if extractor.weights:
            network = build(extractor.network.name, 2, extractor.network.options)
            path = layout.root / extractor.weights
            try:
                load_weights(network, path, extractor.weights_sha256)
            except UserError as error:
                problems += [f"params.yaml: extractors.{name}: {line}" for line in error.problems]
    return problems
