"""A class that follows from properties of its clips is found."""

import numpy as np
import pandas as pd

from earmark.audit import shortcuts


def corpus(*, is_told: bool, n: int = 120) -> pd.DataFrame:
    """Properties of clips of four classes; `is_told`: the bandwidth depends on the class."""
    rng = np.random.default_rng(0)
    label = np.arange(n) % 4
    bandwidth = 8000 + 3000 * label if is_told else 8000 + 3000 * rng.integers(4, size=n)
    return pd.DataFrame(
        {
            "clip": [f"{i}.wav" for i in range(n)],
            "label": [f"class{i}" for i in label],
            "seconds": rng.uniform(1, 5, n),
            "level_db": rng.normal(-30, 5, n),
            "bandwidth_hz": bandwidth + rng.normal(0, 100, n),
            "silent_share": 0.0,
            "native_sample_rate": 44_100,
            "channels": 1,
        }
    )


def test_a_bandwidth_that_depends_on_the_class_is_found():
    baselines = shortcuts.shortcut_baselines(corpus(is_told=True), [""] * 120, seed=0)
    assert set(baselines) == {"seconds", "level_db", "bandwidth_hz", "all"}
    assert baselines["bandwidth_hz"].accuracy > 0.95
    assert baselines["bandwidth_hz"].chance == 0.25
    assert not baselines["seconds"].is_above_chance
    (finding,) = shortcuts.findings(baselines)
    assert finding.severity == "serious"
    assert "Above chance alone: bandwidth" in finding.meaning


def test_properties_that_do_not_depend_on_the_class_make_no_finding():
    baselines = shortcuts.shortcut_baselines(corpus(is_told=False), [""] * 120, seed=0)
    assert shortcuts.findings(baselines) == []


def test_clips_of_one_source_are_never_in_training_and_validation():
    """The bandwidth depends on the source, five per class, and not on the class."""
    rng = np.random.default_rng(1)
    table = corpus(is_told=False)
    sources = [f"{label}-{i // 4 % 5}" for i, label in enumerate(table["label"])]
    value = dict(zip(sorted(set(sources)), rng.permutation(20) * 1000.0, strict=True))
    table["bandwidth_hz"] = [value[source] for source in sources]
    apart = shortcuts.shortcut_baselines(table, sources, seed=0)["bandwidth_hz"].accuracy
    together = shortcuts.shortcut_baselines(table, [""] * len(table), seed=0)[
        "bandwidth_hz"
    ].accuracy
    assert together > 0.9
    assert apart < 0.5


def test_classes_of_few_sources_are_left_out():
    table = corpus(is_told=True, n=40)
    table.loc[:3, "label"] = "rare"
    assert shortcuts.shortcut_baselines(table[table["label"] == "rare"], [""] * 4, seed=0) == {}
