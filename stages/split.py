"""Divide the usable clips into training and validation, once for each fold of the scheme.

Reads: data/clips.parquet, corpus.label_corrections (the user's decisions about labels)
Writes: data/folds.parquet, data/rounds/before_i.parquet (nothing is decided before the first round
    of self-verification), metrics/split.json; removes other rounds of data/rounds/ and data/checks/
Params: cv, folds (to refuse wrong names), corpus.label_corrections, rounds, seed
"""

import pandas as pd

from earmark.corpora.corrections import apply_corrections
from earmark.corpora.label_rounds import begin_rounds, check_rounds
from earmark.corpora.split_names import fold_columns
from earmark.corpora.split_summary import summarise_split
from earmark.corpora.splits import folds_table, split_training_clips, usable_clips
from earmark.corpora.stored_tables import read_clips
from earmark.layout import Layout
from earmark.params import Params
from earmark.records import write_json, write_table
from stages import stage


def run(params: Params, layout: Layout) -> pd.DataFrame:
    clips = read_clips(layout)
    usable = usable_clips(clips, params.cv)
    assigned = split_training_clips(clips, params.cv, folds=params.fold_names, seed=params.seed)
    n_copies = int((~clips["quarantined"]).sum()) - len(usable)
    summary = summarise_split(usable, assigned, scheme=params.cv.scheme, n_test_copies=n_copies)
    path = layout.root / params.corpus.label_corrections
    table = folds_table(usable, assigned, inner_share=params.cv.inner_share, seed=params.seed)
    folds, corrections = apply_corrections(table, clips, path)
    check_rounds(folds, params.rounds)
    begin_rounds(layout, params.rounds, params.fold_names)
    summary |= {"label_corrections": corrections} if corrections else {}
    write_table(layout.folds, folds)
    write_json(layout.metrics / "split.json", summary)
    return folds


if __name__ == "__main__":
    with stage("split") as s:
        folds = run(s.params, s.layout)
        s.log.info(
            "split: %d clips in folds %s, %d test clips",
            (folds["split"] == "train").sum(),
            ", ".join(name.removeprefix("fold_") for name in fold_columns(folds)),
            (folds["split"] == "test").sum(),
        )
