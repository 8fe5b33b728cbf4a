"""The order of the files: what takes minutes comes first, so that both workers end together."""

import logging
import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

# Of a training of seconds they measure nothing, and their thread outlives the test.
os.environ.setdefault("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")


TESTS = Path(__file__).parent
# By processor time, from minutes to six seconds, as `pytest --durations=0` tells it.
LONGEST = [
    *("pipeline/test_pipeline.py", "pipeline/test_tutorial.py", "repro/test_repro.py"),
    *("settings/test_profiles.py", "exporting/test_onnx_graph.py", "stages/test_killed_worker.py"),
    *("stages/test_ensemble_and_evaluate.py", "experiments/test_queue.py", "test_setup.py"),
    *("networks/test_every_network.py", "settings/test_validation.py", "test_startup.py"),
    *("networks/test_paper_configs.py", "experiments/test_papers.py", "test_processes.py"),
    *("corpora/adapters/test_registry.py", "stages/test_decode.py", "test_code_edits.py"),
    *("pipeline/test_planted_leak.py", "pipeline/test_systems.py", "test_truth.py"),
    *("test_workers.py", "reports/test_report.py", "training/test_loop.py"),
]
PLACES = {TESTS / name: place for place, name in enumerate(LONGEST)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (PLACES.get(item.path, len(PLACES)), item.path not in slow))


@pytest.fixture(autouse=True)
def handlers_as_they_were() -> Iterator[None]:
    """`main` lets handlers write each warning once; here they are pytest's, for all other tests."""
    before = {handler: list(handler.filters) for handler in logging.getLogger().handlers}
    yield
    for handler, filters in before.items():
        handler.filters[:] = filters


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
