"""What is wrong with the corpus' folder and tables, found before anything is decoded."""

from collections.abc import Iterable
from pathlib import Path
from typing import get_args

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
from earmark.params import Metric, Params
from earmark.params.roster import entries_of, overrides_of
from earmark.settings.objections import objections


def corpus_problems(params: Params, layout: Layout) -> list[str]:
    """What is wrong with the corpus' folder and tables, and with keys that depend on its labels.

    Nothing is decoded.
    """
    corpus = params.corpus
    root = layout.root / corpus.root
    if not root.exists() and _is_made_by_a_stage(params, layout, root):
        return _metric_problems(["a tag"], params)  # demo corpora have one tag per clip
    if corpus.adapter not in ADAPTERS:
        return []  # option_problems reports it
    try:
        clips = find_adapter(corpus.adapter).read_clips(root, corpus.table)
    except UserError as error:
        return list(error.problems)
    problems = problems_of(clips, root=root, cv=params.cv)
    try:
        corrections = read_corrections(layout.root / corpus.label_corrections)
        problems += correction_problems(corrections, clips)
    except UserError as error:
        problems += error.problems
    labels = clips.loc[clips["split"] == "train", "label"]
    problems += _metric_problems(labels, params)
    problems += objections(merging, tags_of(labels), params.evaluate.label_groups)
    missing = [path for path in clips["path"] if not (root / path).exists()]
    share = len(missing) / max(1, len(clips))
    if corpus.max_quarantined < share < 1:
        fix = "they would be quarantined; restore them or delete their rows"
        problems.append(f"corpus: {len(missing)} files missing, such as {missing[0]}; {fix}")
    return problems


def metrics_for(labels: Iterable[str]) -> tuple[str, ...]:
    """The metrics that fit a corpus with these labels."""
    return MULTI_LABEL_METRICS if is_multi_label(labels) else MULTI_CLASS_METRICS


def _metric_problems(labels: Iterable[str], params: Params) -> list[str]:
    """Metrics and monitors that do not fit the labels: of evaluation and of every recipe."""
    given = {
        "evaluate.metric": params.evaluate.metric,
        "model.monitor": params.model.monitor,
        "finetune.monitor": params.finetune.monitor,
    }
    given |= {
        f"{key}.training.monitor": overrides_of(entry)["monitor"]
        for key, entry in entries_of(params).items()
        if "monitor" in overrides_of(entry)
    }
    valid = metrics_for(labels)
    misfits = set(get_args(Metric)) - set(valid)
    n_tags = "several tags" if is_multi_label(labels) else "one tag"
    return [
        f"params.yaml: {key}: {value} does not fit a corpus with {n_tags} per clip; "
        f"choose one of {', '.join(valid)}"
        for key, value in given.items()
        if value in misfits
    ]


def _is_made_by_a_stage(params: Params, layout: Layout, root: Path) -> bool:
    return root in {layout.demo(name) for name in params.demo}
