"""The ranges of the options that networks, types of feature and demo corpora take.

Params declare the bounds of their own keys; these are of the keys that only code knows. Bounds are
wide: beyond them nothing can be built, fit in memory or compute anything but infinities.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from earmark.wording import shown


class Limits(NamedTuple):
    """The least and the largest value of an option."""

    low: float
    high: float
    is_below: bool = False  # whether it must stay below `high`

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float):
            return False
        return self.low <= value and (value < self.high if self.is_below else value <= self.high)

    def __str__(self) -> str:
        return f"{self.low:,g} to {'below ' if self.is_below else ''}{self.high:,.15g}"


# By the option's name, which means the same in every network.
_UNITS = Limits(1, 65_536)  # of a dense layer; VGGish's largest has 4,096
_DROPOUT = Limits(0, 1, is_below=True)
NETWORK_LIMITS = {
    "alpha": Limits(0.001, 1000),
    "base_width": Limits(1, 1024),  # the last stage has 16 times as many channels
    "blocks_per_stage": Limits(1, 10),
    "block_dropout": _DROPOUT,
    "bn_epsilon": Limits(1e-12, 1),
    "bn_momentum": Limits(0.000001, 1),
    "branches": Limits(1, 2),
    "depth": Limits(1, 64),  # CED has twelve blocks
    "dropout": _DROPOUT,
    "embedding_dim": _UNITS,
    "fc": _UNITS,
    "growth": Limits(1, 4096),
    "hidden": _UNITS,
    "input_scale": Limits(0.000001, 1_000_000),
    "levels": Limits(1, 3),
    "n_blocks": Limits(1, 12),  # every block halves both axes: twelve need 2,048 frames and bands
    "n_frames": Limits(1, 1_000_000),
    "n_inputs": _UNITS,
    "n_mels": Limits(1, 4096),
    "n_patches": Limits(1, 10_000),
    "n_samples": Limits(1, 115_200_000),  # ten minutes at 192 kHz
    "n_units": _UNITS,
    "stem_channels": Limits(1, 65_536),
    "stem_stride": Limits(1, 65_536),
    "theta": Limits(0.01, 1),  # the share of channels that a transition keeps
    "units": Limits(1, 256),
    "width": Limits(0.001, 64),  # of VGGish, 64 has a hundred billion parameters
}
# Of an option of the user's own networks, whose meaning is not known here.
OWN_INT, OWN_FLOAT = Limits(1, 1_000_000_000), Limits(-1e9, 1e9)

FEATURE_LIMITS = {
    "f_max_hz": Limits(1, 96_000),
    "f_min_hz": Limits(0, 96_000),
    "hop_length": Limits(1, 65_536),
    "n_fft": Limits(2, 65_536),  # 1.5 s at 44.1 kHz
    "n_mels": Limits(1, 4096),
    "n_mfcc": Limits(1, 4096),
    "target_hz": Limits(1000, 192_000),
    "width": NETWORK_LIMITS["width"],
}
DEMO_LIMITS = {
    "background_snr_db": Limits(-120, 120),
    "max_seconds": Limits(0.3, 30),
    "mean_seconds": Limits(0.3, 30),
    "n_tags": Limits(2, 1000),
    "n_test": Limits(2, 100_000),
    "n_train": Limits(2, 100_000),  # of 0.3 s they take a minute, of 30 s days
    "verified_share": Limits(0, 1),
    "wrong_share": Limits(0, 1),
}


def limit_problems(
    options: Mapping[str, Any], limits: Mapping[str, Limits], key: str, *, is_own: bool = False
) -> list[str]:
    """One line for each number, or list of numbers, that is out of range; others are left alone.

    Args:
        limits: by the option's name.
        key: the path of the options in params.yaml.
        is_own: of a network of the user's own, whose options are held to OWN_INT and OWN_FLOAT,
            whatever their names.
    """
    problems = []
    for name, value in options.items():
        numbers = value if isinstance(value, list) else [value]
        for number in numbers:
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            own = OWN_INT if isinstance(number, int) else OWN_FLOAT
            range_ = own if is_own else limits.get(name)
            if range_ is not None and number not in range_:
                problems.append(f"{key}.{name}: {shown(number)}; it must be from {range_}")
                break
    return problems
