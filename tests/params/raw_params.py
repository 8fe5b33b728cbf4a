"""Profiles as raw mappings, with changes, for the tests of params and settings."""

import copy
from typing import Any

from earmark.params import Params
from earmark.params.reading import parse_params, read_yaml
from earmark.settings.profiles import overlay
from earmark.settings.validation import option_problems
from tests.source_graph import ROOT

DENSENET = "models.logmel.densenet_logmel"
SAMPLECNN = "models.wave16k.samplecnn"
ATTENTION = "models.embedding.attention"
MISSING = object()  # as a value: the key is taken away


def profile(name: str) -> dict[str, Any]:
    """What `profile use` would write, with a root for the corpus where the user gives one."""
    raw: dict[str, Any] = read_yaml(ROOT / "profiles" / "base.yaml")
    overlay(raw, read_yaml(ROOT / "profiles" / f"{name}.yaml") or {})
    raw["corpus"]["root"] = raw["corpus"]["root"] or "recordings"
    for group in ("logmel", "logmel128"):  # the other models each read their own feature
        raw["models"][group].pop("baseline", None)
    return raw


def three_networks() -> dict[str, Any]:
    """The profile demo with a DenseNet on another log-mel in place of its own network."""
    raw = profile("demo")
    overlay(raw, read_yaml(ROOT / "tests" / "params" / "three_networks.yaml"))
    return raw


def changed(raw: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy with values set, or taken away, by key path."""
    raw = copy.deepcopy(raw)
    for path, value in changes.items():
        *parents, last = path.split(".")
        section = raw
        for key in parents:
            section = section[key]
        if value is MISSING:
            section.pop(last, None)
        else:
            section[last] = value
    return raw


def problems_with(raw: Any) -> list[str]:
    """What reading and then `validate --params-only` report, but for stages and weight files."""
    params, problems = parse_params(raw, "params.yaml")
    return problems + (option_problems(params) if params else [])


def sound(raw: dict[str, Any]) -> Params:
    """The params of a raw mapping, which must be sound."""
    params, problems = parse_params(raw, "params.yaml")
    assert params is not None
    assert problems == []
    return params


def assert_one_problem(raw: dict[str, Any], *words: str) -> None:
    """There is one problem, it is one line, and it holds these words."""
    problems = problems_with(raw)
    assert len(problems) == 1, problems
    assert problems[0].startswith("params.yaml: ")
    assert "\n" not in problems[0]
    assert [word for word in words if word not in problems[0]] == [], problems[0]
