"""Train one model of the roster on one fold.

Reads: data/features/<feature>/ or data/embeddings/<extractor>/<fold>/, data/folds.parquet,
    data/rounds; for fusion both data/features/ of its backbones, and models/<backbone>/<fold>/
Writes: models/<member>/<fold>/, data/training/<member>-<fold>.csv
Params: model, rounds, models.<group>.<model>, features.<feature>, runtime
"""

from earmark.layout import Layout
from earmark.params import Params
from stages import stage


def run(
    params: Params,
    layout: Layout,
    group: str,
    model: str,
    fold: str,
    extractor: str | None = None,
    *,
    code: str = "",
) -> None:
    from earmark.training.run import train_model

    train_model(params, layout, group, model, fold, extractor, code=code)


if __name__ == "__main__":
    with stage("train", "group", "model", "extractor", "fold") as s:
        run(s.params, s.layout, **s.arguments, code=s.code)
