"""Train the student on what the ensemble answers for its training clips; predict test clips.

Reads: data/features/<feature>/, data/folds.parquet, data/ensemble/, data/unlabelled/
Writes: models/student/all/, data/training/student/
Params: student, model, features, models, extractors, fusion, folds, inference.n_crops, runtime
"""

from earmark.evaluation.predictions import read_metadata
from earmark.layout import Layout
from earmark.params import Params
from stages import stage


def run(params: Params, layout: Layout, *, code: str = "") -> None:
    from earmark.settings.clip_cost import clip_costs
    from earmark.training.student import train_student

    costs = clip_costs(params, read_metadata(layout.ensemble)["weights"])
    train_student(params, layout, costs=costs, code=code)


if __name__ == "__main__":
    with stage("student") as s:
        run(s.params, s.layout, code=s.code)
