"""What is wrong with the corpus' folder and tables, found before anything is decoded."""

from pathlib import Path

import pandas as pd

from earmark.corpora.adapters import ADAPTERS
from earmark.corpora.adapters import find as find_adapter
from earmark.corpora.clips import problems_of
from earmark.corpora.corrections import problems_of as correction_problems
from earmark.corpora.corrections import read_corrections
from earmark.errors import UserError
from earmark.evaluation.label_groups import merging
from earmark.evaluation.points import MULTI_CLASS_METRICS, MULTI_LABEL_METRICS
from earmark.labels import is_multi_label, tags_of
from earmark.layout import Layout
from earmark.params import Params
from earmark.settings.objections import objections


def corpus_problems(params: Params, layout: Layout) -> list[str]:
    """What is wrong with the corpus' folder and table; nothing is decoded."""
    corpus = params.corpus
    root = layout.root / corpus.root
    if not root.exists() and _is_made_by_a_stage(params, layout, root):
        return []
    if corpus.adapter not in ADAPTERS:
        return []  # said of the options
    try:
        clips = find_adapter(corpus.adapter).read_clips(root, corpus.table)
    except UserError as error:
        return list(error.problems)
    problems = problems_of(clips, root=root, cv=params.cv)
    try:
        edits = read_corrections(layout.root / corpus.label_corrections)
        problems += correction_problems(edits, clips)
    except UserError as error:
        problems += error.problems
    problems += _score_problems(clips.loc[clips["split"] == "train", "label"], params)
    missing = [path for path in clips["path"] if not (root / path).exists()]
    share = len(missing) / max(1, len(clips))
    if corpus.max_quarantined < share < 1:
        fix = "they would be quarantined; restore them or delete their rows"
        problems.append(f"corpus: {len(missing)} files missing, such as {missing[0]}; {fix}")
    return problems


def _score_problems(labels: pd.Series, params: Params) -> list[str]:
    """Figures that this kind of corpus has not, and groups of tags that it does not know."""
    several = is_multi_label(labels)
    valid = MULTI_LABEL_METRICS if several else MULTI_CLASS_METRICS
    kind = "several tags" if several else "one tag"
    named = {"evaluate.metric": params.evaluate.metric, "model.monitor": params.model.monitor}
    problems = [
        f"params.yaml: {key}: {value} is not for a corpus of {kind} a clip; "
        f"choose one of {', '.join(valid)}"
        for key, value in named.items()
        if value not in (*valid, "loss")
    ]
    return problems + objections(merging, tags_of(labels), params.evaluate.label_groups)


def _is_made_by_a_stage(params: Params, layout: Layout, root: Path) -> bool:
    return root in {layout.demo(name) for name in params.demo}
