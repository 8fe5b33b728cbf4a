"""Where runs are kept: the embedded sqlite store, or the server of MLFLOW_TRACKING_URI."""

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.layout import Layout
from earmark.store import whole_file

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

# Set before mlflow is imported: no telemetry, no messages about a new database, no long waiting.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")

ARTIFACTS = ".earmark/mlflow/artifacts"
ADDRESSES = {  # the columns of the database that hold the address of artifacts
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
}


def store_uri(layout: Layout) -> str:
    """The embedded sqlite store, or the server that MLFLOW_TRACKING_URI names."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{_database(layout)}"


def artifact_location(layout: Layout) -> str | None:
    """The folder of artifacts of the embedded store as an address; a server has its own."""
    is_embedded = store_uri(layout) == f"sqlite:///{_database(layout)}"
    return (layout.home / "mlflow" / "artifacts").as_uri() if is_embedded else None


def prepare_store(layout: Layout) -> str:
    """Make the embedded store usable where it now is; returns the store's uri."""
    with locked(layout):
        open_store(layout)
    return store_uri(layout)


@contextmanager
def locked(layout: Layout) -> Iterator[None]:
    """Make a database or parent run alone: sqlite breaks for good where several do it at once."""
    (layout.home / "mlflow").mkdir(parents=True, exist_ok=True)
    with (layout.home / "mlflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def open_store(layout: Layout) -> "MlflowClient":
    """A client of the store; the embedded one is made, or repaired, first. To be called locked."""
    from mlflow import MlflowClient

    if location := artifact_location(layout):
        if not _database(layout).exists():
            # Whole or not at all: a database that was cut short stays broken.
            with whole_file(_database(layout)) as part:
                MlflowClient(f"sqlite:///{part}").search_experiments(max_results=1)
        _follow_moved_artifacts(_database(layout), location)
    return MlflowClient(store_uri(layout))


@contextmanager
def forgiving(layout: Layout, what: str) -> Iterator[None]:
    """Log an error of the store instead of ending the stage; `what` says what that costs."""
    try:
        yield
    except Exception as error:  # whatever a server or a disk may throw
        warn_untracked(store_uri(layout), what, error)


def warn_untracked(uri: str, what: str, error: Exception) -> None:
    """Say once that the store refused."""
    logger.warning(
        "MLflow at %s refused (%s); %s. Fix: start that server, or unset MLFLOW_TRACKING_URI for "
        "the embedded store",
        uri,
        error,
        what,
    )


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
        query = f"SELECT 1 FROM experiments WHERE {moved.format(ADDRESSES['experiments'])}"
        if connection.execute(query, values).fetchone() is None:
            return
        with connection:
            for table, column in ADDRESSES.items():
                rest = f"substr({column}, instr({column}, :mark) + length(:mark))"
                change = f"UPDATE {table} SET {column} = :new || {rest}"
                connection.execute(f"{change} WHERE {moved.format(column)}", values)
