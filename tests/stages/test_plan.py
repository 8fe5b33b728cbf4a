"""What stage plan deletes, and what it leaves to the stages that run beside it."""

from pathlib import Path

from earmark.layout import Layout
from earmark.params.reading import load_params
from earmark.records import read_json
from stages import plan
from tests.source_graph import ROOT


def test_strays_go_and_what_a_prediction_is_writing_stays(tmp_path: Path) -> None:
    params, layout = load_params(ROOT / "params.yaml"), Layout(tmp_path)
    member, fold = "compact", params.fold_names[0]
    folder = layout.all_predictions / member
    for name in (fold, f".{fold}.123.part", "other", ".other.123.part", ".other.123.old"):
        (folder / name).mkdir(parents=True)
    (layout.all_predictions / "samplecnn").mkdir()  # where one begins to write
    (layout.all_predictions / "removed" / fold).mkdir(parents=True)
    for name in (f"{member}-{fold}", f"{member}-other", "removed-0"):
        layout.all_learning_curves.mkdir(parents=True, exist_ok=True)
        (layout.all_learning_curves / f"{name}.csv").touch()
    plan.run(params, layout)
    assert {path.name for path in layout.all_predictions.iterdir()} == {member, "samplecnn"}
    assert {path.name for path in folder.iterdir()} == {fold, f".{fold}.123.part"}
    assert [path.name for path in layout.all_learning_curves.iterdir()] == [f"{member}-{fold}.csv"]
    assert member in read_json(layout.plan)["members"]
