"""Train one model of the roster on one fold.

Reads: data/features/<feature>/ or data/embeddings/<extractor>/<fold>/, data/folds.parquet; for
    fusion both data/features/ of its backbones, and models/<backbone>/<fold>/
Writes: models/<member>/<fold>/, data/training/<member>-<fold>.csv
Params: model, models.<group>.<model>, features.<feature>, runtime
"""

import sys

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
    group, model, *rest = sys.argv[1:]  # [extractor] fold
    with stage("train", model, title=f"train_{group} {'-'.join([model, *rest])}") as s:
        run(s.params, s.layout, group, model, rest[-1], *rest[:-1], code=s.code)
