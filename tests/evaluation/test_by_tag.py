"""Tables by tag, against hand-made values and scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as reference

from earmark.evaluation.by_tag import confusion_pairs, per_class, per_tag

TAGS = ["bark", "bell", "cello", "cough"]


def test_per_class_names_what_each_tag_is_taken_for():
    probabilities = np.eye(4)[[0, 1, 1, 2, 2]]
    table = per_class(probabilities, np.array([0, 0, 0, 2, 2]), TAGS).set_index("tag")
    assert table["n_clips"].tolist() == [3, 0, 2, 0]
    assert table["confused_with"].tolist() == ["bell", "", "", ""]
    assert table.loc["bark", ["precision", "recall", "f1"]].tolist() == [1, 1 / 3, 1 / 2]
    assert table.loc["bark", "map_at_3"] == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert np.isnan(table.loc["cough", "map_at_3"])
    assert table.loc["bell", ["precision", "recall", "f1"]].tolist() == [0, 0, 0]


def test_confusion_pairs_come_by_count_and_leave_out_the_hits():
    confusion = np.array([[5, 1, 0, 4], [2, 8, 0, 0], [0, 0, 3, 0], [1, 0, 0, 0]])
    pairs = confusion_pairs(confusion, TAGS)
    assert pairs.to_dict("list") == {
        "actual": ["bark", "bell", "bark", "cough"],
        "predicted": ["cough", "bark", "bell", "bark"],
        "count": [4, 2, 1, 1],
        "share_of_actual": [0.4, 0.2, 0.1, 1.0],
    }
    assert confusion_pairs(np.diag([1, 2, 3, 4]), TAGS).empty


def test_a_confusion_matrix_of_other_tags_is_refused():
    with pytest.raises(ValueError, match=r"expected confusion \(4, 4\), got \(3, 3\)"):
        confusion_pairs(np.eye(3, dtype=int), TAGS)


def test_each_tag_of_several_is_scored_by_its_own_answers():
    rng = np.random.default_rng(0)
    targets = (rng.random((50, 4)) < 0.4).astype(np.float32)
    targets[:, 3] = 0  # nobody coughs
    probabilities = (0.3 * targets + 0.7 * rng.random((50, 4))).round(2)
    thresholds = np.array([0.3, 0.5, 0.7, 1.0])
    table = per_tag(probabilities, targets, probabilities >= thresholds, thresholds, TAGS)
    for k in range(3):
        row, y, p = table.iloc[k], targets[:, k], probabilities[:, k]
        assert row["n_clips"] == y.sum()
        assert row["roc_auc"] == pytest.approx(reference.roc_auc_score(y, p))
        assert row["average_precision"] == pytest.approx(reference.average_precision_score(y, p))
        found = reference.precision_recall_fscore_support(y, p >= thresholds[k], average="binary")
        assert row[["precision", "recall", "f1"]].tolist() == pytest.approx(found[:3])
    assert table["threshold"].tolist() == thresholds.tolist()
    assert table.loc[3, ["roc_auc", "average_precision"]].isna().all()
    assert table.loc[3, "f1"] == 0
