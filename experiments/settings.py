"""What an experiment runs with: a paper's profile, a corpus, and settings in the words of `-S`."""

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from earmark.corpora.adapters import find
from earmark.errors import UserError
from earmark.evaluation.measures import CLASS_METRICS, TAG_METRICS
from earmark.evaluation.points import metrics_of
from earmark.labels import Task
from earmark.layout import Layout
from earmark.params.reading import checked_params, read_yaml
from earmark.settings.profiles import BASE, corpus_settings, overlay
from experiments.tables import Column, Table
from experiments.weights import name_weights_by_absolute_paths, take_weights

Settings = Sequence[str]


@dataclass(frozen=True)
class Plan:
    """A table made ready: the params that all experiments share, and what each changes in them.

    `experiments` has the table's names; `columns` are the table's, but for metrics that do not fit
    the corpus of a small run.
    """

    table: Table
    is_small: bool
    corpus: str
    params: dict[str, Any]
    experiments: dict[str, tuple[str, ...]]
    columns: tuple[Column, ...]

    def name_of(self, experiment: str, code: str) -> str:
        """The experiment's name in DVC: equal params and code give an equal name."""
        params = composed(self.params, self.experiments[experiment])
        return experiment_name(self.title, experiment, params, code)

    @property
    def title(self) -> str:
        """What the names of its experiments begin with."""
        return f"{self.table.name.replace('_', '-')}{'-small' if self.is_small else ''}"


def experiment_name(title: str, experiment: str, params: dict[str, Any], code: str) -> str:
    """Name an experiment in DVC, by a digest of its params and code."""
    text = json.dumps([params, code], sort_keys=True, default=str)
    digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    return f"{title}-{experiment}-{digest}"


def plan(
    table: Table, layout: Layout, *, root: str, csv: str, small: bool, changes: Settings, cwd: Path
) -> Plan:
    """Lay profile, corpus, the user's changes and those of a small run over each other.

    Raises:
        UserError: the corpus is not there, or a setting is wrong; nothing is queued then.
    """
    params = read_yaml(layout.root / "profiles" / f"{BASE}.yaml")
    overlay(params, read_yaml(layout.root / "profiles" / f"{table.profile}.yaml"))
    columns = table.columns
    if small:
        overlay(params, _any_folder(layout, params, root=root, csv=csv, cwd=cwd))
        columns = _metrics_that_fit(table, params)
        params = composed(params, table.small.settings)
    else:
        overlay(params, _published_corpus(table, layout, params, root=root, cwd=cwd))
        take_weights(params, layout)
    for change in changes:  # one by one, so that the wrong one is named
        params = composed(params, [change])
    name_weights_by_absolute_paths(params, layout)
    experiments = {name: table.settings_of(name, small=small) for name in table.experiments}
    for name, settings in experiments.items():
        checked_params(composed(params, settings), f"{table.name}, experiment {name}")
    return Plan(table, small, params["corpus"]["name"], params, experiments, columns)


def composed(params: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Return the params with settings applied as `dvc exp run -S` applies them.

    To a file of JSON, which DVC knows too: to read and write YAML takes a hundred times as long.

    Raises:
        UserError: a setting names no key, or is not written as Hydra reads it.
    """
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "params.json"
        path.write_text(json.dumps(params), encoding="utf-8")
        try:
            apply_overrides(path, list(settings))
        except DvcException as error:
            why = " ".join(str(error.__cause__ or error).split())
            which = "one of the settings" if len(settings) > 1 else "the setting"
            raise UserError(f"{which} {' '.join(settings)}: {why}") from error
        changed: dict[str, Any] = json.loads(path.read_bytes())
    return changed


def write_params(path: Path, params: dict[str, Any]) -> None:
    """Write a params.yaml, a line for each key, so that the diff of two experiments can be read."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(params, file)


def _published_corpus(
    table: Table, layout: Layout, params: dict[str, Any], *, root: str, cwd: Path
) -> dict[str, Any]:
    """Where the paper's corpus is.

    An experiment runs in a folder of its own, which holds only what DVC tracks. So a root that DVC
    does not track is given by its absolute path.
    """
    corpus = params["corpus"]
    folder = (cwd / Path(root).expanduser() if root else layout.root / corpus["root"]).resolve()
    if not folder.is_dir():
        fetch = f"python -m earmark download {table.download}"
        raise UserError(
            f"{table.name}: {root or corpus['root']}: the corpus is not there; "
            f"fetch it with `{fetch}`, or say where it is with --root DIR"
        )
    find(corpus["adapter"]).read_clips(folder, "")
    is_tracked = not root and (layout.root / f"{corpus['root']}.dvc").exists()
    return {} if is_tracked else {"corpus": {"root": str(folder)}}


def _any_folder(
    layout: Layout, params: dict[str, Any], *, root: str, csv: str, cwd: Path
) -> dict[str, Any]:
    if not root:
        raise UserError("--small: say where recordings are with --root DIR [--table FILE]")
    user_folder = {"corpus": {**params["corpus"], "adapter": "folder"}, "demo": {}}
    settings = corpus_settings(layout, {**params, **user_folder}, root=root, table=csv, cwd=cwd)
    folder = (cwd / Path(root).expanduser()).resolve()
    return {"corpus": {**settings["corpus"], "adapter": "folder", "root": str(folder)}}


def _metrics_that_fit(table: Table, params: dict[str, Any]) -> tuple[Column, ...]:
    """Give params and columns metrics that fit the labels of the folder."""
    corpus = params["corpus"]
    task = Task.of(find(corpus["adapter"]).read_clips(Path(corpus["root"]), corpus["table"]))
    usual = "roc_auc" if task.is_multi_label else "accuracy"
    for section, key in (("evaluate", "metric"), ("model", "monitor"), ("finetune", "monitor")):
        if params[section][key] not in (*metrics_of(task), "loss"):
            params[section][key] = usual
    scored = TAG_METRICS if task.is_multi_label else CLASS_METRICS
    return tuple(
        column
        if column.metric in scored
        else Column(f"{usual}, for {column.heading}", column.part, usual, column.over_folds)
        for column in table.columns
    )
