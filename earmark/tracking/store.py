"""Where runs are kept: the embedded sqlite store, or the server of MLFLOW_TRACKING_URI."""

import logging
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.file_locks import lock_now
from earmark.layout import Layout
from earmark.tracking.secrets import masked, one_line
from earmark.whole_files import whole_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

# What the end of a stage waits for its last records: for a server that may never answer, and for a
# file, which only a machine under load is slow to write.
REMOTE_SECONDS, LOCAL_SECONDS = 10, 120
LOCK_SECONDS = 60  # for another process that makes the database

# Set before mlflow is imported: no telemetry, no messages of its own (they repeat addresses with
# their passwords, and `warn_untracked` says what counts), no long waiting.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(REMOTE_SECONDS))
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # it prints the password with it
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # a line for each retry

ARTIFACTS = ".earmark/mlflow/artifacts"
ADDRESSES = (  # the columns of the database that hold the address of artifacts
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
BUSY = "database is locked"  # by another process: sqlite's own words
_OTHER_SCHEMA = re.compile(r"database schema|can't locate revision", re.I)


def store_uri(layout: Layout) -> str:
    """The embedded sqlite store, or the server that MLFLOW_TRACKING_URI names."""
    return os.environ.get("MLFLOW_TRACKING_URI", "").strip() or f"sqlite:///{_database(layout)}"


def is_remote(layout: Layout) -> bool:
    """Whether the store is reached over a network, not in a file of this machine."""
    scheme = re.match(r"([\w.+-]+):", store_uri(layout))
    return scheme is not None and scheme[1] not in ("sqlite", "file")


def wait_seconds(layout: Layout) -> float:
    """How long a stage waits for the store when its own work is done."""
    if not is_remote(layout):
        return LOCAL_SECONDS
    try:  # whoever has a slow server says so by MLflow's own variable
        return float(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"])
    except (KeyError, ValueError):
        return REMOTE_SECONDS


def artifact_location(layout: Layout) -> str | None:
    """The folder of artifacts of the embedded store as an address; a server has its own."""
    is_embedded = store_uri(layout) == f"sqlite:///{_database(layout)}"
    return (layout.home / "mlflow" / "artifacts").as_uri() if is_embedded else None


def prepare_store(layout: Layout) -> str:
    """Make the embedded store usable where it now is; returns the store's uri, masked.

    A server is asked for nothing.
    """
    if artifact_location(layout):
        with locked(layout):
            open_store(layout)
    return masked(store_uri(layout))


def check_store(layout: Layout) -> None:
    """Refuse an embedded store that was deleted under a run: sqlite would not notice.

    Raises:
        FileNotFoundError: its database is gone.
    """
    if artifact_location(layout) and not _database(layout).exists():
        raise FileNotFoundError(f"{_database(layout)} was deleted")


@contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """Make a database or parent run alone: sqlite breaks for good where several do it at once.

    A remote store needs no lock, and nobody is to wait for a server with one.

    Raises:
        TimeoutError: another process holds it, perhaps stopped.
    """
    if is_remote(layout):
        yield
        return
    path = layout.home / "mlflow.lock"
    (layout.home / "mlflow").mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + LOCK_SECONDS
    with path.open("w") as lock:
        while not lock_now(lock):
            if time.monotonic() > until:
                raise TimeoutError(f"another process has held {path} for {LOCK_SECONDS} s")
            time.sleep(0.05)
        yield


def open_store(layout: Layout) -> "MlflowClient":
    """A client of the store; the embedded one is made, or repaired, first. To be called locked."""
    from mlflow import MlflowClient

    if location := artifact_location(layout):
        database = _database(layout)
        if not database.exists() or not database.stat().st_size:
            # Whole or not at all: a database that was cut short stays broken.
            with whole_file(database) as part:
                MlflowClient(f"sqlite:///{part}").search_experiments(max_results=1)
        _follow_moved_artifacts(database, location)
    return MlflowClient(store_uri(layout))


@contextmanager
def forgiving(layout: Layout, what: str) -> Iterator[None]:
    """Log an error of the store instead of ending the stage; `what` says what that costs."""
    try:
        yield
    except Exception as error:  # whatever a server or a disk may throw
        warn_untracked(layout, what, error)


def warn_untracked(layout: Layout, what: str, error: object) -> None:
    """Say in one line, without passwords, that the store refused, and how to fix it."""
    problem, fix = problem_and_fix(layout, error)
    uri = masked(store_uri(layout))
    logger.warning("MLflow at %s refused (%s); %s. Fix: %s", uri, problem, what, fix)


def problem_and_fix(layout: Layout, error: object) -> tuple[str, str]:
    """What an error of the store says, without passwords, and how to fix it."""
    folder, problem = layout.home / "mlflow", one_line(error)
    if not artifact_location(layout):
        fix = "check that server, its address and password, or unset MLFLOW_TRACKING_URI"
    elif BUSY in problem or isinstance(error, TimeoutError):
        fix = f"another process uses {folder}; end it, or wait until it ends"
    elif _OTHER_SCHEMA.search(problem):
        # MLflow advises another fix, which would follow in the same line.
        problem = "it was made by another version of MLflow"
        fix = f"run `make setup`, or move {folder} away: a new store is made"
    else:
        fix = f"make {folder} writable and whole, or move it away: a new store is made"
    return problem, fix


def _database(layout: Layout) -> Path:
    return layout.home / "mlflow" / "mlflow.db"


def _follow_moved_artifacts(database: Path, location: str) -> None:
    """Let addresses begin with `location` again after the repository was moved or copied.

    MLflow stores absolute addresses alone, and its relative scheme needs a server.
    """
    with closing(sqlite3.connect(database)) as connection:
        # Experiments stand for all: addresses change in one transaction. Only read if none moved.
        moved = "instr({0}, :mark) AND substr({0}, 1, length(:new)) != :new"
        values = {"new": location, "mark": f"/{ARTIFACTS}"}
        query = f"SELECT 1 FROM experiments WHERE {moved.format('artifact_location')}"
        if connection.execute(query, values).fetchone() is None:
            return
        with connection:
            for table, column in ADDRESSES:
                rest = f"substr({column}, instr({column}, :mark) + length(:mark))"
                change = f"UPDATE {table} SET {column} = :new || {rest}"
                connection.execute(f"{change} WHERE {moved.format(column)}", values)
