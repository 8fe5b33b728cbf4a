"""Everything that is wrong with params.yaml, found before any work: what only code can judge."""

import re
from typing import Any

from pydantic import TypeAdapter, ValidationError

from earmark import features
from earmark.corpora.adapters import find as find_adapter
from earmark.corpora.synthetic.corpus import DemoOptions
from earmark.layout import Layout
from earmark.params import Params
from earmark.params.roster import EMBEDDING, FUSION, PATCHES
from earmark.settings.model_validation import extractor_problems, model_problems
from earmark.settings.objections import objections
from earmark.sound import sox
from earmark.taggers.device import Device

STAGES_OF_A_FEATURE = """\
  train_{name}:
    <<: *train
    vars: [{{feature: {name}}}]
    matrix: {{model: "${{models.{name}}}", fold: "${{folds}}"}}
  predict_{name}:
    <<: *predict
    vars: [{{feature: {name}}}]
    matrix: {{model: "${{models.{name}}}", fold: "${{folds}}"}}"""


def option_problems(params: Params, source: str = "params.yaml") -> list[str]:
    """Options that only the code they are for can judge: networks, effects, features, demo."""
    problems = _feature_problems(params)
    if not problems:
        for group, models in params.models.items():
            for name, entry in models.items():
                if group in params.features or group in (EMBEDDING, FUSION):
                    problems += model_problems(entry, params, group, name)
    for name, extractor in params.extractors.items():
        problems += extractor_problems(extractor, f"extractors.{name}")
    problems += objections(Device.choose, params.runtime)
    for effect, options in params.augment.items():
        problems += objections(sox.check_options, effect, options)
    for name, options in params.demo.items():
        problems += _demo_problems(options, f"demo.{name}")
    problems += objections(find_adapter, params.corpus.adapter)
    return [f"{source}: {line}" for line in problems]


def _feature_problems(params: Params) -> list[str]:
    problems = []
    for name, feature in params.features.items():
        found = objections(
            features.build, feature.type, feature.options, sample_rate=params.decode.sample_rate
        )
        problems += [f"features.{name}.{line}" for line in found]
        if name in (EMBEDDING, FUSION):
            problems.append(f"features.{name}: the name is earmark's own; take another")
        elif feature.type == EMBEDDING:
            fix = "extractors make embeddings; name a model under models.embedding"
            problems.append(f"features.{name}.type: {EMBEDDING} is made of no waveform; {fix}")
    patches = params.features.get(PATCHES)
    if params.extractors and patches is not None and patches.type != "patches":
        problems.append(f"features.{PATCHES}.type: extractors read it; it must be patches")
    return problems


def _demo_problems(options: dict[str, Any], key: str) -> list[str]:
    try:
        TypeAdapter(DemoOptions).validate_python(options)
    except ValidationError as error:
        return [
            f"{'.'.join([key, *map(str, problem['loc'])])}: "
            f"{problem['msg'].removeprefix('Value error, ')} (profiles/demo.yaml shows one)"
            for problem in error.errors()
        ]
    return [f"{key}: {line}" for line in objections(DemoOptions, **options)]


def stage_problems(params: Params, layout: Layout) -> list[str]:
    """Features whose models have no stages in dvc.yaml, and stages whose models have no section."""
    path = layout.root / "dvc.yaml"
    if not path.exists():
        return []
    has_stages = set(re.findall(r"^  train_(\w+):", path.read_text(), flags=re.MULTILINE))
    problems = []
    for group in sorted(params.models.keys() - has_stages):
        lines = STAGES_OF_A_FEATURE.format(name=group)
        problems.append(
            f"params.yaml: models.{group}: dvc.yaml has no stages for it; add under stages:\n{lines}"
        )
    problems += [
        f"params.yaml: models.{group}: missing, but dvc.yaml has its stages; add `{group}: {{}}`"
        for group in sorted(has_stages - params.models.keys())
    ]
    return problems
