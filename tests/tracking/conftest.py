"""An embedded store of its own for each test, and params to track in it."""

import os
import shutil
from pathlib import Path
from unittest.mock import patch

import pytest

from earmark.layout import Layout
from earmark.params import Params
from earmark.params.reading import load_params
from earmark.tracking.store import prepare_store
from tests.source_graph import ROOT


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh database, which takes MLflow seconds to make."""
    layout = Layout(tmp_path_factory.mktemp("store"))
    with patch.dict(os.environ):
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        prepare_store(layout)
    return layout.home


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> Layout:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_EXP_NAME", "loud-mixup")
    layout = Layout(tmp_path / "repo")
    shutil.copytree(empty_store, layout.home)
    return layout


@pytest.fixture
def params() -> Params:
    """Those of the demo, for a corpus by the name of x."""
    usual = load_params(ROOT / "params.yaml")
    return usual.model_copy(update={"corpus": usual.corpus.model_copy(update={"name": "x"})})
