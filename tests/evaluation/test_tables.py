"""What is predicted for test clips, and what validation clips are taken for."""

import numpy as np

from earmark.evaluation.tables import confusion_rows, predicted_tags, tag_tables
from earmark.evaluation.temperature import temper
from tests.evaluation.small_predictions import TAGS, several_tags, small


def test_every_test_clip_has_three_tags_and_quarantine_is_marked() -> None:
    table = predicted_tags(small())
    assert table["clip"].tolist() == list("efgh")
    assert table["tags"].tolist()[3] == "Gong Flute Cough"
    assert table["quarantined"].tolist() == [False, False, True, False]
    assert table["probability"].tolist() == [0.4] * 4


def test_the_confusion_rows_name_actual_and_predicted_tags() -> None:
    rows = confusion_rows(small().validation)
    assert rows["actual"].tolist() == TAGS
    assert rows["predicted"].tolist() == ["Bark", "Cough", "Flute", "Bark"]


def test_clips_of_several_tags_are_given_those_above_their_thresholds() -> None:
    predictions = several_tags().with_answers()
    table = predicted_tags(predictions)
    assert len(table) == 20
    for clip, tags in zip(table["clip"], table["tags"], strict=True):
        probabilities = predictions.probabilities[int(clip[1:])]
        above = np.flatnonzero(probabilities >= predictions.thresholds.by_tag)
        expected = sorted(above, key=lambda k: -probabilities[k])
        assert tags == ";".join(TAGS[k] for k in expected)


def test_several_tags_have_tempered_thresholds_and_no_confusions() -> None:
    predictions = several_tags().with_answers()
    tables = tag_tables(predictions.validation, temperature=2.0)
    thresholds = temper(predictions.thresholds.by_tag, 2.0, is_multi_label=True)
    assert tables["per_class"]["threshold"].tolist() == thresholds.tolist()
    assert tables["confusion"].empty
    assert tables["confusion_pairs"].empty
