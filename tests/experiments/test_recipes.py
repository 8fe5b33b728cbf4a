"""The levers of the recipe: sound settings, each one change alone, compared clip by clip."""

import wave
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from earmark.errors import UserError
from earmark.evaluation.predictions import Predictions
from earmark.labels import Task
from earmark.layout import Layout
from earmark.params.reading import flattened, parse_params, read_yaml
from earmark.params.roster import recipe_of
from earmark.settings.profiles import BASE as BASE_PROFILE
from earmark.settings.profiles import overlay
from earmark.settings.validation import option_problems
from experiments import pages, recipes, recipes_page
from experiments.__main__ import app
from experiments.costs import training_cost
from experiments.levers import BASE, BASELINE, GROUP, LEVERS, NETWORK
from experiments.pages import END, START
from experiments.recipes import RecipePlan, pooled
from tests.source_graph import ROOT

TAGS = ("cat", "dog", "rain")
ENTRY = f"models.{GROUP}.{NETWORK}"


def write_recordings(root: Path, *, rate: int = 44_100) -> None:
    """Three classes of six recordings, in a table with four folds."""
    lines = ["path,label,fold"]
    for label in TAGS:
        for n in range(8):
            path = root / label / f"{n}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            with wave.open(str(path), "wb") as file:
                file.setparams((1, 2, rate, 1, "NONE", ""))
                file.writeframes(b"\0\0")
            lines.append(f"{label}/{n}.wav,{label},{1 + n % 4}")
    (root / "clips.csv").write_text("\n".join(lines) + "\n")


@cache
def planned(root: Path, *names: str, changes: tuple[str, ...] = (), **options: Any) -> RecipePlan:
    given = {"csv": "clips.csv", "small": False, "confirm": False, **options}
    folder = str(root) if root.parts else ""
    return recipes.plan(Layout(ROOT), names, root=folder, changes=changes, cwd=root, **given)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("sounds")
    write_recordings(folder)
    return folder


def changes_of(ready: RecipePlan, name: str) -> dict[str, Any]:
    """The keys that a lever changes beside the base, with its own values."""
    base, own = (flattened(ready.composed[f"{one}-0"]) for one in ("base", name))
    return {key: own.get(key) for key in base.keys() | own.keys() if base.get(key) != own.get(key)}


@pytest.mark.slow
@pytest.mark.parametrize("lever", [BASE, *LEVERS], ids=lambda lever: lever.name)
def test_each_row_is_sound_and_trains_one_network_on_two_folds(root, lever):
    for seed in (0, 1):
        params, problems = parse_params(planned(root).composed[f"{lever.name}-{seed}"], lever.name)
        assert problems == []
        assert option_problems(params) == []
        assert params.model.seed == seed
        assert [list(models) for models in params.models.values() if models] == [[lever.member]]
        assert [str(fold) for fold in params.folds] == ["1", "2"]


def test_the_base_is_the_network_of_the_profile_with_its_recipe(root):
    profile = read_yaml(ROOT / "profiles" / f"{BASE_PROFILE}.yaml")
    overlay(profile, read_yaml(ROOT / "profiles" / "folder.yaml"))
    profile["corpus"]["root"] = str(root)
    theirs, _ = parse_params(profile, "folder")
    ours, _ = parse_params(planned(root).composed["base-0"], "base")
    entries = (theirs.models[GROUP][NETWORK], ours.models[GROUP][NETWORK])
    recipe, base = map(recipe_of, (theirs, ours), entries)
    assert base == recipe.model_copy(update={"seed": 0})
    assert entries[0].network == entries[1].network
    assert entries[0].input == entries[1].input


def test_each_lever_changes_one_part_and_no_two_the_same(root):
    found = {lever.name: changes_of(planned(root), lever.name) for lever in LEVERS}
    assert all(found.values())
    assert len({str(sorted(one.items())) for one in found.values()}) == len(found)
    several = {name for name, one in found.items() if len(one) > 1}
    # Masks are of frames and bands; a resolution moves what is counted in frames or bands.
    assert several == {"no_masks", "fine_time", "fine_frequency", "baseline"}
    assert found["fine_time"] == {
        f"features.{GROUP}.n_mels": 64,
        f"features.{GROUP}.hop_length": 441,
        "model.band_shift": 3,
        "model.mask_bands": 6,
        "model.mask_frames": 48,
    }
    assert {f"features.{GROUP}.n_fft", "model.mask_frames"} < set(found["fine_frequency"])
    assert found["double_epochs"] == {"model.epochs": 480}
    assert found["no_dropout"] == {f"{ENTRY}.network.dropout": 0.0}


def test_a_change_of_the_user_reaches_every_row_and_scales_the_levers(root):
    ready = planned(root, "double_epochs", "half_epochs", "adam", changes=("model.epochs=40",))
    epochs = {key: params["model"]["epochs"] for key, params in ready.composed.items()}
    assert epochs["base-1"] == epochs["adam-0"] == 40
    assert (epochs["double_epochs-0"], epochs["half_epochs-0"]) == (80, 20)
    assert "-S model.epochs=40" in ready.command
    entry, _ = parse_params(ready.composed["adam-0"], "adam")
    assert recipe_of(entry, entry.models[GROUP][NETWORK]).epochs == 40


def test_a_resolution_follows_the_rate_of_the_recordings(tmp_path):
    write_recordings(tmp_path, rate=16_000)
    ready = planned(tmp_path, "fine_time")
    assert ready.composed["base-0"]["decode"]["sample_rate"] == 16_000
    assert ready.composed["base-0"]["features"][GROUP]["hop_length"] == 320
    assert ready.composed["fine_time-0"]["features"][GROUP]["hop_length"] == 160


def test_to_confirm_is_to_take_all_folds_and_one_seed(root):
    ready = planned(root, "adam", confirm=True)
    assert set(ready.composed) == {"base-0", "adam-0"}
    assert ready.params["folds"] == [1, 2, 3, 4]
    assert ready.file_name == "recipes-confirm-part"
    assert planned(root).file_name == "recipes"


def test_class_folders_have_two_of_five_folds(root):
    ready = planned(root, "adam", csv="")
    assert (ready.params["cv"]["scheme"], ready.params["cv"]["k"]) == ("stratified", 5)
    assert ready.params["folds"] == [0, 1]


def test_what_is_wrong_is_refused_before_anything_is_queued(root):
    with pytest.raises(UserError, match=r"--lever adm: no such lever; there are .*adam"):
        planned(root, "adm")
    with pytest.raises(UserError, match=r"model\.epohs"):
        planned(root, "adam", changes=("model.epohs=3",))
    with pytest.raises(UserError, match=r"label_smoothing"):
        planned(root, "adam", changes=("model.label_smoothing=-1.0",))
    with pytest.raises(UserError, match=r"say where recordings are with --root"):
        planned(Path())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["xu4", "--confirm"], "--lever, --confirm and --into are for recipes alone"),
        (["recipes", "--into", "nowhere.md"], "nowhere.md: no such file"),
        (["recipes", "--into", "a.md", "--lever", "adam"], "--into takes the whole table"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    result = CliRunner().invoke(app, ["run", *options])
    assert isinstance(result.exception, UserError)
    assert message in str(result.exception)


def test_a_cost_is_that_of_the_convolutions_times_the_epochs(root):
    def cost(name: str, member: str = NETWORK) -> float | None:
        params, _ = parse_params(planned(root).composed[f"{name}-0"], name)
        return training_cost(params, GROUP, member, n_tags=3)

    base = cost("base")
    assert cost("double_epochs") == 2 * base
    assert cost("adam") == base
    assert 3.5 < cost("wide") / base < 4  # all but the stem have twice the channels at both ends
    assert cost("baseline", BASELINE) is None
    # The stem halves 251 frames of 128 bands, with 25 weights for each of 16 channels.
    sizes = [(126 // 2**n) * (64 // 2**n) for n in range(4)]
    widths = [16, 32, 64, 128]
    layers = [sizes[0] * 16 * 25 + sizes[0] * 16 * 16 * 9]
    layers += [sizes[n] * 9 * (widths[n - 1] + widths[n]) * widths[n] for n in (1, 2, 3)]
    assert base == 240 * (sum(layers) + 128 * 3)


def predictions(
    name: str, right: float, *, n: int = 60, seed: int = 0, source: str = ""
) -> Predictions:
    """Three tags, of which the true one has the probability `right`, give or take."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    p = np.clip(right + rng.normal(0, 0.15, n), 0.01, 0.98)
    probabilities = np.repeat(((1 - p) / 2)[:, np.newaxis], 3, axis=1)
    probabilities[np.arange(n), labels] = p
    clips = pd.DataFrame(
        {
            "clip": [f"{row:03}" for row in range(n)],
            "split": "validation",
            "fold": np.where(np.arange(n) % 2, "2", "1"),
            "label": np.array(TAGS)[labels],
            "source": source,
        }
    )
    return Predictions.of(name, Task(list(TAGS), False, []), clips, probabilities)


class Fake:
    """A queue whose experiments end at once; what each predicts is by the beginning of its name."""

    def __init__(self, right: dict[str, float], *, fails: str = "") -> None:
        self.right, self.fails = right, fails
        self.done: set[str] = set()
        self.added: list[str] = []

    def code(self, _extensions: str) -> str:
        return "code"

    def version(self) -> str:
        return "0123456789ab"

    def scores(self, name: str) -> dict[str, Any] | None:
        return {} if name in self.done else None

    def add(self, _params: object, experiments: dict[str, Any]) -> None:
        self.added += experiments

    def run(self, names: list[str], _jobs: int) -> None:
        self.done |= {name for name in names if not (self.fails and self.fails in name)}

    def predictions(self, name: str, member: str) -> Predictions:
        lever, seed, _ = name.removeprefix("recipes-").rsplit("-", 2)
        assert member == (BASELINE if lever == "baseline" else NETWORK)
        # Seeds and levers differ in their noise, but for what changes nothing.
        noise = int(seed) + (0 if self.right[lever] == self.right["base"] else 10)
        one = predictions(name, self.right[lever], seed=noise)
        return one if lever == "base" else one.take(np.arange(len(one))[::-1])  # in any order


def measured(root: Path, *names: str, right: dict[str, float], **options: Any):
    return recipes.measure(planned(root, *names, **options), Fake(right), jobs=1)


def test_a_lever_is_compared_with_the_base_of_its_seed(root):
    right = {"base": 0.5, "adam": 0.7, "wide": 0.5}
    ((clips, (base, adam, wide)),), failed = measured(root, "adam", "wide", right=right)
    assert failed == []
    assert (clips.n, clips.n_recordings, clips.folds) == (60, 60, ("1", "2"))
    assert base.log_loss == pytest.approx(np.mean(base.log_losses))
    by_hand = [-np.log(predictions("", 0.5, seed=s).probabilities[np.arange(60), np.arange(60) % 3])
               for s in (0, 1)]  # fmt: skip
    assert base.log_losses == pytest.approx([one.mean() for one in by_hand])
    assert adam.log_loss_difference.value == pytest.approx(adam.log_loss - base.log_loss)
    assert adam.log_loss_difference.high < 0 < adam.metric_difference.low
    assert adam.metric_difference.value == pytest.approx(adam.metric - base.metric)
    assert wide.log_loss_difference.why_no_interval == "the two predict the same"
    assert (base.metric_difference, base.log_loss_difference) == (None, None)


def test_two_networks_that_tag_a_clip_count_as_one_recording():
    one = predictions("a", 0.5)
    assert len(pooled([one, one], ["1", "2"])) == 120
    assert pooled([one, one], ["1", "2"]).clips["source"].nunique() == 60
    assert set(pooled([one], ["2"]).clips["fold"]) == {"2"}
    known = predictions("a", 0.5, source="same")
    assert set(pooled([known], ["1", "2"]).clips["source"]) == {"same"}


def test_clips_that_are_not_those_of_the_base_are_refused(root):
    class Other(Fake):
        def predictions(self, name: str, member: str) -> Predictions:
            return super().predictions(name, member).take(np.arange(50 if "adam" in name else 60))

    queue = Other({"base": 0.5, "adam": 0.6})
    with pytest.raises(UserError, match=r"adam: was measured on other clips than the base"):
        recipes.measure(planned(root, "adam"), queue, jobs=1)


def test_a_confirmation_shows_the_folds_that_chose_nothing_apart(root, tmp_path):
    four = {"base": 0.5, "adam": 0.7}

    class Four(Fake):
        def predictions(self, name: str, member: str) -> Predictions:
            one = super().predictions(name, member)
            one.clips["fold"] = [str(1 + int(clip) % 4) for clip in one.clips["clip"]]
            return one

    ready = planned(root, "adam", confirm=True)
    text = recipes_page.run(ready, Layout(tmp_path), Four(four), jobs=1).markdown
    assert "folds 1, 2, 3, 4: 60 clips of 60 recordings; seed 0." in text
    assert "folds 3, 4: 30 clips of 30 recordings; seed 0. These folds had no part" in text
    assert text.count("| adam | Adam") == 2
    assert (tmp_path / "experiments" / "results" / "recipes-confirm-part.md").is_file()


def test_the_page_says_what_was_run_and_marks_what_is_told_apart(root, tmp_path):
    right = {"base": 0.5, "adam": 0.7, "wide": 0.5, "double_epochs": 0.5}
    ready = planned(root, "adam", "wide", "double_epochs", changes=("model.batch_size=8",))
    queue = Fake(right, fails="double")
    done = recipes_page.run(ready, Layout(tmp_path), queue, jobs=1)
    lines = done.markdown.splitlines()
    assert lines[0] == (
        f"`python -m experiments run recipes --root {root.name} --table clips.csv --lever adam "
        "--lever wide --lever double_epochs -S model.batch_size=8`, commit 0123456789ab."
    )
    rows = {cells[1].strip(): cells for line in lines if len(cells := line.split("|")) > 3}
    assert rows["adam"][3] == " `model.optimizer=adam` "
    assert rows["adam"][7].startswith(" **−0.")
    assert rows["wide"][7] == " +0.000 (no interval: the two predict the same) "
    assert rows["base"][6:9] == ["  ", "  ", " 1.00 "]
    assert rows["double_epochs"][4:9] == [" failed "] * 5
    assert [name.rsplit("-", 1)[0] for name in done.failed] == [
        "recipes-double_epochs-0",
        "recipes-double_epochs-1",
    ]
    assert str(root) not in done.markdown


def test_a_run_goes_on_with_what_is_not_there_yet(root, tmp_path):
    ready, queue = planned(root, "adam"), Fake({"base": 0.5, "adam": 0.6}, fails="adam-1")
    assert len(recipes_page.run(ready, Layout(tmp_path), queue, jobs=1).failed) == 1
    queue.fails = ""
    queue.added.clear()
    assert recipes_page.run(ready, Layout(tmp_path), queue, jobs=1).failed == []
    assert [name.rsplit("-", 1)[0] for name in queue.added] == ["recipes-adam-1"]


def test_without_the_base_nothing_is_compared(root, tmp_path):
    queue = Fake({"base": 0.5, "adam": 0.6}, fails="base")
    done = recipes_page.run(planned(root, "adam"), Layout(tmp_path), queue, jobs=1)
    assert "The base failed" in done.markdown
    assert len(done.failed) == 2


def test_a_page_takes_the_table_between_its_markers_unless_a_row_failed(root, tmp_path):
    page = tmp_path / "recipes.md"
    page.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    ready = planned(root, "adam")
    failing = Fake({"base": 0.5, "adam": 0.6}, fails="adam")
    recipes_page.run(ready, Layout(tmp_path), failing, jobs=1, into=page)
    assert "old" in page.read_text()
    queue = Fake({"base": 0.5, "adam": 0.6})
    done = recipes_page.run(ready, Layout(tmp_path), queue, jobs=1, into=page)
    assert page.read_text() == f"before\n{START}\n{done.markdown}{END}\nafter\n"
    page.write_text(f"{END}\n{START}\n")
    with pytest.raises(UserError, match=r"recipes\.md: lacks the lines"):
        pages.check_place(page)


def test_a_small_run_is_brief_and_stays_apart(root):
    ready = planned(root, small=True)
    assert ready.file_name == "recipes-small"
    assert {params["model"]["epochs"] for params in ready.composed.values()} == {1, 2, 4}
    assert len(ready.composed) == len(LEVERS) + 1
    assert "after two epochs no figure says anything" in recipes_page.page(ready, [], "x")


def test_the_table_is_listed():
    shown = CliRunner().invoke(app, ["list"]).output
    assert any(line.startswith("recipes ") for line in shown.splitlines())
    assert f"{len(LEVERS) + 1} rows" in shown
