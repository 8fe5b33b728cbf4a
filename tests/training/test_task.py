"""What a corpus asks for, and whether a monitor fits it."""

import pytest

from earmark.errors import UserError
from earmark.training.task import Task, check_monitor
from tests.training.conftest import TAGS, clip_table


def test_several_tags_in_any_clip_make_every_output_a_sigmoid() -> None:
    clips = clip_table(0, 6)
    assert Task.of(clips) == Task(TAGS, is_multi_label=False, aux_labels=[])
    assert Task.of(clips).activation == "softmax"
    clips.loc[0, "label"] = "Bark;Cough"
    assert Task.of(clips) == Task(TAGS, is_multi_label=True, aux_labels=[])
    assert Task.of(clips).activation == "sigmoid"


def test_a_monitor_that_does_not_fit_the_corpus_is_refused_with_those_that_do() -> None:
    with pytest.raises(UserError, match=r"m-0: monitor roc_auc does not fit .* one tag per clip"):
        check_monitor("roc_auc", "softmax", name="m-0")
    with pytest.raises(UserError, match=r"several tags per clip; set monitor .* roc_auc"):
        check_monitor("accuracy", "sigmoid", name="m-0")
    check_monitor("loss", "softmax", name="m-0")
    check_monitor("loss", "sigmoid", name="m-0")
