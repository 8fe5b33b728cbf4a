"""A process that trainings share: each ends as it would alone, whatever becomes of the others."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from earmark.code_digests import sources_version
from earmark.engines.shared import TRAINER, train_together
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.params.reading import load_params, read_yaml
from earmark.repro.trainers import Trainers, trainers
from earmark.settings.profiles import overlay
from earmark.training.run import train_model
from tests.processes import wait_until
from tests.source_graph import ROOT
from tests.training.test_run import checkpoints, write_features

pytestmark = pytest.mark.slow

QUITS = """
from earmark.networks.densenet import DenseNet

class Quits(DenseNet):
    def forward(self, x):
        raise SystemExit(3)
"""
LONG = 10_000  # epochs: no training of them ends by itself


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """Features, and a network under three names, one of them to be trained for ever."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    layout = Layout(tmp_path / "repository")
    write_features(layout)
    raw = read_yaml(ROOT / "profiles" / "base.yaml")
    overlay(raw, read_yaml(ROOT / "tests" / "pipeline" / "tiny.yaml"))
    entry = json.loads(json.dumps(raw["models"]["logmel"]["densenet"]))
    endless = {**entry, "training": {"epochs": LONG, "epoch_choice": "last"}}
    (layout.root / "extensions").mkdir()
    (layout.root / "extensions" / "__init__.py").touch()
    (layout.root / "extensions" / "quits.py").write_text(QUITS)
    quits = {**entry, "network": {**entry["network"], "name": "extensions.quits:Quits"}}
    linear = {**entry, "network": {"name": "linear", "n_inputs": 80}}
    models = {"one": entry, "two": entry, "endless": endless, "linear": linear, "quits": quits}
    overlay(raw, {"models": {"logmel": models}})
    raw["runtime"]["checkpoint_seconds"] = 0.0
    with layout.params.open("w", encoding="utf-8") as file:
        YAML().dump(json.loads(json.dumps(raw)), file)
    return layout


@pytest.fixture
def lent(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trainers]:
    """The processes of a run; the first is named in the environment."""
    with trainers(layout.root, tmp_path, 1, {"PYTHONPATH": str(ROOT)}) as ours:
        for name, value in ours.lend("train@one", None).items():
            monkeypatch.setenv(name, value)
        yield ours


def request_of(layout: Layout, model: str, group: str = "logmel") -> dict[str, Any]:
    arguments = {"group": group, "model": model, "fold": "0"}
    title = f"train_{group} {model}-0"
    base = {"stage": "train", "title": title, "arguments": arguments}
    version = sources_version(layout.root, "extensions")
    return {**base, "code": "", "version": version, "lower": "model.batch_size"}


def end_of(layout: Layout, model: str, group: str = "logmel") -> str:
    """How the stage of a training ends that hands it over; "" where it is to train itself."""
    try:
        train_together(request_of(layout, model, group))
    except UserError as error:
        return str(error)
    except SystemExit as end:
        return f"exit {end.code}"
    return ""


def files_of(layout: Layout, member: str) -> dict[str, bytes]:
    folder = layout.model(member, "0")
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def connected(layout: Layout, path: str, model: str) -> socket.socket:
    """As a stage that has handed over a training and seen that it goes on."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    connection.sendall((json.dumps(request_of(layout, model)) + "\n").encode())
    assert wait_until(lambda: bool(checkpoints(layout)), seconds=120)
    return connection


@pytest.mark.usefixtures("lent")
def test_trainings_at_the_same_time_end_as_alone_and_a_failed_one_stops_no_other(
    layout: Layout, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    names = {"one": "logmel", "none": "patches", "two": "logmel", "quits": "logmel"}
    with caplog.at_level("INFO"), ThreadPoolExecutor() as pool:
        ends = list(pool.map(lambda name: end_of(layout, name, names[name]), names))
    assert [ends[0], ends[2]] == ["exit 0", "exit 0"]
    assert "params.yaml: models.patches.none" in ends[1]
    assert ends[3] == "exit 1"
    assert "SystemExit: 3" in capfd.readouterr().err
    assert "train_logmel two-0: " in caplog.text
    assert "one-0: epoch 1/" in caplog.text
    ours = {member: files_of(layout, member) for member in ("one", "two")}
    params = load_params(layout.params)
    for model in ("one", "two"):
        train_model(params, layout, "logmel", model, "0", None)
        assert files_of(layout, model) == ours[model]
    assert ours["one"] != ours["two"]


def test_a_training_ends_with_its_stage_and_a_rerun_goes_on(
    layout: Layout, lent: Trainers, caplog: pytest.LogCaptureFixture
) -> None:
    path = lent.lend("train@endless", None)[TRAINER]
    connected(layout, path, "endless").close()  # as by kill -9
    assert end_of(layout, "one") == "exit 0"  # the process is there for others
    with caplog.at_level("INFO"), ThreadPoolExecutor() as pool:
        ended = pool.submit(end_of, layout, "endless")
        has_epoch = wait_until(lambda: "endless-0: epoch" in caplog.text, seconds=60)
        lent.end()  # as by kill -9 of the process
        assert ended.result(timeout=60).startswith("the process that trained it with others was")
    assert has_epoch
    assert "endless-0: going on at epoch" in caplog.text
    assert end_of(layout, "one") == ""
    assert "train_logmel one-0: the process to train in is gone; this one trains" in caplog.text


@pytest.mark.usefixtures("lent")
def test_a_stage_trains_itself_what_has_no_steps_and_what_its_code_has_changed_for(
    layout: Layout, caplog: pytest.LogCaptureFixture
) -> None:
    assert end_of(layout, "one") == "exit 0"
    assert end_of(layout, "linear") == ""  # fitted at once, and without a word
    assert "this one trains" not in caplog.text
    (layout.root / "extensions" / "mine.py").write_text("")
    assert end_of(layout, "two") == ""
    assert "code has changed since" in caplog.text


def test_stages_go_where_the_fewest_are_and_a_dead_process_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[dict[str, str]] = []
    dead: set[str] = set()

    class Fake:
        def __init__(self, _: Path, path: Path, __: Path, environment: dict[str, str]) -> None:
            self.path, self.stages = path, set[str]()
            started.append(environment)

        def is_running(self) -> bool:
            return str(self.path) not in dead

        def end(self) -> None:
            dead.add(str(self.path))

    monkeypatch.setattr("earmark.repro.trainers._Process", Fake)
    with trainers(tmp_path, tmp_path, 2, {"DVC_EXP_NAME": "x"}) as ours:

        def lend(stage: str, gpu: str | None = None) -> str:
            return Path(ours.lend(stage, gpu)[TRAINER]).name[len("trainer") : -len(".socket")]

        assert lend("a") == "1"
        ours.take_back("a")
        assert lend("a") == "1"
        assert [lend("b"), lend("c")] == ["2", "1"]
        ours.take_back("b")
        assert lend("d") == "2"
        dead.add(str(tmp_path / "trainer2.socket"))
        assert lend("e") == "3"
        assert [lend("f", "0"), lend("g", "1"), lend("h", "0")] == ["4", "5", "4"]
    assert started[0] == {"DVC_EXP_NAME": "x"}
    assert started[-1] == {"DVC_EXP_NAME": "x", "CUDA_VISIBLE_DEVICES": "1"}
    assert dead == {str(tmp_path / f"trainer{i}.socket") for i in range(1, 6)}
