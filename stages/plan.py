"""Name the members of the ensemble, and delete what belongs to none of them any more.

Writes: data/plan.json; removes stray folders of data/predictions/ and files of data/training/
Params: models, extractors, folds, student (to leave its files there)
"""

from typing import Any

from earmark.layout import Layout
from earmark.params import Params
from earmark.params.roster import baselines_of, members_of
from earmark.records import write_json
from earmark.whole_files import discard, whole_name
from stages import stage


def run(params: Params, layout: Layout) -> dict[str, Any]:
    plan: dict[str, Any] = {
        "members": members_of(params),
        "baselines": baselines_of(params),
        "folds": params.fold_names,
    }
    for member in layout.all_predictions.glob("*"):
        if member.name not in plan["members"]:
            discard(member)
            continue
        for fold in member.iterdir():  # which a prediction may be writing beside this stage
            if whole_name(fold) not in plan["folds"]:
                discard(fold)
    trained = {*plan["members"], *params.extractors}
    curves = {layout.learning_curve(m, f) for m in trained for f in plan["folds"]}
    for path in layout.all_learning_curves.glob("*.csv"):
        if path not in curves:
            path.unlink()
    if not params.student:
        discard(layout.student)
        discard(layout.unlabelled)
    write_json(layout.plan, plan)
    return plan


if __name__ == "__main__":
    with stage("plan") as s:
        plan = run(s.params, s.layout)
        s.log.info("plan: %d members: %s", len(plan["members"]), ", ".join(plan["members"]))
