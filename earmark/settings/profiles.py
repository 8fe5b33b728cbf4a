"""Profiles: overlays of profiles/base.yaml that make params.yaml for one corpus or paper."""

import io
import os
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from earmark.corpora.adapters import find
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.params.reading import checked_params, flattened, read_yaml
from earmark.settings.backbone_weights import fit_backbone
from earmark.settings.own_recordings import fit_recordings
from earmark.settings.weight_checksums import KEY
from earmark.whole_files import whole_file

BASE = "base"
KNOWS_MORE = (
    "a network that learned AudioSet tags a few hundred recordings better, in minutes (ESC-10: "
    "accuracy 0.985 instead of 0.950): `python -m earmark download mn04_as`, then `profile use "
    "pretrained`"
)
QUICK_FOLDS, QUICK_EPOCHS = 2, 2
QUICK = (
    f"quick: at most {QUICK_FOLDS} folds and {QUICK_EPOCHS} epochs of each network, to see that "
    "everything runs; the scores will say nothing, use the profile without --quick for those"
)


def available(layout: Layout) -> dict[str, str]:
    """Name -> purpose, the first comment of the profile's file.

    Raises:
        UserError: this is no folder of a pipeline.
    """
    files = sorted((layout.root / "profiles").glob("*.yaml"))
    if not files:
        raise UserError(f"no profiles in {layout.root}; run this in the folder of dvc.yaml")
    return {
        path.stem: path.read_text().splitlines()[0].lstrip("# ")
        for path in files
        if path.stem != BASE
    }


def use(
    layout: Layout,
    name: str,
    *,
    root: str,
    table: str,
    cwd: Path,
    weights: str = "",
    quick: bool = False,
) -> list[str]:
    """Write params.yaml; returns one line for each value that changed, after what was found.

    Args:
        name: of the profile.
        root: the folder of the recordings; "" for that of the profile.
        table: a csv in it; "" for a folder of class folders, or that of the profile.
        cwd: what relative paths start from.
        weights: of a pretrained network; "" for those that the profile names.
        quick: shorten it to a few folds and epochs.

    Raises:
        UserError: there is no such profile, or the params that it makes are wrong.
    """
    names = available(layout)
    if name not in names:
        raise UserError(f"no profile {name!r}; choose from {', '.join(names)}")
    yaml = YAML()
    yaml.width = 100
    document = yaml.load((layout.root / "profiles" / f"{BASE}.yaml").read_text())
    overlay(document, yaml.load((layout.root / "profiles" / f"{name}.yaml").read_text()) or {})
    notes: list[str] = []
    if root or table:
        overlay(document, corpus_settings(layout, document, root=root, table=table, cwd=cwd))
        if document["corpus"]["adapter"] == "folder":
            notes = fit_recordings(document, layout.root / document["corpus"]["root"])
    elif not document["corpus"]["root"]:
        raise UserError(f"profile {name}: has no recordings; add --root DIR")
    notes += fit_backbone(document, layout, weights, cwd=cwd)
    if name == "folder":
        notes.append(KNOWS_MORE)
    if quick:
        shorten(document)
    old = _written_before(layout.params)
    document[KEY] = old.get(KEY) or document[KEY]  # of weights, which no profile knows
    buffer = io.StringIO()
    yaml.dump(document, buffer)
    text = _laid_out(buffer.getvalue())
    new = YAML(typ="safe", pure=True).load(text)
    checked_params(new, "params.yaml")
    with whole_file(layout.params) as part:
        part.write_text(text)
    return [*notes, *(differences(old, new) or ["params.yaml: nothing changed"])]


def _laid_out(text: str) -> str:
    """YAML with a blank line before each top-level key and one space before each comment.

    Comments of replaced values leave blank lines and columns where they were.
    """
    lines = [re.sub(r"(?<=\S) {2,}# ", " # ", line) for line in text.splitlines() if line.strip()]
    starts = re.compile(r"[a-z_]+:")
    spaced: list[str] = []
    for line in lines:
        is_first = all(earlier.startswith("#") for earlier in spaced)
        spaced += [line] if is_first or not starts.match(line) else ["", line]
    return "\n".join(spaced) + "\n"


def _written_before(path: Path) -> dict[str, Any]:
    """What params.yaml holds; nothing if it is missing or broken, since it is to be replaced."""
    try:
        old = read_yaml(path)
    except UserError:
        return {}
    return old if isinstance(old, dict) else {}


def overlay(base: Any, top: Any) -> None:
    """Lay nested values over others in place; an empty mapping clears the one under it.

    A null takes the key away, such as a feature that no model of a profile reads.
    """
    for key, value in top.items():
        if value is None:
            base.pop(key, None)
        elif isinstance(value, dict) and value and isinstance(base.get(key), dict):
            overlay(base[key], value)
        else:
            base[key] = value


def corpus_settings(
    layout: Layout, document: Any, *, root: str, table: str, cwd: Path
) -> dict[str, Any]:
    """The sections corpus, cv and folds for a folder of the user's.

    A published corpus keeps the name, the scheme and the folds of its profile.

    Raises:
        UserError: the folder or the table is missing, or cannot be the corpus.
    """
    if document["demo"]:
        raise UserError("this profile makes its own corpus; use `profile use folder` with --root")
    if not root:
        raise UserError("--table: its paths need a folder to start from; add --root DIR")
    folder = (cwd / Path(root).expanduser()).resolve()
    if not folder.is_dir():
        raise UserError(f"--root {root}: no such folder; correct the path")
    if layout.root.is_relative_to(folder):
        raise UserError(f"--root {root}: holds this repository; move the recordings to a folder")
    name = _table_in(folder, table, cwd) if table else ""
    adapter = document["corpus"]["adapter"]
    clips = find(adapter).read_clips(folder, name)
    inside = folder.is_relative_to(layout.root)
    path = folder.relative_to(layout.root).as_posix() if inside else str(folder)
    if adapter != "folder":
        return {"corpus": {"root": path}}
    folds = clips["fold"][clips["split"] == "train"]
    is_official = bool(len(folds)) and not folds.isna().any()
    if is_official and folds.nunique() == 1:
        raise UserError(f"{name}: column fold is {folds.iloc[0]} everywhere; delete it or fill it")
    scheme = "official" if is_official else document["cv"]["scheme"]
    k = int(document["cv"]["k"])
    names = sorted(int(fold) for fold in folds.unique()) if is_official else list(range(k))
    return {
        "corpus": {
            "name": re.sub(r"[^a-z0-9]+", "_", folder.name.lower()).strip("_") or "corpus",
            "root": path,
            "table": name,
        },
        "cv": {"scheme": scheme, "k": len(names)},
        "folds": document["folds"] if scheme == "first_last" else _in_one_line(names),
    }


def shorten(document: Any) -> None:
    """Leave few folds and epochs, in place; networks, features and clips stay."""
    document["folds"] = _in_one_line(list(document["folds"])[:QUICK_FOLDS])
    recipes = [document["model"], document["finetune"]]
    for entries in (*document["models"].values(), document["extractors"]):
        for entry in entries.values():
            own = entry.get("training", {})
            recipes += [own] if "epochs" in own else []
    for recipe in recipes:
        recipe["epochs"] = min(recipe["epochs"], QUICK_EPOCHS)
    if document["cv"]["scheme"] in ("stratified", "grouped"):  # else the corpus has its own folds
        document["cv"]["k"] = QUICK_FOLDS


def _in_one_line(values: list[int]) -> CommentedSeq:
    sequence = CommentedSeq(values)
    sequence.fa.set_flow_style()
    return sequence


def _table_in(folder: Path, table: str, cwd: Path) -> str:
    """The csv's path relative to the corpus' folder, whose whole content DVC tracks."""
    for candidate in (folder / table, cwd / table):
        if candidate.is_file():
            path = Path(os.path.normpath(candidate.resolve()))
            if path.is_relative_to(folder):
                return path.relative_to(folder).as_posix()
            raise UserError(
                f"--table {table}: is outside of {folder}, so DVC would not see it change; move it "
                "there, or give --root a folder above both (its paths start there)"
            )
    raise UserError(f"--table {table}: neither in {folder} nor in {cwd}; correct the path")


def differences(old: Any, new: Any) -> list[str]:
    """One line for each key that was added, removed or changed."""
    before, after = flattened(old or {}), flattened(new)
    return [
        f"{key}: {before.get(key, 'absent')} -> {after.get(key, 'absent')}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key, "absent") != after.get(key, "absent")
    ]
