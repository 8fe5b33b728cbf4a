"""The shortcut baseline: how well a clip's class follows from length, level, bandwidth and format.

A network can learn such a shortcut instead of the sound, and then fails on other recordings.
Shapes: B clips, K tags, P properties.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.audit.findings import Finding
from earmark.seeding import seed_for

PROPERTIES = {
    "seconds": "length",
    "level_db": "level",
    "bandwidth_hz": "bandwidth",
    "silent_share": "silence",
    "native_sample_rate": "sample rate of the file",
    "channels": "channels of the file",
}
ALL = "all"  # the baseline that uses every property
_N_SPLITS = 5
_MIN_SOURCES = 5  # of a class; smaller classes are left out
_LARGE_GAIN = 0.2  # over chance, in balanced accuracy


@dataclass(frozen=True)
class ShortcutBaseline:
    """The cross-validated balanced accuracy of a small random forest.

    Attributes:
        accuracy: the mean recall of the classes.
        n_clips: how many clips were classified.
        n_classes: into how many classes.
    """

    accuracy: float
    n_clips: int
    n_classes: int

    @property
    def chance(self) -> float:
        return 1 / self.n_classes

    @property
    def is_above_chance(self) -> bool:
        """Four standard deviations above chance, as if clips were independent."""
        deviation = np.sqrt(self.chance * (1 - self.chance) / self.n_clips)
        return bool(self.accuracy > self.chance + 4 * deviation)


def shortcut_baselines(
    sound: pd.DataFrame, sources: Sequence[str], *, seed: int
) -> dict[str, ShortcutBaseline]:
    """Classify clips by each property that varies, and by all of them.

    Args:
        sound: (B, ...), with the columns clip, label and PROPERTIES.
        sources: (B,), the recording of each clip, "" where it is unknown. Clips of a source stay
            on the same side of every split, otherwise the forest recognises the source.
        seed: of the whole pipeline.

    Returns:
        Baselines by property and under ALL. Classes of fewer than 5 sources are left out; the
        result is empty if fewer than two classes remain.
    """
    names = pd.Series(list(sources), index=sound.index)
    names = names.where(names != "", "clip " + sound["clip"])
    n_sources = names.groupby(sound["label"]).nunique()
    is_large = sound["label"].isin(n_sources.index[n_sources >= _MIN_SOURCES])
    kept = is_large & (sound["label"] != "")
    sound, names = sound[kept], names[kept]
    if sound["label"].nunique() < 2:
        return {}
    varying = [name for name in PROPERTIES if sound[name].nunique() > 1]
    labels = pd.factorize(sound["label"], sort=True)[0]
    groups = pd.factorize(names)[0]
    subsets = {**{name: [name] for name in varying}, **({ALL: varying} if varying else {})}
    return {
        name: ShortcutBaseline(
            _balanced_accuracy(sound[columns].to_numpy(dtype=float), labels, groups, seed=seed),
            n_clips=len(sound),
            n_classes=len(np.unique(labels)),
        )
        for name, columns in subsets.items()
    }


def _balanced_accuracy(
    properties: NDArray[np.float64],  # (B, P)
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    *,
    seed: int,
) -> float:
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedGroupKFold

    state = seed_for(seed, "audit", "shortcuts") % 2**32
    splitter = StratifiedGroupKFold(_N_SPLITS, shuffle=True, random_state=state)
    predictions = np.empty(len(labels), dtype=np.int64)
    for train, validation in splitter.split(properties, labels, groups):
        forest = RandomForestClassifier(
            40, min_samples_leaf=3, class_weight="balanced", random_state=state
        )
        forest.fit(properties[train], labels[train])
        predictions[validation] = forest.predict(properties[validation])
    is_right = predictions == labels
    return float(np.mean([is_right[labels == label].mean() for label in np.unique(labels)]))


def metrics(baselines: dict[str, ShortcutBaseline]) -> dict[str, Any]:
    """Accuracies for metrics/audit.json."""
    return {
        name: {"balanced_accuracy": round(b.accuracy, 4), "chance": round(b.chance, 4)}
        for name, b in baselines.items()
    }


def findings(baselines: dict[str, ShortcutBaseline]) -> list[Finding]:
    """A finding if all properties together are better than chance."""
    together = baselines.get(ALL)
    if together is None or not together.is_above_chance:
        return []
    single = [(b.accuracy, name) for name, b in baselines.items() if name != ALL]
    single = [(a, name) for a, name in single if baselines[name].is_above_chance]
    alone = ", ".join(f"{PROPERTIES[name]} {a:.0%}" for a, name in sorted(single, reverse=True))
    by_property = f"Above chance alone: {alone}" if alone else "No property is above chance alone"
    finding = Finding(
        "serious" if together.accuracy - together.chance >= _LARGE_GAIN else "minor",
        "sound",
        f"The shortcut baseline reaches {together.accuracy:.0%}, where chance is "
        f"{together.chance:.0%}",
        "It is the balanced accuracy of a small random forest that only knows length, level, "
        f"bandwidth, silence and file format. {by_property}. A network may learn such a shortcut "
        "instead of the sound. Part of it may be natural, if classes differ in length or level.",
        "Normalise levels (trim.normalise does so for peaks), cut all clips to one length, limit "
        "the bandwidth (f_max_hz of the features) to what all classes have, and test on recordings "
        "from another source.",
    )
    return [finding]
