"""Each key of params.yaml that is not well formed is one line with its path and its fix."""

import pytest

from earmark.errors import UserError
from earmark.params.explanations import RENAMED, RENAMED_VALUES
from earmark.params.reading import load_params, parse_params, read_yaml
from tests.params.raw_params import (
    DENSENET,
    MISSING,
    SAMPLECNN,
    assert_one_problem,
    changed,
    problems_with,
)
from tests.source_graph import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")

OLD_PARAMS = ROOT / "tests" / "params" / "old_params.yaml"
# Where a key stood before it was renamed, by the beginning of its new name; else in `model`.
OLD_SECTIONS = {
    "input": DENSENET,
    "training": DENSENET,
    "prediction": DENSENET,
    "label_corrections": "corpus",
    "label_groups": "evaluate",
    "rejection_threshold": "evaluate",
    "class_mixing": "",
}
# What stood in old params.yaml and has no old name: keys that are new.
NEW_KEYS = {
    *(
        "adam_epsilon",
        "epoch_choice",
        "extensions",
        "fold_mean",
        "freeze_batch_norm",
        "fusion",
        "inner_share",
        "label_rounds",
        "layerwise_lr_decay",
        "links_outside",
        "rounds",
    ),
    *("band_gain_db", "band_shift", "time_stretch", "timeline", "weight_decay"),
    *("drop_test_copies", "mixup_draw", "normalise", "seed", "student", "training"),
    *("unlabelled", "weight_checksums"),
    "type",
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.mixup_alfa": 0.1}, ["model.mixup_alfa", "did you mean mixup_alpha?"]),
        ({"modle": {}}, ["modle: unknown key", "did you mean model?"]),
        ({f"{DENSENET}.inputs": {}}, [f"{DENSENET}.inputs:", "did you mean input?"]),
        (
            {f"{DENSENET}.input.segment_second": 2.0},
            [f"{DENSENET}.input.segment_second:", "did you mean segment_seconds?"],
        ),
        ({"extractors.vggish.trainin": {}}, ["extractors.vggish.trainin", "mean training?"]),
        ({f"{DENSENET}.training.init_from": "w.safetensors"}, [DENSENET, "64 hex digits"]),
        ({f"{DENSENET}.input.padding": "edge"}, ["padding", "'right', 'random', 'tile'"]),
        ({"class_mixing.same_class.q": [1.0]}, ["class_mixing.same_class.q", "at least 2"]),
        ({"model.mixup_alpha": "0.1"}, ["model.mixup_alpha", "valid number", "'0.1'"]),
        ({"model.mixup_alpha": True}, ["model.mixup_alpha", "valid number", "True"]),
        ({"model.mixup_alpha": -0.1}, ["model.mixup_alpha", "equal to 0", "-0.1"]),
        ({"model.mixup_alpha": float("nan")}, ["model.mixup_alpha", "finite"]),
        ({"model.l2": float("inf")}, ["model.l2", "finite"]),
        ({"model.mixup_alpha": MISSING}, ["model.mixup_alpha: missing; add it"]),
        ({"model.epochs": 2.5}, ["model.epochs", "valid integer", "2.5"]),
        ({"model.max_lr": 1e-9}, ["model: max_lr is below base_lr; swap or raise it"]),
        ({"seed": "one"}, ["seed", "valid integer", "'one'"]),
        ({"runtime": None}, ["runtime", "None"]),
        ({"corpus.root": ""}, ["corpus.root", "at least 1 character"]),
        ({"folds": []}, ["folds", "at least 1"]),
        ({"folds": [0.5]}, ["folds.0", "0.5"]),
        ({f"{DENSENET}.network": MISSING}, [f"{DENSENET}.network: missing"]),
        (
            {f"{DENSENET}.prediction.aggregation": "men"},
            ["'confident_crop', 'mean', 'mean_of_random_crops' or 'best_out_of_fold'"],
        ),
        ({"extractors.vggish.weights": "w.safetensors"}, ["extractors.vggish", "64 hex digits"]),
        ({"ensemble.weights": "learn"}, ["ensemble.weights", "'learned' or 'equal'", "'learn'"]),
        ({"features.logmel.type": MISSING}, ["features.logmel.type: missing"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_a_malformed_key_is_one_line_with_its_path_and_fix(demo, changes, words):
    assert_one_problem(changed(demo, changes), *words)


def test_a_name_that_cannot_be_a_folder_is_refused(demo):
    entry = demo["models"]["logmel"]["densenet_logmel"]
    raw = changed(demo, {"models.logmel.Dense-Net": entry})
    assert_one_problem(raw, "models.logmel.Dense-Net", "a-z")


def test_a_mapping_of_weights_is_judged_as_a_mapping(demo):
    raw = changed(demo, {"ensemble.weights": {"samplecnn": -1.0}})
    assert_one_problem(raw, "ensemble.weights.samplecnn", "equal to 0", "-1.0")
    raw = changed(demo, {"ensemble.weights": {"samplecnn": float("nan")}})
    assert_one_problem(raw, "ensemble.weights.samplecnn", "finite")


def test_all_malformed_keys_are_reported_at_once(demo):
    changes = {"model.mixup_alfa": 1, "model.epochs": 0, "trim.top_db": None, "cv": MISSING}
    problems = problems_with(changed(demo, changes))
    keys = ["cv", "model.epochs", "model.mixup_alfa", "trim.top_db"]
    assert sorted(line.split(": ")[1] for line in problems) == keys


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_renamed_key_is_refused_with_its_new_name(demo, old, new):
    first, _, last = new.partition(".")
    section = OLD_SECTIONS.get(first, "model")
    old_key = f"{section}.{old}" if section else old
    new_key = new if first == "runtime" or not section else f"{section}.{new}"
    line = f"{old_key}: unknown key; it is now called {new}"
    raw = changed(demo, {new_key: MISSING, old_key: 0})
    assert_one_problem(raw, line)
    if last and first != "runtime":  # nor is the section of the new key asked for
        assert_one_problem(changed(raw, {f"{section}.{first}": MISSING}), line)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [(name, old, new) for name, values in RENAMED_VALUES.items() for old, new in values.items()],
)
def test_a_renamed_value_is_refused_with_its_new_name(demo, name, old, new):
    sections = {"aggregation": f"{DENSENET}.prediction", "padding": f"{DENSENET}.input"}
    key = f"{sections.get(name, 'model')}.{name}"
    assert_one_problem(changed(demo, {key: old}), f"{key}: ", f"{old} is now called {new}")
    guided = {"model.epoch_choice": "scored_fold"}  # multistep lowers the rate by a validation loss
    assert problems_with(changed(demo, {key: new, **guided})) == []


def test_a_renamed_key_and_its_renamed_value_are_one_line(demo):
    raw = changed(demo, {f"{SAMPLECNN}.fill": "end"})
    assert_one_problem(raw, "it is now called input.padding; end is now called right")


def test_old_params_are_refused_with_every_new_name():
    problems = problems_with(read_yaml(OLD_PARAMS))
    assert len(problems) > 40
    for line in problems:
        key, message = line.removeprefix("params.yaml: ").split(": ", maxsplit=1)
        name = key.split(".")[-1]
        if name in NEW_KEYS:
            assert message.startswith("missing; add it")
        elif name == "schedule":
            assert message.endswith("cycles is now called cyclical")
        else:
            assert message.startswith(f"unknown key; it is now called {RENAMED[name]}")


@pytest.mark.parametrize("raw", [None, [], "text", 3])
def test_what_is_not_a_mapping_says_how_to_begin(raw):
    assert parse_params(raw, "params.yaml")[0] is None
    assert_one_problem(raw, "profile use demo")


def test_a_missing_file_says_where_to_run_earmark(tmp_path):
    with pytest.raises(UserError, match="not there; run earmark from the folder of dvc"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    "content",
    [b"a: [1\n", b"a: 1\na: 2\n", b"a:\tb\n", b"a: \xff\n", b"a: 1\n---\nb: 1\n", b"a: *b\n"],
)
def test_broken_yaml_is_one_line(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not valid YAML") as caught:
        load_params(path)
    assert "\n" not in str(caught.value)


def test_params_cut_short_are_one_line_and_lacking_one_section_is_another(tmp_path):
    text = (ROOT / "params.yaml").read_text()
    path = tmp_path / "params.yaml"
    path.write_text(text[: text.index("\nfinetune:")])
    with pytest.raises(UserError) as error:
        load_params(path)
    (problem,) = error.value.problems
    assert problem.startswith("params.yaml: ends with section model; it may be cut short: `git che")
    raw = read_yaml(ROOT / "params.yaml")
    del raw["finetune"], raw["extensions"]
    assert parse_params(raw, "params.yaml")[1] == [
        f"params.yaml: {name}: missing; add it (profiles/base.yaml and demo.yaml show one)"
        for name in ("finetune", "extensions")
    ]
