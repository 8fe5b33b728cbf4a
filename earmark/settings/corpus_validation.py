"""What is wrong with the corpus' folder and tables, found before anything is decoded."""

from pathlib import Path

import pandas as pd

from earmark.corpora.adapters import ADAPTERS
from earmark.corpora.adapters import find as find_adapter
from earmark.corpora.clips import problems_of
from earmark.corpora.corrections import problems_of as correction_problems
from earmark.corpora.corrections import read_corrections
from earmark.errors import UserError
from earmark.evaluation.label_groups import LabelGroups
from earmark.evaluation.points import check_metric
from earmark.labels import Task
from earmark.layout import Layout
from earmark.params import Params, Recipe
from earmark.params.roster import recipe_of
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
    problems += _score_problems(clips[clips["split"] == "train"], params)
    missing = [path for path in clips["path"] if not (root / path).exists()]
    share = len(missing) / max(1, len(clips))
    if corpus.max_quarantined < share < 1:
        fix = "they would be quarantined; restore them or delete their rows"
        problems.append(f"corpus: {len(missing)} files missing, such as {missing[0]}; {fix}")
    return problems


def _score_problems(train: pd.DataFrame, params: Params) -> list[str]:
    """Metrics that do not fit the corpus, and groups of tags that it does not have."""
    task = Task.of(train)
    problems = objections(check_metric, params.evaluate.metric, task, key="evaluate.metric")
    for key, recipe in _recipes(params).items():
        problems += objections(
            check_metric, recipe.monitor, task, key=f"{key}.monitor", others=("loss",)
        )
    return problems + objections(LabelGroups.of, task.tags, params.evaluate.label_groups)


def _recipes(params: Params) -> dict[str, Recipe]:
    """Every recipe that sets a monitor, under its key in params.yaml."""
    recipes = {"model": params.model}
    for group, models in params.models.items():
        for name, entry in models.items():
            if "monitor" in entry.training.overrides:
                recipes[f"models.{group}.{name}.training"] = recipe_of(params, entry)
    if params.extractors:
        recipes["finetune"] = params.finetune
    for name, extractor in params.extractors.items():
        if "monitor" in extractor.overrides:
            recipes[f"extractors.{name}.training"] = recipe_of(params, extractor)
    return recipes


def _is_made_by_a_stage(params: Params, layout: Layout, root: Path) -> bool:
    return root in {layout.demo(name) for name in params.demo}
