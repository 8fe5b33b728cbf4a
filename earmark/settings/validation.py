"""Everything that is wrong with params.yaml, found before any work: what only code can judge."""

import difflib
import json
import re
from typing import Any, TypeGuard

from pydantic import TypeAdapter, ValidationError

from earmark.corpora.adapters import find as find_adapter
from earmark.corpora.synthetic.options import DemoOptions
from earmark.layout import Layout
from earmark.params import Params
from earmark.params.roster import EMBEDDING, FUSION
from earmark.settings.dvc_files import graph_problems
from earmark.settings.feature_validation import feature_problems
from earmark.settings.model_validation import (
    extractor_problems,
    model_problems,
    student_problems,
)
from earmark.settings.objections import objections
from earmark.settings.option_limits import DEMO_LIMITS, limit_problems
from earmark.sound import sox
from earmark.taggers.device import Device
from earmark.wording import condensed, shown

STAGES_OF_A_FEATURE = """\
  train_{name}:
    <<: *train
    vars: [{{group: {name}, feature: {name}}}]
    matrix: {{model: '${{models.{name}}}', fold: '${{folds}}'}}
  predict_{name}:
    <<: *predict
    vars: [{{group: {name}, feature: {name}}}]
    matrix: {{model: '${{models.{name}}}', fold: '${{folds}}'}}"""


def option_problems(params: Params, source: str = "params.yaml") -> list[str]:
    """One line for each option that only the code it is for can judge: of networks, features,
    effects, the device, the demo corpora and the adapter.
    """
    problems = feature_problems(params)
    if not problems:
        for group, models in params.models.items():
            for name, entry in models.items():
                if group in params.features or group in (EMBEDDING, FUSION):
                    problems += model_problems(entry, params, group, name)
        problems += student_problems(params)
    for name, extractor in params.extractors.items():
        problems += extractor_problems(extractor, params, f"extractors.{name}")
    problems += objections(Device.choose, params.runtime)
    for effect, options in params.augment.items():
        problems += _effect_problems(effect, options)
    for name, options in params.demo.items():
        problems += _demo_problems(options, f"demo.{name}")
    problems += objections(find_adapter, params.corpus.adapter)
    return condensed([f"{source}: {line}" for line in problems])


def _effect_problems(effect: str, options: dict[str, Any]) -> list[str]:
    lists = {name: option["among"] for name, option in options.items() if _is_choice(option)}
    if wrong := [name for name, among in lists.items() if not isinstance(among, list)]:
        key = f"augment.{effect}.{wrong[0]}.among"
        return [f"{key}: {shown(lists[wrong[0]])}; it must be a list, such as [0.9, 1.1]"]
    return objections(sox.check_options, effect, options)


def sox_problems(params: Params) -> list[str]:
    """The program must be there where an effect needs it."""
    return objections(sox.require) if params.augment else []


def _is_choice(option: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(option, dict) and option.keys() == {"among"}


def _demo_problems(options: dict[str, Any], key: str) -> list[str]:
    if wrong := limit_problems(options, DEMO_LIMITS, key):
        return wrong
    try:
        TypeAdapter(DemoOptions).validate_json(json.dumps(options, default=str), strict=True)
    except ValidationError as error:
        return [
            f"{'.'.join([key, *map(str, problem['loc'])])}: "
            f"{problem['msg'].removeprefix('Value error, ')} (profiles/demo.yaml shows one)"
            for problem in error.errors()
        ]
    return [f"{key}: {line}" for line in objections(DemoOptions, **options)]


def extension_problems(params: Params, layout: Layout) -> list[str]:
    """The folder of the user's own networks must be a package at the root, which DVC tracks."""
    name = params.extensions
    if not name.isidentifier() or name in ("earmark", "stages"):
        return [f"params.yaml: extensions: {name!r} is no folder name here; write extensions"]
    has_graph = (layout.root / "dvc.yaml").exists()
    if has_graph and not (layout.root / name).is_dir():
        fix = "make it, with a file in it, or write extensions"
        return [f"params.yaml: extensions: there is no folder {name}; {fix}"]
    return []


def stage_problems(params: Params, layout: Layout) -> list[str]:
    """Features that have no stages in dvc.yaml, and stages that have no feature in params.yaml.

    The line for a missing pair of stages is followed by the lines that dvc.yaml needs.
    """
    path = layout.root / "dvc.yaml"
    if not path.exists():
        return []
    if cut := graph_problems(layout):
        return cut
    has_stages = set(re.findall(r"^  train_(\w+):", path.read_text(), flags=re.MULTILINE))
    problems = []
    known = {*params.features, EMBEDDING, FUSION}
    for group in sorted(params.models.keys() - has_stages - known):
        near = difflib.get_close_matches(group, known, n=1)
        fix = f"did you mean {near[0]}?" if near else f"features has {', '.join(params.features)}"
        problems.append(f"params.yaml: models.{group}: there is no feature of that name; {fix}")
    for group in sorted((params.models.keys() & known) - has_stages):
        if not params.models[group]:
            continue
        if group in (EMBEDDING, FUSION):
            fix = f"take train_{group} and predict_{group} from the dvc.yaml in git"
            problems.append(f"params.yaml: models.{group}: dvc.yaml has no stages for it; {fix}")
            continue
        lines = STAGES_OF_A_FEATURE.format(name=group)
        problems.append(
            f"params.yaml: models.{group}: dvc.yaml has no stages for it; add these lines there, "
            f"after predict_logmel:\n{lines}"
        )
    problems += [
        f"params.yaml: models.{group}: missing, but dvc.yaml has its stages; add `{group}: {{}}`"
        for group in sorted(has_stages - params.models.keys())
    ]
    return problems
