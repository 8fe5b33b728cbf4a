"""Fixtures for what a trained tagger does."""

from pathlib import Path

import pytest

from earmark.inference.bundle import export
from earmark.inference.workspace import ensemble_rules
from tests.inference.workspaces import RUNTIME, make_workspace, params_of


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported tagger of two members with two folds."""
    layout = make_workspace(tmp_path_factory.mktemp("workspace"))
    out = tmp_path_factory.mktemp("out") / "tagger"
    params = params_of(layout).model_copy(update={"runtime": RUNTIME})
    export(ensemble_rules(layout), params, layout, out)
    return out
