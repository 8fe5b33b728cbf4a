"""Learning rates: triangular cycles between two bounds, and a plateau that lowers both."""

from dataclasses import dataclass


def triangular(update: int, *, base: float, peak: float, half_cycle: float) -> float:
    """The cyclical learning rate of Smith (2017), as Shan & Ren, section 2.2, use it.

    Rises from `base` to `peak` in `half_cycle` updates, falls back in as many.
    """
    cycle = int(1 + update / (2 * half_cycle))
    distance = abs(update / half_cycle - 2 * cycle + 1)
    return base + (peak - base) * max(0.0, 1.0 - distance)


@dataclass
class Plateau:
    """A factor on both bounds, lowered when the validation loss stays up.

    As a plateau that sets the rate itself would be overwritten by the cycle at the next batch
    (Shan & Ren use both and do not say how), it scales the cycle instead.
    """

    scale: float = 1.0
    best_loss: float = float("inf")
    bad_epochs: int = 0

    def step(self, loss: float, *, factor: float, patience: int) -> None:
        if loss < self.best_loss:
            self.best_loss, self.bad_epochs = loss, 0
            return
        self.bad_epochs += 1
        if self.bad_epochs >= patience:
            self.scale, self.bad_epochs = self.scale * factor, 0
