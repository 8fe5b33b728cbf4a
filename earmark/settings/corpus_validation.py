"""What is wrong with the corpus' folder and tables, found before anything is decoded."""

import os
from pathlib import Path
from typing import get_args

from earmark.corpora.adapters import ADAPTERS
from earmark.corpora.adapters import find as find_adapter
from earmark.corpora.clip_checks import problems_of
from earmark.corpora.corrections import problems_of as correction_problems
from earmark.corpora.corrections import read_corrections
from earmark.corpora.file_checks import missing_files
from earmark.corpora.folder_checks import folder_problems, link_problems
from earmark.corpora.splits import split_training_clips
from earmark.errors import UserError
from earmark.evaluation.label_groups import LabelGroups
from earmark.evaluation.points import check_metric
from earmark.labels import Task
from earmark.layout import Layout
from earmark.params import Params
from earmark.params.roster import entries_of, overrides_of
from earmark.params.scoring import Monitor
from earmark.settings.objections import objections
from earmark.wording import counted, shortened


def corpus_problems(params: Params, layout: Layout) -> list[str]:
    """What is wrong with the corpus' folder and tables, and with keys that depend on its labels.

    Nothing is decoded.
    """
    corpus = params.corpus
    root = layout.root / corpus.root
    if not root.exists() and _is_made_by_a_stage(params, layout, root):
        one_tag_per_clip = Task(tags=[], is_multi_label=False, aux_labels=[])  # as in the demo
        return _metric_problems(one_tag_per_clip, params)
    if corpus.adapter not in ADAPTERS:
        return []  # option_problems reports it
    unhashable = _folder_problems(params, layout)[0]
    try:
        clips = find_adapter(corpus.adapter).read_clips(root, corpus.table)
    except UserError as error:
        return [*error.problems, *unhashable]
    except PermissionError:
        if unhashable:  # which name what cannot be read, and its fix
            return unhashable
        raise
    problems = problems_of(clips, root=root, cv=params.cv, folds=params.fold_names)
    if not corpus.links_outside:
        problems += link_problems(clips["path"], root)
    problems += unhashable
    try:
        corrections = read_corrections(layout.root / corpus.label_corrections)
        problems += correction_problems(corrections, clips)
    except UserError as error:
        problems += error.problems
    task = Task.of(clips[clips["split"] == "train"])
    problems += _metric_problems(task, params)
    problems += objections(LabelGroups.of, task.tags, params.evaluate.label_groups)
    missing = missing_files(clips["path"], root).tolist()
    is_missing = clips["path"].isin(missing)
    if not problems:  # the stage split, as far as it can be known before decoding
        usable = clips.assign(quarantined=is_missing, equal_to="")
        problems += objections(
            split_training_clips, usable, params.cv, folds=params.fold_names, seed=params.seed
        )
    share = is_missing.mean()
    if corpus.max_quarantined < share < 1:
        fix = "they would be quarantined; restore them or delete their rows"
        problems.append(
            f"corpus: {counted(len(missing), 'file')} missing, such as {shortened(missing[0])}; "
            f"{fix}"
        )
    return problems


def corpus_warnings(params: Params, layout: Layout) -> list[str]:
    """What a run with a sound corpus should know of: recordings that DVC does not see."""
    return _folder_problems(params, layout)[1]


def _folder_problems(params: Params, layout: Layout) -> tuple[list[str], list[str]]:
    root = layout.root / params.corpus.root
    in_repository = Path(os.path.normpath(root)).is_relative_to(layout.root)
    return folder_problems(root, in_repository=in_repository)


def _metric_problems(task: Task, params: Params) -> list[str]:
    """Metrics and monitors that do not fit the task: of evaluation and of every recipe."""
    monitors = {"model.monitor": params.model.monitor, "finetune.monitor": params.finetune.monitor}
    monitors |= {
        f"{key}.training.monitor": overrides_of(entry)["monitor"]
        for key, entry in entries_of(params).items()
        if "monitor" in overrides_of(entry)
    }
    problems = objections(check_metric, params.evaluate.metric, task, key="evaluate.metric")
    for key, monitor in monitors.items():
        if monitor not in get_args(Monitor):
            continue  # reading params.yaml refuses it
        problems += objections(check_metric, monitor, task, key=key, others=("loss",))
    return problems


def _is_made_by_a_stage(params: Params, layout: Layout, root: Path) -> bool:
    return root in {layout.demo(name) for name in params.demo}
