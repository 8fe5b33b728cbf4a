"""Fine-tune a VGGish on the patches of one fold's training clips (Xu et al., section 2.2).

Reads: data/features/patches/, data/folds.parquet, data/rounds
Writes: models/<extractor>/<fold>/, data/training/<extractor>-<fold>.csv
Params: finetune, rounds, extractors.<extractor>, features.patches, runtime
"""

from earmark.layout import Layout
from earmark.params import Params
from stages import stage


def run(params: Params, layout: Layout, extractor: str, fold: str, *, code: str = "") -> None:
    from earmark.training.run import train_extractor

    train_extractor(params, layout, extractor, fold, code=code)


if __name__ == "__main__":
    with stage("finetune", "extractor", "fold") as s:
        run(s.params, s.layout, **s.arguments, code=s.code)
