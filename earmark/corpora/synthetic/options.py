"""What a synthetic corpus may be asked to hold: read, and checked, without making any sound."""

from dataclasses import dataclass

SHORTEST_SECONDS = 0.3
N_SOUNDS = 16  # in `sounds`, which is not imported here: with scipy.signal it takes half a second


@dataclass(frozen=True, kw_only=True)
class DemoOptions:
    """What the corpus holds; `wrong_share` is of the unverified clips' labels."""

    n_tags: int
    n_train: int
    n_test: int
    verified_share: float
    wrong_share: float
    mean_seconds: float
    max_seconds: float
    background_snr_db: tuple[float, float]

    def __post_init__(self) -> None:
        """Refuse options that no corpus can have."""
        if not 2 <= self.n_tags <= N_SOUNDS:
            raise ValueError(f"expected n_tags from 2 to {N_SOUNDS}, got {self.n_tags}")
        if min(self.n_train, self.n_test) < self.n_tags:
            raise ValueError(
                f"expected a clip of every tag in train and test: n_tags {self.n_tags}, "
                f"n_train {self.n_train}, n_test {self.n_test}"
            )
        for name in ("verified_share", "wrong_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"expected {name} from 0 to 1, got {getattr(self, name)}")
        if not SHORTEST_SECONDS < self.mean_seconds <= self.max_seconds <= 30:
            raise ValueError(
                f"expected {SHORTEST_SECONDS} < mean_seconds <= max_seconds <= 30, "
                f"got {self.mean_seconds} and {self.max_seconds}"
            )
        if self.background_snr_db[0] > self.background_snr_db[1]:
            raise ValueError(
                f"expected [low, high], got background_snr_db {self.background_snr_db}"
            )
