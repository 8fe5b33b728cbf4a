"""Train the model that checks labels on one fold, and keep what it answers for the clips held out.

Reads: data/features/<feature>/, data/folds.parquet, data/rounds/before_<round>.parquet
Writes: data/checks/<round>/<fold>/
Params: model, models.<group>.<model>, features.<feature>, label_rounds.feature, label_rounds.model,
    cv.scheme, cv.verified_validation_only, runtime
"""

from earmark.layout import Layout
from earmark.params import Params
from stages import stage


def run(params: Params, layout: Layout, round: str, fold: str, *, code: str = "") -> int:
    from earmark.training.label_checks import check_labels

    return check_labels(params, layout, round, fold, code=code)


if __name__ == "__main__":
    with stage("check_labels", "round", "fold") as s:
        n_clips = run(s.params, s.layout, **s.arguments, code=s.code)
        s.log.info("check_labels: %d clips answered", n_clips)
