"""Servers that hang, drip or refuse: seconds, one line, no password, and the training goes on."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, closing, suppress
from pathlib import Path

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from earmark.__main__ import app
from earmark.layout import Layout
from earmark.params import Params
from earmark.tracking.evaluation import track_evaluation
from earmark.tracking.store import locked, prepare_store
from tests.tracking.runs import followed

Answer = Callable[[socket.socket], None]


def never(_: socket.socket) -> None:
    """Accept, and never answer."""
    threading.Event().wait()


def drip(connection: socket.socket) -> None:
    """One byte at a time: no read ever times out."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.2)


def refuse(connection: socket.socket) -> None:
    """Tell to come back in an hour."""
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 503 busy\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n")


def describe(connection: socket.socket) -> None:
    """Tell of a run, whatever is asked."""
    connection.recv(65_536)
    info = {"run_id": "r", "run_name": "densenet-0", "experiment_id": "1", "status": "RUNNING"}
    body = json.dumps({"run": {"info": info, "data": {}}, "run_info": info}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    connection.sendall(head.encode() + body)
    connection.close()


@pytest.fixture
def server(
    request: pytest.FixtureRequest,
    layout: Layout,  # noqa: ARG001  (it clears the address that is set here)
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """A server that answers as the parameter says, named with a password in its address."""
    answer: Answer = request.param
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        threading.Thread(target=_serve, args=(listening, answer), daemon=True).start()
        uri = f"http://someone:hidden@127.0.0.1:{listening.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        yield uri


def _serve(listening: socket.socket, answer: Answer) -> None:
    def one(connection: socket.socket) -> None:
        with suppress(OSError):  # the client gave up
            answer(connection)

    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        threading.Thread(target=one, args=(connection,), daemon=True).start()


@pytest.mark.slow
@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("server", [never, drip, refuse], indirect=True)
def test_a_server_that_does_not_answer_costs_seconds_and_one_line_without_its_password(
    layout: Layout,
    params: Params,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with followed(layout, params) as run:
        start = time.monotonic()
        for epoch in range(20):
            run.log_epoch({"epoch": epoch + 1, "map_at_3": 0.5})
        assert time.monotonic() - start < 1  # the training itself waits for nothing
        start = time.monotonic()
    assert time.monotonic() - start < 8
    assert run.is_lost
    (record,) = caplog.records
    assert "training goes on untracked; not recorded: everything of densenet-0" in record.message
    assert "\n" not in record.message
    printed = capfd.readouterr()
    assert "hidden" not in caplog.text + printed.out + printed.err


@pytest.mark.slow
@pytest.mark.parametrize("server", [never], indirect=True)
def test_nobody_waits_for_a_server_with_a_lock(
    layout: Layout, params: Params, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with followed(layout, params):
        time.sleep(0.5)  # its thread waits for the server by now
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        start = time.monotonic()
        with locked(layout):
            pass
        assert time.monotonic() - start < 1
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server)


@pytest.mark.parametrize("server", [never], indirect=True)
def test_the_address_of_a_server_is_printed_at_once_without_its_password(
    layout: Layout, server: str
) -> None:
    assert prepare_store(layout) == server.replace("someone:hidden", "***")


@pytest.mark.slow
@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("server", [never], indirect=True)
def test_an_evaluation_waits_seconds_for_a_server_that_never_answers(
    layout: Layout, params: Params, caplog: pytest.LogCaptureFixture
) -> None:
    start = time.monotonic()
    track_evaluation(params, layout)
    assert time.monotonic() - start < 20
    (record,) = caplog.records
    assert "evaluation goes on untracked; not recorded: scores and ensemble" in record.message
    assert "hidden" not in record.message


def test_the_command_makes_no_store_in_any_folder(tmp_path: Path) -> None:
    with chdir(tmp_path):
        done = CliRunner().invoke(app, ["mlflow-uri"])
    assert "run this in the folder of dvc.yaml" in str(done.exception)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("server", [never], indirect=True)
def test_the_command_prints_no_password(layout: Layout, server: str) -> None:
    layout.root.mkdir(exist_ok=True)
    layout.params.touch()
    with chdir(layout.root):
        done = CliRunner().invoke(app, ["mlflow-uri"])
    assert done.exit_code == 0
    assert done.output.strip() == server.replace("someone:hidden", "***")


@pytest.mark.parametrize("server", [describe], indirect=True)
def test_a_run_that_ends_prints_no_address(server: str, capfd: pytest.CaptureFixture[str]) -> None:
    MlflowClient(server).set_terminated("r")
    printed = capfd.readouterr()
    assert "hidden" not in printed.out + printed.err
