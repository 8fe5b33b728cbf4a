"""What goes to a node that shares no folder with the machine that runs DVC, and what comes back."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from earmark.engines.carrying import OUTS
from earmark.errors import UserError
from earmark.params import Params
from earmark.params.roster import entries_of, weights_of
from earmark.whole_files import link_or_copy, whole_file, whole_folder

CARRY = "EARMARK_ENGINE_CARRY"
# Whose deps are all that they read, and less work to send than to do.
CARRIED_STAGES = frozenset({"train", "finetune", "embed", "predict", "check_labels"})
_CODE = ("earmark", "stages")


def carried_beside(
    stage: str, arguments: Mapping[str, str], params: Params, root: Path
) -> list[str]:
    """What a stage reads beside its deps: code, and the weights that a training starts from.

    Args:
        arguments: of the stage's command line, by name.

    Raises:
        UserError: DVC has not started the stage, or weights lie outside of the repository.
    """
    if "DVC_STAGE" not in os.environ:
        raise UserError(f"{CARRY}: start the stage by `dvc repro`, which knows what it reads")
    keys = {
        "train": "models.{group}.{model}",
        "finetune": "extractors.{extractor}",
        "check_labels": f"models.{params.label_rounds.feature}.{params.label_rounds.model}",
    }
    entry = entries_of(params).get(keys.get(stage, "").format_map(arguments))
    weights = weights_of(params, entry)[0] if entry else ""
    paths = [*_CODE, params.extensions, *([weights] if weights else [])]
    for path in paths:
        if not (root / path).resolve().is_relative_to(root.resolve()):
            raise UserError(f"{CARRY}: {path} lies outside of the repository; move it into it")
    return [path for path in paths if (root / path).exists()]


def parcel_of(request: Mapping[str, Any]) -> dict[str, list[str]]:
    """The files and folders that a stage `reads` and `writes`, as paths from the root."""
    from dvc.repo import Repo

    with Repo(request["root"]) as repo:
        (stage,) = repo.stage.collect(request["environment"]["DVC_STAGE"])
        reads, writes = (
            [os.path.relpath(one.fs_path, request["root"]) for one in some]
            for some in (stage.deps, stage.outs)
        )
    return {"reads": [*reads, *request["carries"]], "writes": writes}


def put_into_place(request: Mapping[str, Any]) -> None:
    """Give each out of a body that ended well its place, whole."""
    came, root = Path(request["mailbox"], OUTS), Path(request["root"])
    for source in (came / name for name in request["writes"]):
        target = root / source.relative_to(came)
        if source.is_dir():
            with whole_folder(target) as part:
                shutil.copytree(source, part, copy_function=_link, dirs_exist_ok=True)
        elif source.exists():  # else DVC says that it is missing
            with whole_file(target) as part:
                _link(source, part)


def _link(source: str | Path, target: str | Path) -> None:
    link_or_copy(Path(source), Path(target))
