"""The papers' tables: sound settings, the papers' own figures, and a run that goes on."""

import copy
import hashlib
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from earmark.errors import UserError
from earmark.evaluation.measures import CLASS_METRICS, TAG_METRICS
from earmark.layout import Layout
from earmark.networks import build
from earmark.params.reading import flattened, parse_params, read_yaml
from earmark.params.roster import members_of
from earmark.published.download.published import PUBLISHED
from earmark.settings.profiles import BASE, overlay
from earmark.settings.validation import option_problems
from earmark.weights import save_tensors
from experiments import runner
from experiments.papers import TABLES
from experiments.rendering import markdown
from experiments.settings import Plan, composed, plan, write_params
from experiments.tables import Column, Row, Small, Table
from experiments.weights import name_weights_by_absolute_paths, take_weights
from tests.source_graph import ROOT

EVERY = [(table, name) for table in TABLES.values() for name in table.experiments]

# Transcribed from the papers once more; None is what they leave open.
PAPERS = {
    "shan1": "0.874±0.006 0.887±0.010 0.924±0.006 0.938±0.003 - - -",
    "lederle1": "0.920 0.888 0.894 0.921 0.884 0.891 0.935 0.889 0.898 "
    "0.930 0.923 0.924 0.950 0.928 0.932 0.935 0.930 0.931 "
    "0.955 0.939 0.942 0.966 0.944 0.948 0.956 0.944 0.946",
    "xu2": "0.704 - 0.606 - 0.870 - 0.864 - 0.891 - 0.858 - 0.872 - 0.892 - 0.903 -",
    "xu3": "0.903 - 0.914 - 0.925 - 0.930 - 0.930 - 0.936 - 0.931 - 0.930 -",
    "xu4": "0.917 - 0.919 - 0.931 - 0.936 - 0.929 - 0.931 - 0.931 -",
    "chen1": "0.91 0.90 0.91 0.92 0.92 0.91 0.91 0.90 0.90 0.85 0.85 0.85",
    "lee1_mtat": "0.9033 0.9091 0.9113",
    "lee1_speech": "0.84 0.86 0.88",
    "lee1_dcase": "0.389 0.451 0.577",
}


def profile_params(table: Table) -> dict[str, Any]:
    params = copy.deepcopy(profile(BASE))
    overlay(params, copy.deepcopy(profile(table.profile)))
    return params


@cache
def profile(name: str) -> dict[str, Any]:
    content: dict[str, Any] = read_yaml(ROOT / "profiles" / f"{name}.yaml")
    return content


@cache
def experiment_params(table: str, experiment: str) -> dict[str, Any]:
    found = TABLES[table]
    return composed(profile_params(found), found.experiments[experiment])


@pytest.fixture
def recordings(tmp_path) -> Path:
    """Three classes of six recordings; tables with one label each, and with several."""
    root = tmp_path / "sounds"
    lines, several = ["path,label"], ["path,label"]
    for label in ("cat", "dog", "rain"):
        for n in range(6):
            path = root / label / f"{n}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            lines.append(f"{label}/{n}.wav,{label}")
            several.append(f"{label}/{n}.wav,{label}{';even' if n % 2 == 0 else ''}")
    (root / "one.csv").write_text("\n".join(lines) + "\n")
    (root / "several.csv").write_text("\n".join(several) + "\n")
    return root


def small_plan(table: str, recordings: Path, *, csv: str = "one.csv", changes: tuple = ()) -> Plan:
    here = {"cwd": recordings, "root": str(recordings), "csv": csv}
    return plan(TABLES[table], Layout(ROOT), small=True, changes=changes, **here)


@pytest.mark.slow
@pytest.mark.parametrize(("table", "experiment"), EVERY, ids=lambda v: getattr(v, "name", v))
def test_the_settings_of_an_experiment_are_sound_on_its_profile(table, experiment):
    params, problems = parse_params(experiment_params(table.name, experiment), table.name)
    assert problems == []
    assert option_problems(params) == []


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_a_setting_without_a_plus_changes_a_key_that_the_profile_has(table):
    known = flattened(profile_params(table))
    for settings in table.experiments.values():
        for setting in settings:
            key = setting.lstrip("+~").partition("=")[0]
            is_there = any(f"{name}.".startswith(f"{key}.") for name in known)
            assert is_there != setting.startswith("+"), setting


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_rows_read_members_that_their_experiment_trains(table):
    for row in table.rows:
        assert len(row.figures) == len(table.columns)
        if row.experiment:
            params, _ = parse_params(experiment_params(table.name, row.experiment), table.name)
            assert params is not None
            assert row.member in {*members_of(params), "ensemble"}
    assert {row.experiment for row in table.rows} - {""} == set(table.experiments)


def test_the_settings_of_different_experiments_differ():
    for table in TABLES.values():
        found = [str(experiment_params(table.name, name)) for name in table.experiments]
        assert len(set(found)) == len(found), table.name


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_the_figures_are_the_papers(table):
    shown = " ".join((f or "-").replace(" ", "") for row in table.rows for f in row.figures)
    assert shown == " ".join(PAPERS[table.name].split())


def test_tables_name_downloads_profiles_and_metrics_that_there_are():
    for name, table in TABLES.items():
        assert name == table.name
        assert table.download in PUBLISHED
        assert (ROOT / "profiles" / f"{table.profile}.yaml").is_file()
        assert {column.metric for column in table.columns} <= {*CLASS_METRICS, *TAG_METRICS}


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_a_small_run_of_every_table_is_planned_on_any_folder(table, recordings):
    ready = small_plan(table, recordings)
    assert set(ready.experiments) == set(TABLES[table].experiments)
    for settings in ready.experiments.values():
        params, problems = parse_params(composed(ready.params, settings), table)
        assert problems == []
        assert option_problems(params) == []
        assert (params.corpus.adapter, params.corpus.root) == ("folder", str(recordings))
        assert params.model.epochs == 2
        assert params.cv.scheme == "stratified"


def test_a_small_run_measures_what_the_folder_can_be_measured_by(recordings):
    one = small_plan("lee1_mtat", recordings)
    several = small_plan("lee1_mtat", recordings, csv="several.csv")
    assert [column.metric for column in one.columns] == ["accuracy"]
    assert one.columns[0].heading == "accuracy, for AUC"
    assert one.params["evaluate"]["metric"] == "accuracy"
    assert several.columns == TABLES["lee1_mtat"].columns
    assert several.params["evaluate"]["metric"] == "roc_auc"
    assert small_plan("chen1", recordings, csv="several.csv").columns[0].metric == "roc_auc"


def test_a_missing_corpus_is_named_with_the_command_that_fetches_it(tmp_path):
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    options = {"csv": "", "small": False, "changes": (), "cwd": tmp_path}
    message = r"xu4: corpora/fsdkaggle2018: .* `python -m earmark download fsdkaggle2018`"
    with pytest.raises(UserError, match=message):
        plan(TABLES["xu4"], Layout(tmp_path), root="", **options)
    with pytest.raises(UserError, match=r"xu4: elsewhere: the corpus is not there"):
        plan(TABLES["xu4"], Layout(tmp_path), root="elsewhere", **options)
    with pytest.raises(UserError, match=r"--small: say where recordings are with --root"):
        plan(TABLES["xu4"], Layout(tmp_path), root="", **{**options, "small": True})


def test_a_wrong_change_is_refused_before_anything_is_queued(recordings):
    with pytest.raises(UserError, match=r"model\.epohs"):
        small_plan("xu4", recordings, changes=("model.epohs=3",))
    with pytest.raises(UserError, match=r"model\.mixup_alpha: .*greater than or equal to 0"):
        small_plan("xu4", recordings, changes=("model.mixup_alpha=-1.0",))
    with pytest.raises(UserError, match=r"^the setting foo=1: "):
        small_plan("xu4", recordings, changes=("model.epochs=3", "foo=1"))


def test_corpus_and_weights_are_found_from_an_experiments_own_folder(recordings):
    given = "models.wave44k.soundnet.training.init_from=weights/s.safetensors"
    pin = f"models.wave44k.soundnet.training.init_sha256='{'0' * 64}'"
    params = small_plan("shan1", recordings, changes=(given, pin)).params
    start = params["models"]["wave44k"]["soundnet"]["training"]["init_from"]
    assert start == str(ROOT / "weights" / "s.safetensors")
    assert Path(params["corpus"]["root"]).is_absolute()


def test_a_name_tells_params_and_code_apart(recordings):
    ready = small_plan("shan1", recordings)
    changed = small_plan("shan1", recordings, changes=("model.epochs=3",))
    name = ready.name_of("four", "code")
    assert name.startswith("shan1-small-four-")
    assert name == small_plan("shan1", recordings).name_of("four", "code")
    assert name != ready.name_of("four", "other code")
    assert name != changed.name_of("four", "code")
    assert name[-8:] != ready.name_of("compared", "code")[-8:]


TOY = Table(
    name="toy",
    title="A paper, table 1",
    profile="shan2018",
    download="esc50",
    columns=(
        Column("Folds", ("out_of_fold",), "accuracy", over_folds=True),
        Column("Public", ("test", "public"), "accuracy"),
    ),
    experiments={"one": (), "two": ("a=1",)},
    rows=(
        Row("Baseline", ("0.1", None)),
        Row("Mine", ("0.5 ± 0.1", "0.6"), "one", "m"),
        Row("All", (None, None), "two"),
    ),
    small=Small(()),
    notes=("A note.",),
)


def scores(value: float, *, with_test: bool = True) -> dict[str, Any]:
    estimate = {
        "accuracy": {"value": value, "low": value - 0.1, "high": value + 0.1, "over": "clips"}
    }
    folds = {"mean": {"accuracy": value + 0.01}, "std": {"accuracy": 0.02}}
    entry: dict[str, Any] = {"out_of_fold": estimate, "folds": folds}
    if with_test:
        more = {"accuracy": {"value": 0.25, "low": 0.0, "high": 0.5, "over": "recordings"}}
        entry["test"] = {"all": more, "public": more}
    epochs = {"m": {"rule": "scored_fold", "scored_fold": value + 0.05, "last": value}}
    notes = ["A note of the run."]
    return {"ensemble": entry, "models": {"m": entry}, "epochs": epochs, "notes": notes}


def toy_plan(*, small: bool = False) -> Plan:
    weights = {"one": {"init_from": ""}, "two": {"init_from": "/w/a.safetensors"}, "three": {}}
    models = {"wave44k": {name: {"training": training} for name, training in weights.items()}}
    params = {"models": models, "extensions": "mine"}
    return Plan(TOY, small, "sounds", params, dict(TOY.experiments), TOY.columns)


def test_a_table_is_rendered_with_intervals_and_notes():
    assert markdown(toy_plan(), {"one": scores(0.4), "two": scores(0.7)}) == (
        "# A paper, table 1\n"
        "\n"
        "Corpus: sounds. Brackets: 95 % intervals over clips, or over recordings (r) cut into "
        "several clips.\n"
        "\n"
        "|  | Folds: paper | Folds: ours | Public: paper | Public: ours |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| Baseline | 0.1 | not run | – | not run |\n"
        "| Mine | 0.5 ± 0.1 | 0.410 ± 0.020; of all clips 0.400 (0.300 to 0.500) "
        "| 0.6 | 0.250 (0.000 to 0.500; r) |\n"
        "| All | – | 0.710 ± 0.020; of all clips 0.700 (0.600 to 0.800) "
        "| – | 0.250 (0.000 to 0.500; r) |\n"
        "\n"
        "After each epoch, on validation clips, at the epoch that a rule would keep:\n"
        "\n"
        "| experiment | model | kept by | scored fold | other folds | last |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| one | m | scored_fold | 0.450 | – | 0.400 |\n"
        "| two | m | scored_fold | 0.750 | – | 0.700 |\n"
        "\n"
        "- A note.\n"
        "- Started from a.safetensors.\n"
        "- one started from random values, unlike the paper's: no weight file was given "
        "(the profile says how to).\n"
        "- A note of the run.\n"
    )


def test_a_small_table_says_that_it_says_nothing_about_the_paper():
    text = markdown(toy_plan(small=True), {"one": scores(0.4, with_test=False)})
    assert "**A check that every row works**, on sounds" in text
    assert "say nothing about the paper" in text
    assert "no test clips: all figures are out of fold" in text
    assert "|  | Folds: ours | Public: ours |" in text
    assert text.count("| 0.400 (0.300 to 0.500) |") == 1
    assert "| All | failed | failed |" in text
    assert "Baseline" not in text


def test_a_paper_is_never_compared_on_other_clips_than_its_own():
    with pytest.raises(UserError, match=r"Mine: the corpus has no test public clips"):
        markdown(toy_plan(), {"one": scores(0.4, with_test=False), "two": scores(0.7)})


class Fake:
    """A queue that ends what is added at once, but for what is told to fail."""

    def __init__(self, *, fails: str = "") -> None:
        self.fails = fails
        self.done: dict[str, dict[str, Any]] = {}
        self.added: list[str] = []

    def code(self, _extensions: str) -> str:
        return "code"

    def scores(self, name: str) -> dict[str, Any] | None:
        return self.done.get(name)

    def add(self, _params: object, experiments: dict[str, Any]) -> None:
        self.added += experiments

    def run(self, names: list[str], _jobs: int) -> None:
        for name in names:
            if not (self.fails and self.fails in name):
                self.done[name] = scores(0.4)


@pytest.fixture
def toy(monkeypatch) -> Plan:
    monkeypatch.setattr(
        Plan, "name_of", lambda plan, experiment, code: f"{plan.table.name}-{experiment}-{code}"
    )
    return toy_plan()


def test_a_run_goes_on_with_what_is_not_there_yet(toy, tmp_path):
    queue = Fake()
    queue.done["toy-one-code"] = scores(0.3)
    done = runner.run(toy, Layout(tmp_path), queue, jobs=1)
    text = done.markdown
    assert done.failed == []
    assert queue.added == ["toy-two-code"]
    assert (tmp_path / "experiments" / "results" / "toy.md").read_text() == text
    assert "0.300 (0.200 to 0.400)" in text
    assert runner.run(toy, Layout(tmp_path), queue, jobs=1) == done
    assert queue.added == ["toy-two-code"]


def test_figures_of_a_small_run_stay_apart_from_claims(tmp_path, monkeypatch):
    monkeypatch.setattr(Plan, "name_of", lambda _plan, experiment, _code: experiment)
    runner.run(toy_plan(small=True), Layout(tmp_path), Fake(), jobs=1)
    written = [path.name for path in (tmp_path / "experiments" / "results").iterdir()]
    assert written == ["toy-small.md"]


def test_a_failed_experiment_is_named_and_the_others_are_written(toy, tmp_path):
    queue = Fake(fails="two")
    assert runner.run(toy, Layout(tmp_path), queue, jobs=1).failed == ["toy-two-code"]
    text = (tmp_path / "experiments" / "results" / "toy.md").read_text()
    assert "0.400 (0.300 to 0.500)" in text
    assert "| All | – | failed | – | failed |" in text
    queue.fails = ""
    queue.added.clear()
    assert runner.run(toy, Layout(tmp_path), queue, jobs=1).failed == []
    assert queue.added == ["toy-two-code"]


def xu_workspace(tmp_path: Path, *networks: str, **given: str) -> tuple[dict[str, Any], Layout]:
    """The paper's params on a workspace whose params.yaml names weights for its extractors."""
    params = profile_params(TABLES["xu4"])
    weights = tmp_path / "w.safetensors"
    small = {"name": "vggish", "width": 0.0625, "fc": 256}
    save_tensors(weights, build("vggish", 1, {"width": 0.0625, "fc": 256}).state_dict())
    for entry in params["extractors"].values():
        entry["network"] = small
    user = copy.deepcopy(params)
    pin = hashlib.sha256(weights.read_bytes()).hexdigest()
    for name in list(user["extractors"]):
        entry = user["extractors"].pop(name)
        path = given.get(name, "")
        entry |= {"weights": path, "weights_sha256": pin if path else ""}
        user["extractors"][f"{networks[0]}_{name}" if networks else name] = entry
    write_params(tmp_path / "params.yaml", user)
    return params, Layout(tmp_path)


def taken(params: dict[str, Any]) -> list[str]:
    return [entry["weights"] for entry in params["extractors"].values()]


@pytest.mark.parametrize("renamed", [(), ("mine",)])
def test_the_weights_that_params_yaml_names_are_taken_and_said(tmp_path, caplog, renamed):
    both = {"balanced": "w.safetensors", "unbalanced": "w.safetensors"}
    params, layout = xu_workspace(tmp_path, *renamed, **both)
    with caplog.at_level("INFO", "experiments"):
        take_weights(params, layout)
    assert taken(params) == ["w.safetensors"] * 2
    assert "extractors.balanced starts from w.safetensors, which params.yaml names" in caplog.text
    name_weights_by_absolute_paths(params, layout)
    assert taken(params) == [str(tmp_path / "w.safetensors")] * 2


def test_weights_that_are_ambiguous_or_do_not_fit_are_refused(tmp_path):
    params, layout = xu_workspace(
        tmp_path, "mine", balanced="w.safetensors", unbalanced="other.safetensors"
    )
    with pytest.raises(UserError, match=r"other\S+ and w.safetensors are named for vggish"):
        take_weights(params, layout)
    params, layout = xu_workspace(tmp_path, balanced="w.safetensors")
    params["extractors"]["balanced"]["network"] = {"name": "vggish", "width": 0.125}
    with pytest.raises(UserError, match=r"extractors.balanced.weights: .*does not fit"):
        take_weights(params, layout)


def test_weights_of_other_networks_are_left_alone(tmp_path):
    params, layout = xu_workspace(tmp_path)
    take_weights(params, layout)
    assert taken(params) == ["", ""]
    shan = profile_params(TABLES["shan1"])
    _, layout = xu_workspace(tmp_path, balanced="w.safetensors", unbalanced="w.safetensors")
    before = copy.deepcopy(shan)
    take_weights(shan, layout)
    assert shan == before
