"""The embedded store after its repository was moved."""

import shutil
from pathlib import Path

import mlflow
import numpy as np
import pytest

from earmark.layout import Layout
from earmark.params import Params
from earmark.tracking.store import prepare_store
from tests.tracking.runs import EPOCHS, client_of, followed


@pytest.mark.parametrize("opened_by", ["make mlflow", "the next training"])
def test_artifacts_are_found_after_the_repository_was_moved(
    layout: Layout, params: Params, tmp_path: Path, opened_by: str
) -> None:
    with followed(layout, params) as run:
        run.log_figures(EPOCHS, np.eye(2, dtype=np.int64), ["bark", "bell"])
    client = client_of(layout)
    experiment_id = client.get_run(run.run_id).info.experiment_id
    model = client.create_logged_model(experiment_id, name="ensemble", source_run_id=run.run_id)
    (tmp_path / "note.txt").write_text("of the model")
    client.log_model_artifact(model.model_id, str(tmp_path / "note.txt"))

    moved = Layout(tmp_path / "some where" / "else")
    moved.root.parent.mkdir()
    shutil.move(layout.root, moved.root)
    if opened_by == "make mlflow":
        prepare_store(moved)
    else:
        with followed(moved, params) as later:
            later.log_figures(EPOCHS, None, [])
        assert not later.is_lost
    assert not layout.root.exists()  # nothing was written to the old place
    client = client_of(moved)
    figures = {artifact.path for artifact in client.list_artifacts(run.run_id)}
    assert figures == {"confusion_matrix.png", "learning_curve.png"}
    downloaded = client.download_artifacts(run.run_id, "learning_curve.png", str(tmp_path))
    assert Path(downloaded).stat().st_size > 0
    location = client.get_logged_model(model.model_id).artifact_location
    note = mlflow.artifacts.download_artifacts(f"{location}/note.txt")
    assert Path(note).read_text() == "of the model"


def test_a_copy_of_a_repository_and_its_original_have_artifacts_of_their_own(
    layout: Layout, params: Params, tmp_path: Path
) -> None:
    with followed(layout, params) as run:
        run.log_figures(EPOCHS, None, [])
    copied = Layout(tmp_path / "copy")
    shutil.copytree(layout.root, copied.root)
    for one in (copied, layout):
        prepare_store(one)
        assert client_of(one).get_run(run.run_id).info.artifact_uri.startswith(one.home.as_uri())
