"""The parent run: it stands for one DVC experiment on one commit with one set of params."""

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.layout import Layout
from earmark.params import Params
from earmark.params.reading import flattened
from earmark.tracking.store import artifact_location, locked, open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Keys of params.yaml that change no result: they are free to differ within one parent.
NO_RESULT = {"runtime.workers", "runtime.checkpoint_seconds", "corpus.max_quarantined"}
# MLflow's page then opens in its view for machine learning, not in the one for language models.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
PARAMS_PER_BATCH = 100  # MLflow takes no more at once


def open_parent(layout: Layout, params: Params) -> tuple["MlflowClient", str, str]:
    """The store's client, the id of the experiment of the corpus, and that of the parent run.

    Whoever comes first makes the parent, with its params and corpus; trainings and evaluation find
    it by the DVC experiment, the commit and the digest of the params.
    """
    with locked(layout):
        client = open_store(layout)
        experiment_id = _experiment(client, layout, f"earmark/{params.corpus.name}")
        shown = tracked_params(params)
        digest = hashlib.blake2b(json.dumps(shown, sort_keys=True).encode(), digest_size=8)
        experiment, commit = dvc_experiment(), git_commit(layout.root)
        tags = {"dvc.exp": experiment, "git.commit": commit, "params.digest": digest.hexdigest()}
        wanted = {**tags, "role": "experiment"}
        query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in wanted.items())
        known = client.search_runs([experiment_id], query, max_results=1)
        if known:
            return client, experiment_id, str(known[0].info.run_id)
        # A plain repro has no name of its own, and there are many of them.
        name = experiment if experiment != "workspace" else f"{commit[:7]}-{digest.hexdigest()[:6]}"
        wanted |= {"corpus": params.corpus.name}
        run_id = str(client.create_run(experiment_id, tags=wanted, run_name=name).info.run_id)
        log_params(client, run_id, shown)
        log_corpus(client, run_id, params, layout)
        client.set_terminated(run_id)  # nobody would, if the pipeline were stopped
    return client, experiment_id, run_id


def tracked_params(params: Params) -> dict[str, Any]:
    """Params under dotted keys, without those that change no result."""
    flat = flattened(params.model_dump(mode="json"))
    return {key: value for key, value in flat.items() if key not in NO_RESULT}


def log_params(client: "MlflowClient", run_id: str, params: dict[str, Any]) -> None:
    """Log nested params under dotted keys; what MLflow takes in no key becomes `_`."""
    from mlflow.entities import Param

    flat = {re.sub(r"[^\w. -]", "_", key): str(value) for key, value in flattened(params).items()}
    entities = [Param(key, value) for key, value in flat.items()]
    for i in range(0, len(entities), PARAMS_PER_BATCH):
        client.log_batch(run_id, params=entities[i : i + PARAMS_PER_BATCH])


def log_corpus(client: "MlflowClient", run_id: str, params: Params, layout: Layout) -> None:
    """Log the corpus as the run's dataset, with the md5 that dvc.lock has of its clips table."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    if not layout.clips.exists():
        return
    dataset = Dataset(
        name=params.corpus.name,
        digest=md5_of(layout.clips),
        source_type="local",
        source=json.dumps({"uri": params.corpus.root}),
    )
    context = InputTag("mlflow.data.context", "training")
    client.log_inputs(run_id, [DatasetInput(dataset, [context])])


def md5_of(path: Path) -> str:
    """The digest of a file, as DVC records it."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def dvc_experiment() -> str:
    """The name that DVC gave to the experiment under way, or `workspace` for a plain repro."""
    return os.environ.get("DVC_EXP_NAME") or "workspace"


def git_commit(root: Path) -> str:
    """The commit that is checked out, or `none` outside a repository."""
    command = ["git", "rev-parse", "HEAD"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "none"


def _experiment(client: "MlflowClient", layout: Layout, name: str) -> str:
    known = client.get_experiment_by_name(name)
    if known is None:
        location = artifact_location(layout)
        return str(client.create_experiment(name, location, tags=EXPERIMENT_TAGS))
    for key, value in EXPERIMENT_TAGS.items():
        if key not in known.tags:  # made by an older earmark; else the user's own choice
            client.set_experiment_tag(known.experiment_id, key, value)
    return str(known.experiment_id)
