"""MLflow's model registry: each corpus has one model there, whose newest version has an alias."""

import re
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALIAS = "newest"
_NOT_IN_NAMES = re.compile(r"[/:\s]+")


def name_of(corpus: str) -> str:
    """What the registry calls the ensembles of a corpus."""
    return f"earmark-{_NOT_IN_NAMES.sub('-', corpus)}"


def register(client: "MlflowClient", corpus: str, model_id: str, run_id: str) -> None:
    """Let `models:/earmark-CORPUS@newest` be the ensemble that an evaluation has logged.

    One that is a version already stays that version, and gets the alias.
    """
    from mlflow.exceptions import MlflowException

    name = name_of(corpus)
    with suppress(MlflowException):  # it is there; if it is not, the next call says why
        client.create_registered_model(name)
    # Not `models:/ID`, which MLflow would look up in the store that the environment names.
    source = client.get_logged_model(model_id).artifact_location
    known = client.search_model_versions(f"name = '{name}'")
    version = next((one for one in known if one.source == source), None)
    if version is None:
        version = client.create_model_version(name, source, run_id, model_id=model_id)
    client.set_registered_model_alias(name, ALIAS, str(version.version))
