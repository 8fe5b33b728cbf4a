"""Decide about the labels that nobody verified, from what the networks of a round answered.

Reads: data/checks/<round>/, data/folds.parquet
Writes: data/rounds/before_i<round>.parquet (before_ii are the decisions of round i)
Params: folds, label_rounds.correct_above, label_rounds.correct_precision, label_rounds.doubt_weight
"""

import pandas as pd

from earmark.audit.label_decisions import decide_round, summary_of
from earmark.corpora.label_rounds import FIRST
from earmark.layout import Layout
from earmark.params import Params
from earmark.records import write_table
from stages import stage


def run(params: Params, layout: Layout, round: str) -> pd.DataFrame:
    decisions = decide_round(params, layout, round)
    write_table(layout.labels_before(FIRST + round), decisions)
    return decisions


if __name__ == "__main__":
    with stage("decide_labels", "round") as s:
        counts = summary_of(run(s.params, s.layout, **s.arguments), None)
        s.log.info("decide_labels: %s", ", ".join(f"{name} {n}" for name, n in counts.items()))
