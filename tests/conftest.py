"""The order of the files: what takes minutes comes first, so that both workers end together."""

import os
from contextlib import nullcontext
from typing import Any

import pytest

# Of a training of seconds they measure nothing, and their thread outlives the test.
os.environ.setdefault("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.parent.name != "pipeline", item.path not in slow))


@pytest.fixture
def threads_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """No look for libraries with threads at each clip, which takes longer than a tiny clip does."""
    monkeypatch.setattr("earmark.processes.one_thread", nullcontext)


@pytest.fixture
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made and not drawn, the most of the work of a page, but for `drawn` tests."""
    if request.node.get_closest_marker("drawn"):
        return

    def write(_: Any, out: Any, **__: Any) -> None:
        out.write(b"<svg></svg>")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", write)
