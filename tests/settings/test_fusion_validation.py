"""A fusion model whose backbones do not fit together is refused before any training."""

from typing import Any

import pytest

from tests.params.raw_params import assert_one_problem, changed, problems_with


def entry(network: dict[str, Any], **input_: Any) -> dict[str, Any]:
    return {
        "network": network,
        "input": input_,
        "training": {},
        "prediction": {"aggregation": "mean"},
    }


AUDIO = "models.wave44k.comb_audio"
SPEC = "models.logmel128.comb_spec"
COMB = "models.fusion.comb"


@pytest.fixture
def fusion(demo) -> dict[str, Any]:
    """The demo with a fusion model on 1 s of the waveform and of a log-mel of 128 bands."""
    return changed(
        demo,
        {
            "features.wave44k": {"type": "waveform", "target_hz": 44100},
            "features.logmel128": {**demo["features"]["logmel"], "n_mels": 128},
            "fusion": {"audio": "wave44k", "spec": "logmel128"},
            AUDIO: entry({"name": "cnn_audio", "n_samples": 44100}, segment_samples=44100),
            SPEC: entry({"name": "cnn_spec", "n_frames": 87}, segment_seconds=1.0),
            COMB: entry({"name": "cnn_comb"}),
        },
    )


def test_backbones_that_read_the_same_seconds_are_sound(fusion):
    assert problems_with(fusion) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {f"{SPEC}.input.segment_seconds": 2.0, f"{SPEC}.network.n_frames": 173},
            [COMB, "44100 samples and 173 frames; give both segments of the same seconds"],
        ),
        (
            {f"{SPEC}.network": {"name": "densenet"}},
            [f"{SPEC}.network.name: densenet", f"{COMB} needs cnn_spec; set it so"],
        ),
        (
            {f"{AUDIO}.network": {"name": "resnet1d"}},
            [f"{AUDIO}.network.name: resnet1d", f"{COMB} needs cnn_audio; set it so"],
        ),
        ({f"{COMB}.network.name": "densenet"}, [f"{COMB}.network.name", "{name: cnn_comb}"]),
        ({f"{COMB}.network.n_frames": 87}, [f"{COMB}.network.n_frames: the backbones decide it"]),
        ({f"{COMB}.input.segment_seconds": 1.0}, [f"{COMB}.input.segment_seconds", "input: {}"]),
        (
            {"features.wave44k.target_hz": 22050},
            ["features.wave44k.target_hz: 22050", "decode.sample_rate, 44100", "set one"],
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_backbones_that_do_not_fit_are_refused(fusion, changes, words):
    assert_one_problem(changed(fusion, changes), *words)


def test_a_feature_of_another_type_is_refused(fusion):
    mfcc = {**fusion["features"]["logmel128"], "type": "mfcc", "n_mfcc": 80}
    problems = problems_with(changed(fusion, {"features.logmel128": mfcc}))
    fix = "name a feature of type logmel"
    assert f"params.yaml: fusion.spec: logmel128 is of type mfcc; {fix}" in problems


def test_a_backbone_without_a_segment_is_reported_with_the_backbone(fusion):
    assert_one_problem(changed(fusion, {f"{SPEC}.input": {}}), f"{SPEC}.input.segment_seconds")
