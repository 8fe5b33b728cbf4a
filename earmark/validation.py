"""Everything that is wrong with params.yaml and the corpus, found before any work."""

from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from earmark import sox
from earmark.clips import problems_of
from earmark.corpora import ADAPTERS
from earmark.corpora.demo import DemoOptions
from earmark.errors import UserError
from earmark.features import build as build_features
from earmark.inference import load_weights
from earmark.layout import Layout
from earmark.networks import build, find
from earmark.params import KINDS, Model, Network, Params, PatchModel, WaveModel


def option_problems(params: Params, source: str = "params.yaml") -> list[str]:
    """Options that only the code they are for can judge: networks, effects, features, demo."""
    found: list[str] = []
    for kind in KINDS:
        for name, entry in params.models.of_kind(kind).items():
            place = f"models.{kind}.{name}"
            found += _network_problems(entry.network, kind, f"{place}.network")
            found += _segment_problems(entry, kind, place)
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


def _segment_problems(entry: Model, kind: str, place: str) -> list[str]:
    """A network whose input has one length only must be given that length."""
    n_samples = getattr(_on_meta(entry.network), "n_samples", None)
    if isinstance(entry, WaveModel) and n_samples not in (None, entry.segment_samples):
        return [
            f"{place}.segment_samples: {entry.segment_samples}, but its network reads {n_samples}; "
            "make segment_samples and network.n_samples equal"
        ]
    reads_one = kind == "patches" and entry.network.name == "vggish"
    if reads_one and isinstance(entry, PatchModel) and entry.segment_patches != 1:
        return [f"{place}.segment_patches: vggish reads one patch; set it to 1"]
    return []


def _on_meta(network: Network) -> torch.nn.Module | None:
    try:
        with torch.device("meta"):
            return build(network.name, 2, network.options)
    except (ValueError, TypeError, RuntimeError):
        return None


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
    official = params.cv.scheme == "official"
    problems = problems_of(clips, root=root, k=params.cv.k, official_folds=official)
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
