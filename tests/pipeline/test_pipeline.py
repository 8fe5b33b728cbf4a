"""The real `dvc repro` on a tiny corpus in a temporary clone, and what a change makes it do again.

The tests of this file are one story, told in order: each starts where the one before it ended.
"""

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from ruamel.yaml import YAML

from earmark.evaluation.temperature import temper

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow

TRAIN = ["train_logmel", "train_wave16k", "train_embedding"]
PREDICT = ["predict_logmel", "predict_wave16k", "predict_embedding"]
END = {"ensemble": 1, "timeline": 1, "evaluate": 1, "audit": 1}
CODE = {"code": 1}


class Workspace:
    """A clone with the tiny profile, in which commands run as a user would type them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        # DVC_ROOT and its kin belong to an outer `dvc repro`, if these tests run in one.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_"))}
        self.env = {**inherited, "PATH": path, "GIT_TERMINAL_PROMPT": "0"}
        self.env.pop("PYTHONDONTWRITEBYTECODE", None)  # some 100 processes import the same sources

    def run(self, *command: str, ok: bool = True) -> str:
        done = subprocess.run(
            command, cwd=self.root, env=self.env, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=800,
        )  # fmt: skip
        output = done.stdout + done.stderr
        assert (done.returncode == 0) == ok, f"{' '.join(command)}\n{output}"
        return output

    def repro(self, *more: str) -> tuple[dict[str, int], str]:
        """Run `dvc repro`; returns how many stages of each name ran, and the output."""
        output = self.run("dvc", "repro", *more)
        return stages_run(output), output

    def metrics(self) -> dict[str, Any]:
        texts = {p.name: p.read_text() for p in sorted((self.root / "metrics").glob("*.*"))}
        assert {"scores.json", "summary.json", "decode.json", "submission.csv"} <= texts.keys()
        return texts

    def set(self, key: str, value: str) -> None:
        yaml = YAML()
        params = yaml.load((self.root / "params.yaml").read_text())
        *parents, last = key.split(".")
        section = params
        for parent in parents:
            section = section[parent]
        section[last] = yaml.load(value)
        with (self.root / "params.yaml").open("w") as file:
            yaml.dump(params, file)

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", message)


def mlflow_client(space: Workspace) -> MlflowClient:
    return MlflowClient(f"sqlite:///{space.root}/.earmark/mlflow/mlflow.db")


def tracked_runs(space: Workspace) -> list[Run]:
    client = mlflow_client(space)
    experiment = client.get_experiment_by_name("earmark/tiny")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def stages_run(output: str) -> dict[str, int]:
    return dict(Counter(re.findall(r"Running stage '([a-z0-9_]+)", output)))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("clone") / "earmark"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file() and not name.startswith("metrics/") and name != "dvc.lock":
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    space = Workspace(root)
    space.run("git", "init", "-q", "-b", "main")
    space.run("git", "config", "user.name", "test")
    space.run("git", "config", "user.email", "test@example.org")
    shutil.copy(ROOT / "tests" / "pipeline" / "tiny.yaml", root / "profiles" / "tiny.yaml")
    space.run("python", "-m", "earmark", "profile", "use", "tiny")
    space.commit("Start")
    return space


def test_the_whole_graph_runs_and_scores_every_member_and_the_ensemble(
    workspace: Workspace,
) -> None:
    ran, _ = workspace.repro()
    before = {"code": 1, "demo": 1, "decode": 1, "trim": 1, "split": 1, "augment": 1}
    before |= {"class_mixing": 1, "features": 3, "audit_sound": 1}
    by_fold = dict.fromkeys(["finetune", "embed", *TRAIN, *PREDICT], 2)
    assert ran == {**before, **by_fold, "plan": 1, **END}
    scores = json.loads((workspace.root / "metrics" / "scores.json").read_text())
    assert set(scores["models"]) == {"densenet", "samplecnn", "attention-vggish"}
    for entry in (*scores["models"].values(), scores["ensemble"]):
        assert entry["out_of_fold"]["n_clips"] == 40
        assert entry["test"]["all"]["n_clips"] == 12
        parts = entry["test"]["public"]["n_clips"] + entry["test"]["private"]["n_clips"]
        assert parts == 12
        found = entry["out_of_fold"]["map_at_3"]
        assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1
        assert found["over"] in ("clips", "recordings")
    assert sum(scores["weights"].values()) == pytest.approx(1)
    assert any("synthetic" in note for note in scores["notes"])
    assert any("random values" in note for note in scores["notes"])
    workspace.commit("Run")


def test_the_submission_has_three_tags_for_every_test_clip(workspace: Workspace) -> None:
    submission = pd.read_csv(workspace.root / "metrics" / "submission.csv")
    assert list(submission.columns) == ["fname", "label"]
    assert len(submission) == 12
    assert all(len(set(label.split(" "))) == 3 for label in submission["label"])


def test_a_second_repro_runs_nothing_and_leaves_git_clean(workspace: Workspace) -> None:
    ran, output = workspace.repro()
    assert ran == {}
    assert "Data and pipelines are up to date" in output
    assert workspace.run("git", "status", "--porcelain") == ""


def test_every_training_is_tracked_under_one_parent(workspace: Workspace) -> None:
    client, runs = mlflow_client(workspace), tracked_runs(workspace)
    parents = [run for run in runs if run.data.tags.get("role") == "experiment"]
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len(parents) == 1
    assert len(children) == 8
    assert {run.info.status for run in runs} == {"FINISHED"}
    scores = json.loads((workspace.root / "metrics/scores.json").read_text())
    estimate = scores["ensemble"]["out_of_fold"]["map_at_3"]
    assert parents[0].data.metrics["out_of_fold.map_at_3"] == pytest.approx(estimate["value"])
    assert parents[0].data.metrics["out_of_fold.map_at_3.low"] == pytest.approx(estimate["low"])
    assert len(parents[0].outputs.model_outputs) == 1
    commit = workspace.run("git", "rev-parse", "HEAD~1").strip()
    for run in children:
        assert run.data.tags["mlflow.parentRunId"] == parents[0].info.run_id
        assert run.data.tags["git.commit"] == commit
        assert run.data.tags["dvc.exp"] == "workspace"
        epochs = client.get_metric_history(run.info.run_id, "validation_loss")
        assert [metric.step for metric in epochs] == list(range(1, len(epochs) + 1))
        names = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
        assert "confusion_matrix.png" in names


def test_a_file_of_ones_own_is_tagged_as_the_graph_tags_it(workspace: Workspace) -> None:
    ensemble = workspace.root / "data" / "ensemble"
    rows = pd.read_parquet(ensemble / "clips.parquet")
    row = int(rows.index[rows["split"] == "test"][0])
    expected = pd.read_parquet(ensemble / "ensemble.parquet").iloc[row]
    audio = workspace.root / "data" / "demo" / "tiny" / "FSDKaggle2018.audio_test"
    file = audio / rows["clip"][row]
    command = ("python", "-m", "earmark", "predict", "--json", "--top", "4", str(file))
    line, remark = workspace.run(*command).splitlines()
    answer = json.loads(line)
    assert remark.startswith("probabilities: ")  # on stderr: how well they are calibrated
    metadata = json.loads((ensemble / "ensemble.json").read_text())
    values = expected.to_numpy()[None]
    told = temper(values, metadata["temperature"], is_multi_label=False)[0]
    assert answer["tags"] == pytest.approx(dict(zip(expected.index, told, strict=True)), abs=0.01)
    assert list(answer["tags"]) == expected.sort_values(ascending=False).index.tolist()


def test_an_unusable_file_is_named_and_the_others_are_tagged(workspace: Workspace) -> None:
    empty = workspace.root / "empty.wav"
    empty.touch()
    audio = workspace.root / "data" / "demo" / "tiny" / "FSDKaggle2018.audio_test"
    good = next(iter(sorted(audio.glob("*.wav"))))
    output = workspace.run("python", "-m", "earmark", "predict", "empty.wav", str(good), ok=False)
    assert "empty.wav: empty:" in output
    assert f"{good}: " in output
    assert "1 of the recordings could not be used" in output
    empty.unlink()


def test_the_confidence_of_the_crops_changes_the_ensemble_alone(workspace: Workspace) -> None:
    workspace.set("inference.confidence", "0.9")
    assert workspace.repro()[0] == END


def test_a_fold_less_takes_its_predictions_and_curves_away(workspace: Workspace) -> None:
    workspace.set("folds", "[1]")
    assert workspace.repro()[0] == {"split": 1, "plan": 1, **END}  # split checks their names
    left = {p.name for p in (workspace.root / "data" / "predictions").glob("*/*")}
    curves = {p.name for p in (workspace.root / "data" / "training").glob("*")}
    assert left == {"1"}
    assert all(name.endswith("-1.csv") for name in curves)
    workspace.commit("One fold")  # for what follows it is enough, and half the time


def test_a_comment_runs_the_stage_code_alone_and_a_changed_network_its_models(
    workspace: Workspace,
) -> None:
    densenet = workspace.root / "earmark" / "networks" / "densenet.py"
    text = densenet.read_text()
    digests = (workspace.root / "code.json").read_text()
    densenet.write_text(f"{text}# A comment.\n")
    assert workspace.repro()[0] == CODE
    assert (workspace.root / "code.json").read_text() == digests
    densenet.write_text(f"{text}_UNUSED = 1\n")
    ran, _ = workspace.repro("train_logmel@densenet-1", "train_wave16k@samplecnn-1")
    assert ran == {**CODE, "train_logmel": 1}
    answer = workspace.run("python", "-m", "earmark", "code", "train_logmel@densenet-1")
    assert "changed: earmark/networks/densenet.py" in answer
    densenet.write_text(text)
    workspace.repro()


def test_a_stage_refuses_code_that_code_json_does_not_know(workspace: Workspace) -> None:
    loop = workspace.root / "earmark" / "training" / "loop.py"
    text = loop.read_text()
    loop.write_text(f"{text}_UNUSED = 1\n")
    command = "python -m stages.train --group logmel --model densenet --fold 1"
    output = workspace.run(*command.split(), ok=False)
    assert "the code behind train.densenet changed since code.json was written" in output
    assert "changed: earmark/training/loop.py" in output
    assert "Traceback" not in output
    loop.write_text(text)


def test_a_models_own_parameter_trains_that_model_alone_and_an_aggregation_none(
    workspace: Workspace,
) -> None:
    workspace.set("models.wave16k.samplecnn.training", "{epochs: 1}")
    workspace.set("models.logmel.densenet.prediction.aggregation", "mean")
    ran, _ = workspace.repro()
    predicted = {"predict_wave16k": 1, "predict_logmel": 1}
    assert ran == {**CODE, "train_wave16k": 1, **predicted, "plan": 1, **END}


def test_one_effect_is_made_again_where_one_changed(workspace: Workspace) -> None:
    workspace.set("augment", "{tempo: {factor: [0.8, 1.25]}, pitch: {semitones: [-1.0, 1.0]}}")
    output = workspace.run("dvc", "repro", "augment")
    assert "augment: made pitch; 1 effects unchanged" in output
    workspace.set("augment", "{tempo: {factor: [0.8, 1.25]}}")
    workspace.run("dvc", "repro", "augment")
    left = [path.name for path in (workspace.root / "data" / "augmented" / "logmel").iterdir()]
    assert sorted(left) == ["effects.json", "tempo"]


def test_going_back_to_earlier_params_trains_nothing_again(workspace: Workspace) -> None:
    workspace.run("git", "restore", "--source", "HEAD~1", "params.yaml")  # with both folds
    ran, output = workspace.repro()
    assert not [name for name in ran if name.startswith(("train_", "predict_", "ensemble"))]
    assert "is cached - skipping run" in output


def test_an_experiment_retrains_from_its_parameter_on_and_is_listed(workspace: Workspace) -> None:
    workspace.run("git", "checkout", "-q", "--", "params.yaml", "dvc.lock", "metrics")
    workspace.run("dvc", "checkout")
    # In a temporary folder, as queued experiments run; the store of MLflow is the repository's.
    output = workspace.run(
        "dvc", "exp", "run", "--temp", "-n", "more-mixup", "-S", "model.mixup_alpha=0.3"
    )
    assert stages_run(output) == {**dict.fromkeys([*TRAIN, *PREDICT], 1), **END}
    shown = pd.read_csv(io.StringIO(workspace.run("dvc", "exp", "show", "--csv")))
    row = shown[shown["Experiment"] == "more-mixup"].iloc[0]
    assert row["model.mixup_alpha"] == 0.3
    assert 0 <= row["out_of_fold.map_at_3"] <= 1
    command = re.findall(r"dvc (exp show .*)", (ROOT / "Makefile").read_text())[0]
    arguments = shlex.split(command.replace("$$", "$"))
    table = pd.read_csv(io.StringIO(workspace.run("dvc", *arguments, "--csv")))
    assert "model.mixup_alpha" in table
    assert len(table.columns) <= 20, "names, the summary, and what was changed"
    assert "model.mixup_alpha" in workspace.run("dvc", "params", "diff", "HEAD", "more-mixup")
    tracked = tracked_runs(workspace)
    assert sum(run.data.tags["dvc.exp"] == "more-mixup" for run in tracked) == 1 + 3


def test_a_training_killed_half_way_goes_on_and_ends_in_the_same_metrics(
    workspace: Workspace,
) -> None:
    workspace.run("git", "checkout", "-q", "--", "params.yaml", "dvc.lock", "metrics")
    workspace.run("dvc", "checkout")
    expected, lock = workspace.metrics(), (workspace.root / "dvc.lock").read_text()
    shutil.rmtree(workspace.root / ".earmark" / "work")
    forget(workspace, "train_logmel@densenet-1")
    kill_in_training(workspace, "train_logmel@densenet-1")
    ran, output = workspace.repro("--no-run-cache")
    assert ran == {"train_logmel": 1}
    assert "going on at epoch" in output
    assert workspace.metrics() == expected
    assert (workspace.root / "dvc.lock").read_text() == lock


def forget(workspace: Workspace, stage: str) -> None:
    """Drop a stage's outs from DVC's cache, which would otherwise bring them back without a run."""
    lock = YAML(typ="safe").load((workspace.root / "dvc.lock").read_text())
    for out in lock["stages"][stage]["outs"]:
        md5 = out["md5"]
        (workspace.root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]).unlink()


def kill_in_training(workspace: Workspace, stage: str) -> None:
    """Start a stage by force, and kill it and DVC with it once it has written a checkpoint."""
    process = subprocess.Popen(
        ["dvc", "repro", "--no-run-cache", "-f", "-s", stage],
        cwd=workspace.root, env=workspace.env, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list((workspace.root / ".earmark" / "work").glob("*/checkpoint.safetensors")):
        assert process.poll() is None, "the stage ended before it could be killed"
        assert time.monotonic() < deadline, "no checkpoint within two minutes"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(60)


def test_the_gate_passes_on_what_was_pushed_and_stops_what_was_not_run(
    workspace: Workspace, tmp_path: Path
) -> None:
    store = tmp_path / "remote"
    workspace.run("dvc", "remote", "add", "--local", "-d", "store", str(store))
    workspace.run("dvc", "push", "-q")
    clone = Workspace(tmp_path / "clone")
    workspace.run("git", "clone", "-q", ".", str(clone.root))
    clone.env["DVC_REMOTE_URL"] = str(store)
    output = clone.run(".ci/gate")
    assert stages_run(output) == {}
    assert "dvc.lock, code.json and metrics are those of the code" in output
    assert not (clone.root / "data" / "features").exists(), "the gate pulls no features"
    clone.set("evaluate.n_resamples", "50")
    assert "changed" in clone.run(".ci/gate", ok=False)
    some_object = next(path for path in (store / "files").rglob("*") if path.is_file())
    some_object.unlink()
    clone.run("git", "checkout", "-q", "--", ".")
    assert "missing in the remote" in clone.run(".ci/gate", ok=False)
