"""Learning rates: cyclical, annealed, constant or in steps, and a plateau that lowers them."""

import math
from dataclasses import dataclass

from earmark.params import Recipe

WARMUP_SHARE = 0.1  # of the updates of a cosine


def triangular(update: int, *, base: float, peak: float, half_cycle: float) -> float:
    """The cyclical learning rate of Smith (2017), as Shan & Ren, section 2.3, use it.

    Rises from `base` to `peak` in `half_cycle` updates, falls back in as many.
    """
    cycle = int(1 + update / (2 * half_cycle))
    distance = abs(update / half_cycle - 2 * cycle + 1)
    return base + (peak - base) * max(0.0, 1.0 - distance)


def cosine(update: int, *, base: float, peak: float, n_updates: int) -> float:
    """One annealed cycle: up from `base` to `peak`, then down to 0 at the end of training.

    The first tenth of the updates rises as a line, the rest falls as half a cosine. No paper has
    it: where the last epoch is kept, no other schedule leaves the weights at rest there.
    """
    n_rising = WARMUP_SHARE * n_updates
    if update < n_rising:
        return base + (peak - base) * update / n_rising
    return peak * (1 + math.cos(math.pi * (update - n_rising) / (n_updates - n_rising))) / 2


@dataclass
class Plateau:
    """A factor on the learning rate, lowered when the validation loss stays up.

    As a plateau that sets the rate itself would be overwritten by the cycle at the next batch
    (Shan & Ren use both and do not say how), it scales both bounds of the cycle instead. With
    `multistep` each lowering begins a stage: from the best weights so far, with a fresh optimiser,
    and with its own count of updates (Lee et al.'s code; their paper names no training).

    Attributes:
        scale: what the learning rate is multiplied by.
        epochs_without_improvement: since the last better loss or the last lowering.
        stage: how often it was lowered.
        stage_updates: of the weights, since the last lowering.
    """

    scale: float = 1.0
    best_loss: float = float("inf")
    epochs_without_improvement: int = 0
    stage: int = 0
    stage_updates: int = 0

    def step(self, loss: float, *, factor: float, patience: int) -> bool:
        """Take an epoch's loss; return whether the scale was lowered."""
        if loss < self.best_loss:
            self.best_loss, self.epochs_without_improvement = loss, 0
            return False
        self.epochs_without_improvement += 1
        if self.epochs_without_improvement < patience:
            return False
        self.scale, self.epochs_without_improvement = self.scale * factor, 0
        self.stage += 1
        return True


def learning_rate(recipe: Recipe, plateau: Plateau, *, update: int, n_batches: int) -> float:
    """The rate of an update, counted from 0 at the start, of which an epoch has `n_batches`.

    Between `base_lr` and `max_lr` for cyclical, to `max_lr` and down to 0 for cosine, else
    `base_lr`; times the plateau's scale, divided by Keras's `1 + lr_decay * updates`.
    """
    if recipe.schedule == "cyclical":
        half_cycle = recipe.half_cycle_epochs * n_batches
        peak = recipe.max_lr
        rate = triangular(update, base=recipe.base_lr, peak=peak, half_cycle=half_cycle)
    elif recipe.schedule == "cosine":
        n_updates = recipe.epochs * n_batches
        rate = cosine(update, base=recipe.base_lr, peak=recipe.max_lr, n_updates=n_updates)
    else:
        rate = recipe.base_lr
    updates = plateau.stage_updates if recipe.schedule == "multistep" else update
    return plateau.scale * rate / (1 + recipe.lr_decay * updates)
