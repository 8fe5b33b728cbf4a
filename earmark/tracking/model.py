"""The ensemble as a model of MLflow: `mlflow.pyfunc.load_model` tags recordings with it."""

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import earmark
from earmark.corpora.stored_tables import read_plan
from earmark.ensemble.network_folders import network_folders
from earmark.evaluation.predictions import METADATA, read_metadata
from earmark.layout import Layout
from earmark.params.reading import load_params
from earmark.taggers.description import DESCRIPTION, WEIGHTS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

# Loaded by MLflow under this name; it knows nothing of MLflow.
LOADER = "earmark.inference.pyfunc"
# Every parent has a copy. What is larger stays where it is whole already: in DVC's cache.
MAX_MEGABYTES = 250


def log_ensemble(
    client: "MlflowClient", experiment_id: str, run_id: str, layout: Layout
) -> str | None:
    """Log the networks in use with all that it takes to use them; returns the model's id.

    An ensemble that is larger than MAX_MEGABYTES is not copied: a tag of the run says so. One that
    the run has already is not logged again.
    """
    from mlflow.entities import LoggedModelOutput

    files = _files(layout)
    megabytes = sum(path.stat().st_size for path in files.values()) / 1e6
    if megabytes > MAX_MEGABYTES:
        fix = "`dvc pull` fetches it for this commit, `python -m earmark predict` uses it"
        client.set_tag(run_id, "ensemble", f"not logged: {megabytes:.0f} MB; {fix}")
        return None
    digest = hashlib.blake2b(digest_size=16)
    for name, path in files.items():
        digest.update(name.encode() + path.read_bytes())
    known = client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")
    same = [model for model in known if model.tags.get("digest") == digest.hexdigest()]
    if same and same[0].status == "READY":
        return str(same[0].model_id)
    # One that a kill left half uploaded is uploaded again.
    model = (
        same[0]
        if same
        else client.create_logged_model(
            experiment_id,
            name="ensemble",
            source_run_id=run_id,
            tags={"digest": digest.hexdigest()},
            params={
                key: str(value) for key, value in read_metadata(layout.ensemble)["weights"].items()
            },
            model_type="audio tagger",
        )
    )
    model_id = str(model.model_id)
    with TemporaryDirectory() as scratch:
        _save(Path(scratch), files, layout, run_id=run_id, model_id=model_id)
        client.log_model_artifacts(model_id, f"{scratch}/model")
    client.finalize_logged_model(model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
    return model_id


def _files(layout: Layout) -> dict[str, Path]:
    """What `load_ensemble` reads, by its path below the root: members in use and extractors."""
    metadata = read_metadata(layout.ensemble)
    paths = [layout.params, layout.plan, layout.ensemble / METADATA]
    plan = read_plan(layout)
    used = {name: plan["folds"] for name, weight in metadata["weights"].items() if weight > 0}
    for folder in sorted(network_folders(used, layout).values()):
        paths += [folder / DESCRIPTION, folder / WEIGHTS]
    return {path.relative_to(layout.root).as_posix(): path for path in paths}


def pins(lock: Path) -> list[str]:
    """The lock's lines without its hashes, beside which MLflow would not see another version."""
    lines = lock.read_text().splitlines() if lock.exists() else []
    return [line.removesuffix(" \\") for line in lines if line[:1].isalnum()]


def _save(
    scratch: Path, files: dict[str, Path], layout: Layout, *, run_id: str, model_id: str
) -> None:
    """Write the model's folder: the files, our code, the signature and the requirements."""
    import mlflow.pyfunc
    from mlflow.models import Model

    for name, path in files.items():
        (scratch / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (scratch / "data" / name).symlink_to(path.resolve())
    code = [Path(earmark.__file__).parent, layout.root / load_params(layout.params).extensions]
    mlflow.pyfunc.save_model(
        scratch / "model",
        loader_module=LOADER,
        data_path=str(scratch / "data"),
        code_paths=[str(folder) for folder in code if folder.exists()],
        signature=_signature(read_metadata(layout.ensemble)["tags"]),
        input_example={"path": ["recording.wav"]},
        pip_requirements=pins(layout.root / "requirements.txt"),
        mlflow_model=Model(
            artifact_path=f"models:/{model_id}",  # not where it lies: the repository may be moved
            run_id=run_id,
            model_id=model_id,
            model_uuid=model_id,
        ),
    )


def _signature(tags: list[str]) -> "ModelSignature":
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    outputs: list[Any] = [ColSpec("double", tag) for tag in tags]
    return ModelSignature(Schema([ColSpec("string", "path")]), Schema(outputs))
