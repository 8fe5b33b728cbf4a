"""Give every usable clip its role in every fold that the scheme has.

Reads: data/clips.parquet, corpus.label_corrections (the user's decisions about doubtful clips)
Writes: data/folds.parquet, metrics/split.json
Params: cv, corpus.label_corrections, seed
"""

import pandas as pd

from earmark.corpora.corrections import apply_corrections
from earmark.corpora.folds import facts_of, merged_sources, roles
from earmark.errors import UserError
from earmark.labels import tags_of
from earmark.layout import Layout
from earmark.params import Params
from earmark.params.roster import folds_of
from earmark.store import read_table, write_json, write_table
from stages import stage


def run(params: Params, layout: Layout) -> pd.DataFrame:
    clips = read_table(layout.clips)
    usable = clips[~clips["quarantined"]]
    train = usable[usable["split"] == "train"]
    labels = clips.loc[clips["split"] == "train", "label"]
    if lost := sorted(set(tags_of(labels)) - set(tags_of(train["label"]))):
        fix = "fix them (metrics/decode.json says what is wrong), or drop the class"
        raise UserError(f"class {lost[0]}: all of its clips are in quarantine; {fix}")
    try:
        assigned = roles(
            train.assign(source=merged_sources(train)),
            scheme=params.cv.scheme,
            k=params.cv.k,
            folds=folds_of(params.cv),  # all, so that a fold more retrains no other
            seed=params.seed,
            verified_validation_only=params.cv.verified_validation_only,
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    names = [f"fold_{name}" for name in assigned.columns]
    columns = usable[["clip", "split", "label", "aux_label", "verified"]]
    folds = columns.join(assigned.set_axis(names, axis=1))
    folds[names] = folds[names].fillna("").where(folds["split"] == "train", "test")
    facts = facts_of(usable, assigned, scheme=params.cv.scheme)
    folds = folds.reset_index(drop=True)
    folds, edits = apply_corrections(folds, clips, layout.root / params.corpus.label_corrections)
    facts |= {"edits": edits} if edits else {}
    write_table(layout.folds, folds)
    write_json(layout.metrics / "split.json", facts)
    return folds


if __name__ == "__main__":
    with stage("split") as s:
        folds = run(s.params, s.layout)
        s.log.info(
            "split: %d clips in folds %s, %d test clips",
            (folds["split"] == "train").sum(),
            ", ".join(folds_of(s.params.cv)),
            (folds["split"] == "test").sum(),
        )
