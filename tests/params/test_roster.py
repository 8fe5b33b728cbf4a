"""What follows from params: recipes, entries, members of the ensemble, folds."""

import pytest

from earmark.errors import UserError
from earmark.params.roster import (
    baselines_of,
    entries_of,
    folds_of,
    members_of,
    model_of,
    overrides_of,
    recipe_of,
)
from tests.params.raw_params import DENSENET, changed, sound


def test_a_models_own_values_are_laid_over_the_shared_recipe(demo):
    params = sound(changed(demo, {f"{DENSENET}.training": {"epochs": 3, "frozen": ["features.0"]}}))
    entry = model_of(params, "logmel", "densenet_logmel")
    assert recipe_of(params, entry) == params.model.model_copy(update={"epochs": 3})


def test_an_extractors_own_values_are_laid_over_finetune(demo):
    params = sound(changed(demo, {"extractors.vggish.training": {"epochs": 3}, "model.seed": 1}))
    recipe = recipe_of(params, params.extractors["vggish"])
    assert recipe == params.finetune.model_copy(update={"epochs": 3})


def test_entries_are_found_by_key_path(demo):
    entries = entries_of(sound(demo))
    assert list(entries) == [
        DENSENET,
        "models.wave16k.samplecnn",
        "models.embedding.attention",
        "extractors.vggish",
    ]
    assert overrides_of(entries[DENSENET]) == {}
    assert set(overrides_of(entries["extractors.vggish"])) == {"epochs", "base_lr", "max_lr"}


def test_an_embedding_model_is_one_member_per_extractor(demo):
    params = sound(changed(demo, {"extractors.other": demo["extractors"]["vggish"]}))
    assert members_of(params) == {
        "attention-other": "embedding",
        "attention-vggish": "embedding",
        "densenet_logmel": "logmel",
        "samplecnn": "wave16k",
    }


def test_an_unknown_model_is_refused_with_those_of_its_group(demo):
    with pytest.raises(UserError, match=r"models\.logmel\.dense: no such model.*densenet_logmel"):
        model_of(sound(demo), "logmel", "dense")


def test_folds_follow_from_the_scheme(demo):
    assert folds_of(sound(demo).cv) == ["0", "1", "2"]
    params = sound(changed(demo, {"cv.scheme": "first_last", "folds": ["first", "last"]}))
    assert folds_of(params.cv) == params.fold_names == ["first", "last"]
    official = sound(changed(demo, {"cv.scheme": "official", "folds": [1, 10]}))
    assert folds_of(official.cv) is None  # the corpus alone knows


def test_a_linear_network_on_statistics_is_a_baseline(demo):
    assert baselines_of(sound(demo)) == []
    linear = {"name": "linear", "n_inputs": 80}
    assert baselines_of(sound(changed(demo, {f"{DENSENET}.network": linear}))) == []
    linear["pooling"] = "statistics"
    assert baselines_of(sound(changed(demo, {f"{DENSENET}.network": linear}))) == [
        "densenet_logmel"
    ]
