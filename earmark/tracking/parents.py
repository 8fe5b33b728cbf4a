"""The parent run: it stands for one DVC experiment on one commit with one set of params."""

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.layout import Layout
from earmark.params import Params
from earmark.params.reading import flattened
from earmark.tracking.store import artifact_location, locked, open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

# Keys of params.yaml that change no result: they are free to differ within one parent.
NO_RESULT = {"runtime.workers", "runtime.checkpoint_seconds", "corpus.max_quarantined"}
# MLflow's page then opens in its view for machine learning, not in the one for language models.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
PARAMS_PER_BATCH = 100  # MLflow takes no more at once
LONGEST_KEY = 250
LONGEST_NAME = 200  # of an experiment: some databases take 256 characters


def open_parent(layout: Layout, params: Params) -> tuple["MlflowClient", str, str]:
    """The store's client, the id of the experiment of the corpus, and that of the parent run.

    Whoever comes first makes the parent, with its params and corpus; trainings and evaluation find
    it by the DVC experiment, the commit and the digest of the params.
    """
    experiment, commit = dvc_experiment(), git_commit(layout.root)
    shown = tracked_params(params)
    digest = hashlib.blake2b(json.dumps(shown, sort_keys=True).encode(), digest_size=8).hexdigest()
    tags = {"dvc.exp": experiment, "git.commit": commit, "params.digest": digest}
    wanted = {**tags, "role": "experiment"}
    # A plain repro has no name of its own, and there are many of them.
    name = experiment if experiment != "workspace" else f"{commit[:7]}-{digest[:6]}"
    with locked(layout):
        client = open_store(layout)
        experiment_id = _experiment(client, layout, f"earmark/{params.corpus.name}")
        known = _runs_with(client, experiment_id, wanted)
        if not known:
            also = {"corpus": params.corpus.name}
            client.create_run(experiment_id, tags={**wanted, **also}, run_name=name)
            # On a server there is no lock: of two that were made at once all take the first.
            known = _runs_with(client, experiment_id, wanted)
        parent = known[0]
        run_id = str(parent.info.run_id)
        if parent.info.status == "RUNNING":  # new, or whoever made it was killed
            log_params(client, run_id, shown)
            log_corpus(client, run_id, params, layout)
            client.set_terminated(run_id)  # nobody would, if the pipeline were stopped
    return client, experiment_id, run_id


def _runs_with(client: "MlflowClient", experiment_id: str, tags: dict[str, str]) -> "list[Run]":
    """The runs that have all these tags, oldest first.

    MLflow's queries know no escape for a quote, which the name of an experiment may have: they are
    asked for digests alone, and the rest is compared here.
    """
    query = f"tags.`params.digest` = '{tags['params.digest']}' and tags.role = '{tags['role']}'"
    found = client.search_runs([experiment_id], query, order_by=["attributes.start_time ASC"])
    return [run for run in found if tags.items() <= run.data.tags.items()]


def tracked_params(params: Params) -> dict[str, Any]:
    """Params under dotted keys, without those that change no result."""
    flat = flattened(params.model_dump(mode="json"))
    return {key: value for key, value in flat.items() if key not in NO_RESULT}


def log_params(
    client: "MlflowClient", run_id: str, params: dict[str, Any], *, known: Container[str] = ()
) -> None:
    """Log nested params under dotted keys, but for the `known`: MLflow lets none change."""
    from mlflow.entities import Param

    flat = {taken_key(key): str(value) for key, value in flattened(params).items()}
    entities = [Param(key, value) for key, value in flat.items() if key not in known]
    for i in range(0, len(entities), PARAMS_PER_BATCH):
        client.log_batch(run_id, params=entities[i : i + PARAMS_PER_BATCH])


def taken_key(key: str) -> str:
    """A key as MLflow takes it: what it takes in none becomes `_`, and a long one is cut."""
    key = re.sub(r"[^\w. -]", "_", key)
    if len(key) <= LONGEST_KEY:
        return key
    digest = hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
    return f"{key[: LONGEST_KEY - 17]}-{digest}"


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
    """The id of the experiment of that name; of a further one if a user deleted the first."""
    name = name[:LONGEST_NAME]
    experiment = _made(client, layout, name)
    n = 1
    while experiment.lifecycle_stage != "active":  # a deleted one takes no runs, and keeps its name
        n += 1
        experiment = _made(client, layout, f"{name} ({n})")
    for key, value in EXPERIMENT_TAGS.items():
        if key not in experiment.tags:  # made by an older earmark; else the user's own choice
            client.set_experiment_tag(experiment.experiment_id, key, value)
    return str(experiment.experiment_id)


def _made(client: "MlflowClient", layout: Layout, name: str) -> "Experiment":
    """The experiment of that name, which is made where there is none."""
    from mlflow import MlflowException

    if known := client.get_experiment_by_name(name):
        return known
    try:
        new = client.create_experiment(name, artifact_location(layout), tags=EXPERIMENT_TAGS)
    except MlflowException:
        # Where no lock is held, another process may have been faster.
        if known := client.get_experiment_by_name(name):
            return known
        raise
    return client.get_experiment(new)
