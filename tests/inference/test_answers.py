"""What is answered for a recording, given the probabilities of the networks together."""

import numpy as np
import pytest

from earmark.ensemble.rules import Estimator
from earmark.inference.answers import Prediction, Timeline

TAGS = ["bark", "bell", "cello"]
COMBINED = np.array([0.1, 0.64, 0.26])


def estimator(**changes) -> Estimator:
    usual = {"temperature": 1.0, "rejection_threshold": 0.0, "thresholds": None, "calibration": ""}
    return Estimator(**(usual | changes))


def predicted(**changes) -> Prediction:
    return Prediction.of(COMBINED, TAGS, estimator(**changes), clip="a.wav", n_crops=3)


def test_the_likeliest_tag_is_the_answer():
    prediction = predicted()
    assert prediction.answer == ["bell"]
    assert prediction.tags == ["bell", "cello", "bark"]
    assert prediction.probabilities == pytest.approx([0.64, 0.26, 0.1])
    assert prediction.line(2) == "a.wav: bell 0.64  | cello 0.26"
    assert prediction.line(1) == "a.wav: bell 0.64"


def test_probabilities_are_tempered_and_their_order_stays():
    prediction = predicted(temperature=2.0)
    expected = np.sqrt([0.64, 0.26, 0.1]) / np.sqrt([0.64, 0.26, 0.1]).sum()
    assert prediction.probabilities == pytest.approx(expected)
    assert prediction.tags == ["bell", "cello", "bark"]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_an_unconfident_answer_is_unknown_by_its_calibrated_probability(temperature):
    prediction = predicted(temperature=temperature, rejection_threshold=0.6)
    is_confident = temperature == 1.0  # tempered by 2, 0.64 becomes 0.49
    assert prediction.answer == (["bell"] if is_confident else None)
    assert prediction.to_json(3)["answer"] == (["bell"] if is_confident else "unknown")
    assert prediction.line(1).startswith(
        "a.wav: bell 0.64" if is_confident else "a.wav: unknown  | bell 0.49"
    )


def several(thresholds: list[float], **changes) -> Prediction:
    by_tag = dict(zip(TAGS, thresholds, strict=True))
    return predicted(thresholds=by_tag, **changes)


def test_every_tag_from_its_own_threshold_upwards_is_answered():
    prediction = several([0.1, 0.7, 0.2])
    assert prediction.answer == ["cello", "bark"]
    assert prediction.line(3) == "a.wav: cello 0.26  bark 0.10  | bell 0.64"
    assert several([0.5, 0.9, 0.5]).answer == []
    assert several([0.5, 0.9, 0.5]).line(1) == "a.wav: none  | bell 0.64"
    unknown = several([0.1, 0.7, 0.2], rejection_threshold=0.65)
    assert unknown.answer is None


def test_thresholds_are_of_the_calibrated_probabilities():
    tempered = 0.75 / (1 + 0.75)  # odds of 0.36 : 0.64, their square root is 0.6 : 0.8
    warm = estimator(temperature=2.0, thresholds={"bark": tempered - 1e-6})
    prediction = Prediction.of(np.array([0.36]), ["bark"], warm, clip="", n_crops=1)
    assert prediction.probabilities == pytest.approx([tempered])
    assert prediction.answer == ["bark"]


def test_json_holds_the_answer_and_the_likeliest_tags():
    assert predicted().to_json(2) == {
        "clip": "a.wav",
        "answer": ["bell"],
        "tags": {"bell": pytest.approx(0.64), "cello": pytest.approx(0.26)},
        "crops": 3,
    }


def test_a_timeline_answers_segment_by_segment_and_knows_silence():
    probabilities = np.array([[0.1, 0.7, 0.2], [np.nan] * 3, [0.4, 0.3, 0.3]])
    timeline = Timeline(
        clip="a.wav",
        seconds=4.5,
        starts=np.array([0.0, 1.5, 3.0]),
        ends=np.array([1.5, 3.0, 4.5]),
        tags=TAGS,
        probabilities=probabilities,
        estimator=estimator(rejection_threshold=0.5),
    )
    first, silent, last = timeline.predictions()
    assert (first.answer, silent, last.answer) == (["bell"], None, None)
    assert last.tags == ["bark", "bell", "cello"]
    frame = timeline.to_frame()
    assert frame["answer"].tolist() == ["bell", "silence", "unknown"]
    assert frame["bell"].tolist()[::2] == [0.7, 0.3]
    assert frame["start_seconds"].tolist() == [0.0, 1.5, 3.0]
