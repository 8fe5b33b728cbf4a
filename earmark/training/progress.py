"""How far a training is: a bar or, where stderr is a log, a line for each epoch."""

import logging
import sys
import time
from typing import Self

from tqdm import tqdm

from earmark.params import Recipe
from earmark.processes import duration

logger = logging.getLogger(__name__)


class EpochProgress:
    """Shows each epoch as it closes, with the time that the rest takes at most.

    Args:
        name: of the training.
        recipe: says how many epochs there are, and by what they are judged.
        n_done: the epochs of a killed run, which took no time of this one.
    """

    def __init__(self, name: str, recipe: Recipe, *, n_done: int) -> None:
        self._name, self._recipe, self._n_before = name, recipe, n_done
        self._start = time.monotonic()
        shown = sys.stderr.isatty()
        self._bar = tqdm(total=recipe.epochs, initial=n_done, desc=name, disable=not shown)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def close_epoch(self, history: list[dict[str, float]]) -> None:
        """Show the last row of a training's history; patience may end it before the time left."""
        by_loss = self._recipe.monitor == "loss"
        name, choose = ("validation_loss", min) if by_loss else (self._recipe.monitor, max)
        score = ""  # where no clip is left to validate on
        if name in history[-1]:
            last, best = history[-1][name], choose(row[name] for row in history)
            self._bar.set_postfix({f"best {name}": f"{best:.3f}"})
            score = f"{name} {last:.3f} (best {best:.3f}), "
        self._bar.update()
        if not self._bar.disable:
            return
        n_done, n_epochs = len(history), self._recipe.epochs
        seconds = (time.monotonic() - self._start) / (n_done - self._n_before)
        left = duration(seconds * (n_epochs - n_done))
        if self._recipe.epoch_choice != "last":
            left = f"at most {left}"  # patience may end training sooner
        logger.info(
            f"{self._name}: epoch {n_done}/{n_epochs}, loss {history[-1]['train_loss']:.2f}, "
            f"{score}{duration(seconds)} an epoch, "
            f"{left} left"
        )
