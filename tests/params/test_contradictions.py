"""Keys of params.yaml that contradict one another are refused with the fix."""

import pytest

from earmark.params.roster import recipe_of
from tests.params.raw_params import (
    ATTENTION,
    DENSENET,
    MISSING,
    assert_one_problem,
    changed,
    problems_with,
    sound,
)

FUSION_ENTRY = {
    "network": {"name": "cnn_comb"},
    "input": {},
    "training": {},
    "prediction": {"aggregation": "mean"},
}
CHECKED = {"label_rounds.feature": "logmel", "label_rounds.model": "densenet_logmel"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"folds": [0, 1, 3]}, ["folds: '3'", "0, 1, 2", "raise cv.k"]),
        ({"folds": ["first"]}, ["folds: 'first'", "stratified", "0, 1, 2"]),
        ({"folds": [0, 1, 1]}, ["folds: [0, 1, 1]", "twice", "name each once"]),
        ({"cv.scheme": "first_last", "folds": [0]}, ["folds: '0'", "first, last"]),
        ({"models": {"logmel": {}}}, ["models: there is no model; add at least one"]),
        ({"extractors": {}}, [f"{ATTENTION}: there is no extractor; add one"]),
        ({"features.logmel": MISSING}, ["features.logmel: missing", DENSENET, "add it"]),
        ({"features.patches": MISSING, "models.embedding": {}}, ["add `patches: {type: patches}`"]),
        ({"ensemble.weights": {"densenet_logmel": 1.0}}, ["no weight for attention-vggish, samp"]),
        ({"extractors.vggish.training": {"epoch": 3}}, ["vggish.training.epoch:", "mean epochs?"]),
        (
            {**CHECKED, "rounds": ["ii"]},
            ["rounds: ['ii']", "[i, ii] or [i, ii, iii]"],
        ),
        ({**CHECKED, "rounds": ["i", "i"]}, ["rounds: ['i', 'i']", "follow one another"]),
        ({**CHECKED, "rounds": ["i"], "label_rounds.feature": "mel"}, ["no feature mel", "logmel"]),
        (
            {**CHECKED, "rounds": ["i"], "label_rounds.model": "dense"},
            ["no model models.logmel.dense", "logmel.densenet_logmel"],
        ),
        ({f"{DENSENET}.training.epoch": 3}, [f"{DENSENET}.training.epoch:", "mean epochs?"]),
        ({f"{DENSENET}.training.epochs": "x"}, [f"{DENSENET}.training.epochs:", "integer", "'x'"]),
        ({f"{DENSENET}.training.stages": 2}, ["training.stages", "now called multistep_stages"]),
        ({f"{DENSENET}.training.max_lr": 1e-9}, [f"{DENSENET}.training: max_lr is below base_lr"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_a_contradiction_is_one_line_with_key_and_fix(demo, changes, words):
    assert_one_problem(changed(demo, changes), *words)


def test_a_misspelt_feature_of_models_gets_a_suggestion(demo):
    models = demo["models"]["logmel"]
    raw = changed(demo, {"models.logmell": models, "models.logmel": {}})
    assert_one_problem(raw, "features.logmell: missing", "did you mean logmel? If not, add it")


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"samplecn": 1.0}, ["ensemble.weights.samplecn: no such member", "samplecnn"]),
        ({"densenet_logmel": 0.0, "samplecnn": 0.0}, ["ensemble.weights: all are 0", "give"]),
    ],
)
def test_a_bad_weight_of_the_ensemble_is_named(demo, weights, words):
    good = {"densenet_logmel": 1.0, "samplecnn": 2, "attention-vggish": 0.0}
    assert problems_with(changed(demo, {"ensemble.weights": good})) == []
    assert_one_problem(changed(demo, {"ensemble.weights": {**good, **weights}}), *words)


def test_a_model_may_not_have_the_name_of_another_or_of_an_extractor(demo):
    entry = demo["models"]["wave16k"]["samplecnn"]
    twice = problems_with(changed(demo, {"models.wave16k.vggish": entry}))
    assert [line.split(": ")[1] for line in twice] == ["models.wave16k.vggish"]
    twice = problems_with(changed(demo, {"models.wave16k.densenet_logmel": entry}))
    assert [line.split(": ")[1] for line in twice] == [DENSENET, "models.wave16k.densenet_logmel"]


@pytest.mark.parametrize("name", ["ensemble", "clips", "student"])
def test_names_of_earmarks_own_are_refused(demo, name):
    entry = demo["models"]["wave16k"]["samplecnn"]
    raw = changed(demo, {f"models.wave16k.{name}": entry})
    assert_one_problem(raw, f"models: {name} is a name of earmark's; take another")


def test_a_fusion_model_needs_its_two_backbones_and_their_features(demo):
    raw = changed(demo, {"models.fusion": {"comb": FUSION_ENTRY}})
    assert problems_with(raw) == [
        "params.yaml: features.wave44k: missing, but models.fusion.comb reads it; did you mean "
        "wave16k? If not, add it",
        "params.yaml: models.fusion.comb: its backbone models.wave44k.comb_audio is not there; "
        "add it",
        "params.yaml: models.fusion.comb: its backbone models.logmel.comb_spec is not there; "
        "add it",
    ]


@pytest.mark.parametrize(
    ("key", "value", "off"),
    [
        ("backbone_lr_multiplier", 0.1, 1.0),
        ("layerwise_lr_decay", 0.7, 1.0),
        ("freeze_batch_norm", True, False),
    ],
)
def test_an_entry_may_ask_of_a_backbone_what_one_with_trained_weights_can_have(
    demo, key, value, off
):
    raw = changed(demo, {f"{DENSENET}.training.{key}": value})
    expected = f"{DENSENET}.training.{key}: {value}, but all starts from random values; set "
    assert_one_problem(raw, f"{expected}{DENSENET}.training.init_from, or delete the line")
    assert problems_with(changed(raw, {f"{DENSENET}.training.{key}": off})) == []
    of_extractor = changed(demo, {"extractors.vggish.training": {key: value}})
    assert_one_problem(of_extractor, "set extractors.vggish.weights")
    weights = {"init_from": "w.safetensors", "init_sha256": "0" * 64}
    with_weights = {f"{DENSENET}.training.{name}": text for name, text in weights.items()}
    assert problems_with(changed(raw, with_weights)) == []
    assert problems_with(changed(demo, {f"model.{key}": value})) == [], "it is for those that can"


def test_the_peak_of_cycles_does_not_bound_a_constant_rate(demo):
    raw = changed(demo, {"model.schedule": "constant", "model.base_lr": 0.1})
    assert problems_with(raw) == []


def student(demo, **changes):
    return {
        **demo["models"]["logmel"]["densenet_logmel"],
        "teacher_weight": 0.7,
        "made_clips": 0,
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"training": {"epoch_choice": "inner_split"}}, ["epoch_choice: ", "set it to last"]),
        (
            {"prediction": {"aggregation": "best_out_of_fold"}},
            ["prediction.aggregation: ", "set it to mean"],
        ),
        ({"training": {"epoch": 3}}, ["training.epoch:", "mean epochs?"]),
        ({"training": {"schedule": "multistep"}}, ["training: schedule multistep"]),
        ({"teacher_weight": 1.5}, ["teacher_weight"]),
        ({"made_clips": -1}, ["made_clips"]),
        ({"made_clips": 1001}, ["made_clips"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_a_student_may_ask_for_nothing_that_takes_validation_clips(demo, changes, words):
    assert problems_with(changed(demo, {"student": {"logmel": student(demo)}})) == []
    raw = changed(demo, {"student": {"logmel": student(demo, **changes)}})
    assert_one_problem(raw, "student.logmel", *words)


def test_there_is_one_student_and_it_reads_a_feature(demo):
    two = {"logmel": student(demo), "mfcc": student(demo)}
    assert_one_problem(changed(demo, {"student": two}), "student: there is one", "logmel, mfcc")
    raw = changed(demo, {"student": {"logmell": student(demo)}})
    assert_one_problem(raw, "student.logmell: there is no feature logmell", "did you mean logmel?")
    raw = changed(demo, {"student": {"fusion": student(demo)}})
    assert_one_problem(raw, "student.fusion: there is no feature fusion", "add it")


def test_a_student_is_trained_to_the_last_epoch_whatever_models_do(demo):
    raw = changed(demo, {"student": {"logmel": student(demo)}, "model.epoch_choice": "inner_split"})
    params = sound(raw)
    assert recipe_of(params, params.student["logmel"]).epoch_choice == "last"
    assert recipe_of(params, params.models["logmel"]["densenet_logmel"]).epoch_choice != "last"
