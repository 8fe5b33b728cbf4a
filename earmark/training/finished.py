"""Finished trainings, kept so that one of more epochs goes on where a shorter one ended.

They lie outside of DVC. Each has the name of all that it depends on but when it ends, so that
nothing goes on from other params, other code or other data.
"""

import logging
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import safe_open

from earmark.errors import UserError
from earmark.params import Recipe
from earmark.training.checkpoints import KEPT_DAYS, Progress, State, digest_of, resume
from earmark.weights import save_tensors
from earmark.whole_files import discard, link_or_copy, whole_file

logger = logging.getLogger(__name__)

LIMITS = ("epochs", "patience")  # the keys of a recipe that say when training ends, and no more
KEPT_BYTES = 4 << 30  # of all: twenty-odd networks of ten million parameters


def limits(recipe: Recipe) -> list[int]:
    """When a recipe ends training; where the last epoch is kept, patience never does."""
    return [recipe.epochs, 0 if recipe.epoch_choice == "last" else recipe.patience]


def has_ended(recipe: Recipe, progress: Progress) -> bool:
    """Whether a recipe ends training after the epochs that are done."""
    return (
        progress.epoch >= recipe.epochs
        or progress.epochs_without_improvement >= recipe.patience
        or (recipe.schedule == "multistep" and progress.plateau.stage >= recipe.multistep_stages)
    )


def may_go_on(recipe: Recipe) -> bool:
    """Whether a finished training can be the beginning of one with other limits."""
    return recipe.schedule != "cosine" or recipe.epoch_choice != "last"


def finished_path(home: Path, key: dict[str, Any]) -> Path:
    """Where the finished training of a key lies, see `work_in_progress`; and of other limits."""
    recipe = {name: value for name, value in key["recipe"].items() if name not in LIMITS}
    return home / "finished" / f"{digest_of({**key, 'recipe': recipe})}.safetensors"


def go_on(state: State, recipe: Recipe, finished: Path, *, name: str) -> bool:
    """Stand where a finished training ended, if one by this recipe comes by there, too.

    Not where its limits were the same: who asks for it again, as `dvc repro --force` does, wants it
    to be done again.

    Args:
        name: of the training; what messages begin with.
    """

    def accepts(progress: Progress) -> bool:
        if progress.limits == limits(recipe):
            return False
        if obstacle := _obstacle(recipe, progress):
            beginning = f"{name}: trains from the start, not from epoch {progress.epoch} of"
            logger.info("%s a training before: %s", beginning, obstacle)
        return not obstacle

    # Asked of the very file that is read: another process may put a longer one in its place.
    if not resume(state, finished, accepts):
        return False
    state.progress.is_done = has_ended(recipe, state.progress)
    return True


def _obstacle(recipe: Recipe, progress: Progress) -> str:
    """Why a training by this recipe does not come by where another ended; "" if it does."""
    planned, _ = progress.limits
    if recipe.schedule == "cosine" and recipe.epochs != planned:
        return f"schedule cosine is one cycle over all epochs, then {planned}, now {recipe.epochs}"
    if recipe.epochs < progress.epoch or recipe.patience <= progress.longest_wait:
        return "it would have ended sooner by these epochs and this patience"
    return ""


def keep_finished(checkpoint: Path, finished: Path, recipe: Recipe) -> None:
    """Keep the checkpoint of a finished training; of one that none can go on from, its progress.

    Where the disk is full nothing is kept, and one line says so: the training itself is done.
    """
    try:
        with whole_file(finished) as part:
            if may_go_on(recipe):
                link_or_copy(checkpoint, part)
            else:
                with safe_open(checkpoint, "pt") as file:
                    save_tensors(part, {}, file.metadata())
        _make_room(finished.parent)
    except (OSError, UserError) as error:
        logger.warning("%s: not kept (%s); more epochs would train from the start", finished, error)


def _make_room(folder: Path) -> None:
    """Remove what is old, and the oldest until all are at most KEPT_BYTES."""
    stats = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process removes it, too
            stats.append((path.stat(), path))
    oldest, n_bytes = time.time() - KEPT_DAYS * 86_400, 0
    for stat, path in sorted(stats, key=lambda one: one[0].st_mtime, reverse=True):
        n_bytes += stat.st_size
        if stat.st_mtime < oldest or n_bytes > KEPT_BYTES:
            discard(path)
