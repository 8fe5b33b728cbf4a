"""The levers of the training recipe, each alone beside the same base, on any folder of recordings.

An experiment is a lever with a seed. Its networks, one for each fold, are compared with those of
the base that have the same seed, clip by clip.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from earmark.errors import UserError
from earmark.evaluation.intervals import Estimate
from earmark.evaluation.log_loss import log_loss_difference, losses_of
from earmark.evaluation.paired import gain
from earmark.evaluation.predictions import Predictions
from earmark.evaluation.scores import values_of
from earmark.evaluation.thresholds import Answers
from earmark.layout import Layout
from earmark.params.reading import checked_params, read_yaml
from earmark.settings.own_recordings import fit_recordings
from earmark.settings.profiles import BASE as BASE_PROFILE
from earmark.settings.profiles import corpus_settings, overlay
from experiments.costs import training_cost
from experiments.levers import ALONE, BASE, BASELINE, GROUP, LEVERS, NETWORK, RECIPES, Lever
from experiments.queue import ComparingQueue
from experiments.runner import finish
from experiments.settings import Settings, composed, experiment_name

PROFILE = "folder"
N_FOLDS = 2
SEEDS = (0, 1)
# Just enough to show that every row works, whatever the number of clips.
SMALL = ("model.epochs=2", "model.batch_size=8")


@dataclass(frozen=True)
class RecipePlan:
    """The levers to measure, and the params that they are all laid over.

    `settings` are those of each lever, by its name, and `experiments` those of each lever with a
    seed, whose params are `composed`; `command` is what the user typed, without paths of this
    machine.
    """

    levers: tuple[Lever, ...]  # the base first
    params: dict[str, Any]
    settings: Mapping[str, tuple[str, ...]]
    experiments: Mapping[str, tuple[str, ...]]
    composed: Mapping[str, dict[str, Any]]
    seeds: tuple[int, ...]
    is_small: bool
    is_confirming: bool
    is_part: bool  # some levers alone
    command: str

    @property
    def file_name(self) -> str:
        """Of the result, so that no check or part of the table takes the whole one's place."""
        words = {"confirm": self.is_confirming, "part": self.is_part, "small": self.is_small}
        return "-".join([RECIPES, *(word for word, is_so in words.items() if is_so)])

    @property
    def title(self) -> str:
        """What the names of its experiments begin with."""
        return f"{RECIPES}-small" if self.is_small else RECIPES


@dataclass(frozen=True)
class Measured:
    """One lever on some folds: its figures, by seed too, and what it changes beside the base."""

    lever: Lever
    metric: float
    log_loss: float
    log_losses: tuple[float, ...]  # of each seed
    metric_difference: Estimate | None  # None for the base
    log_loss_difference: Estimate | None
    cost: float | None  # multiply-adds of a training, for each clip


@dataclass(frozen=True)
class Clips:
    """The clips that all levers were measured on."""

    folds: tuple[str, ...]
    n: int
    n_recordings: int
    metric: str


def plan(
    layout: Layout,
    names: Sequence[str],
    *,
    confirm: bool,
    root: str,
    csv: str,
    small: bool,
    changes: Settings,
    cwd: Path,
) -> RecipePlan:
    """Lay profile, corpus, the changes of a small run and the user's over each other.

    The recipe of the network moves from its entry to `model`, the recipe of all models, so that
    `-S model.epochs=40` reaches it; it is the same recipe.

    Args:
        layout: of the repository, whose profile is taken.
        names: of the levers to measure; none for all.
        confirm: on all folds, with one seed.
        root: the folder of the recordings.
        csv: a table of theirs, with columns path and label; "" for class folders.
        small: two epochs and one seed alone.
        changes: the user's, for every row.
        cwd: what relative paths start from.

    Raises:
        UserError: the corpus is not there, a setting is wrong, or there is no such lever.
    """
    chosen = _chosen(names)
    if not root:
        raise UserError(f"{RECIPES}: say where recordings are with --root DIR [--table FILE]")
    params = _base(layout, root=root, csv=csv, cwd=cwd)
    folder = Path(params["corpus"]["root"]).name
    if not confirm:
        params["folds"] = params["folds"][:N_FOLDS]
    for change in [*(SMALL if small else ()), *changes]:  # one by one: the wrong one is named
        params = composed(params, [change])
    settings = {lever.name: lever.settings_on(params) for lever in chosen}
    seeds = SEEDS[:1] if confirm or small else SEEDS
    experiments = {
        _key(lever, seed): (f"model.seed={seed}", *_alone(lever), *settings[lever.name])
        for lever in chosen
        for seed in seeds
    }
    laid_over = {}
    for lever in chosen:  # composing takes most of the time of a plan, and a seed is easily set
        values = composed(params, (*_alone(lever), *settings[lever.name]))
        for seed in seeds:
            model = {**values["model"], "seed": seed}
            laid_over[_key(lever, seed)] = {**values, "model": model}
    for key, values in laid_over.items():
        checked_params(values, f"{RECIPES}, experiment {key}")
    return RecipePlan(
        levers=chosen,
        params=params,
        settings=settings,
        experiments=experiments,
        composed=laid_over,
        seeds=seeds,
        is_small=small,
        is_confirming=confirm,
        is_part=bool(names),
        command=_command(folder, csv, small=small, confirm=confirm, names=names, changes=changes),
    )


def _base(layout: Layout, *, root: str, csv: str, cwd: Path) -> dict[str, Any]:
    """The params of the profile on a folder of recordings, with the recipe under `model`."""
    params: dict[str, Any] = read_yaml(layout.root / "profiles" / f"{BASE_PROFILE}.yaml")
    overlay(params, read_yaml(layout.root / "profiles" / f"{PROFILE}.yaml"))
    overlay(params, corpus_settings(layout, params, root=root, table=csv, cwd=cwd))
    folder = (cwd / Path(root).expanduser()).resolve()
    params["corpus"]["root"] = str(folder)  # an experiment runs in a folder of its own
    fit_recordings(params, folder)
    params["folds"] = list(params["folds"])
    params["evaluate"]["n_resamples"] = 10  # no row shows what they are for
    entry = params["models"][GROUP][NETWORK]
    params["model"] |= entry["training"]
    entry["training"] = {}
    return params


def measure(
    plan: RecipePlan, queue: ComparingQueue, *, jobs: int
) -> tuple[list[tuple[Clips, list[Measured]]], list[str]]:
    """Run what is not there yet, and compare each lever with the base.

    Returns:
        For each set of folds the clips and the levers that did not fail, the base first; and the
        names of the experiments that failed. A run that confirms has two sets: all folds, and those
        that the levers were not chosen by.
    """
    code = queue.code(plan.params["extensions"])
    names = {
        key: experiment_name(plan.title, key, params, code) for key, params in plan.composed.items()
    }
    done = finish(plan.title, plan.params, plan.experiments, names, queue, jobs=jobs)
    failed = [names[key] for key in names if key not in done]
    by_lever = {
        lever: [queue.predictions(names[_key(lever, s)], lever.member) for s in plan.seeds]
        for lever in plan.levers
        if all(_key(lever, seed) in done for seed in plan.seeds)
    }
    if BASE not in by_lever:  # then there is nothing to compare with
        return [], failed
    folds = [str(fold) for fold in plan.params["folds"]]
    sets = [folds, folds[N_FOLDS:]] if plan.is_confirming else [folds]
    return [_on(chosen, plan, by_lever) for chosen in sets if chosen], failed


def pooled(seeds: Sequence[Predictions], folds: Sequence[str]) -> Predictions:
    """All seeds' validation rows of some folds, one after the other, in an order of their own.

    The rows of one clip count as of one recording: two networks that tag it say less than one that
    tags two.
    """
    parts = [_ordered(one, folds) for one in seeds]
    first = parts[0]
    answers = [one.answers for one in parts if one.answers is not None]
    return replace(
        first,
        clips=pd.concat([one.clips for one in parts], ignore_index=True),
        targets=np.concatenate([one.targets for one in parts]),
        probabilities=np.concatenate([one.probabilities for one in parts]).astype(np.float64),
        answers=Answers(*map(np.concatenate, zip(*answers, strict=True))) if answers else None,
    )


def _ordered(one: Predictions, folds: Sequence[str]) -> Predictions:
    validation = one.with_answers().validation
    rows = validation.take(validation.clips["fold"].astype(str).isin(folds).to_numpy())
    rows = rows.take(rows.clips.reset_index().sort_values(["fold", "clip"]).index.to_numpy())
    source, clip = rows.clips["source"], rows.clips["clip"]
    return replace(rows, clips=rows.clips.assign(source=source.where(source != "", clip)))


def _on(
    folds: Sequence[str], plan: RecipePlan, by_lever: Mapping[Lever, Sequence[Predictions]]
) -> tuple[Clips, list[Measured]]:
    base = pooled(by_lever[BASE], folds)
    metric = "mean_average_precision" if base.task.is_multi_label else "accuracy"
    n = len(base) // len(plan.seeds)
    clips = Clips(tuple(folds), n, base.clips["source"].nunique(), metric)
    rows = list(_rows(folds, plan, by_lever, base, metric))
    return clips, rows


def _rows(
    folds: Sequence[str],
    plan: RecipePlan,
    by_lever: Mapping[Lever, Sequence[Predictions]],
    base: Predictions,
    metric: str,
) -> Iterator[Measured]:
    for lever, seeds in by_lever.items():
        one = pooled(seeds, folds)
        if list(one.clips["clip"]) != list(base.clips["clip"]):
            raise UserError(
                f"{lever.name}: was measured on other clips than the base; a setting that changes "
                "the clips must be given for every row, with -S"
            )
        params = checked_params(plan.composed[_key(lever, plan.seeds[0])], lever.name)
        losses = losses_of(one)
        is_base = lever is BASE
        yield Measured(
            lever=lever,
            metric=values_of(one)[metric],
            log_loss=float(losses.mean()),
            log_losses=tuple(losses.reshape(len(plan.seeds), -1).mean(axis=1).tolist()),
            metric_difference=None
            if is_base
            else gain(base, one, metric=metric, seed=0, n_resamples=1).difference,
            log_loss_difference=None if is_base else log_loss_difference(base, one),
            cost=training_cost(params, GROUP, lever.member, n_tags=len(one.task.tags)),
        )


def _alone(lever: Lever) -> tuple[str, ...]:
    return () if lever.member == BASELINE else (ALONE,)


def _key(lever: Lever, seed: int) -> str:
    return f"{lever.name}-{seed}"


def _chosen(names: Sequence[str]) -> tuple[Lever, ...]:
    by_name = {lever.name: lever for lever in LEVERS}
    for name in names:
        if name not in by_name:
            raise UserError(f"--lever {name}: no such lever; there are {', '.join(by_name)}")
    return (BASE, *(by_name[name] for name in dict.fromkeys(names or by_name)))


def _command(
    folder: str, csv: str, *, small: bool, confirm: bool, names: Sequence[str], changes: Settings
) -> str:
    words = [f"--root {folder}"]
    words += [f"--table {csv}"] if csv else []
    words += ["--small"] if small else []
    words += ["--confirm"] if confirm else []
    words += [f"--lever {name}" for name in names]
    words += [f"-S {shlex.quote(change)}" for change in changes]
    return " ".join(["python -m experiments run", RECIPES, *words])
