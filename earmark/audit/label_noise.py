"""Which labels are likely wrong, and how many, from an ensemble that never saw the clips.

`label_posterior` has the model. As in confident learning (Northcutt, Jiang, Chuang, "Confident
learning: estimating uncertainty in dataset labels", JAIR 2021, equation 2) probabilities are
relative to a tag's threshold: the mean probability of that tag over the clips labelled with it.
Shapes: B clips, D draws, K tags.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.audit.label_posterior import Bools, Floats, Ints, label_posterior
from earmark.seeding import rng_for

MIN_PROBABILITY = 1e-9
Share = dict[str, float]  # value, and the low and high end of its 95 % interval

COLUMNS = ["clip", "path", "given", "suggested", "p_given", "p_suggested", "p_wrong", "verified"]
USER_COLUMNS = ["decision", "label"]  # empty: keep, change or drop; the label to change to
_MIN_SKILL = 0.1  # 0 is the better of chance and a constant answer, 1 is always right


@dataclass(frozen=True)
class LabelNoise:
    """The labels that are likely wrong, and estimates of how many are.

    Attributes:
        label_issues: one row per clip whose label is more likely wrong than right, the most
            likely wrong first; the columns are COLUMNS and USER_COLUMNS.
        precision: the share of `label_issues` that is wrong; None if there are none.
        by_tag: one row per given tag: clips, estimated_noise with its 95 % interval.
        given_to_suggested: int (K, K), counts of label issues by given and suggested tag.
        estimated_noise: the share of wrong labels among all labels, and among the unverified ones
            where some are verified.
        p_wrong: float (B,), the probability that a label is wrong, of every clip.
        every_label: as label_issues, of every clip, in the order of the clips, with is_listed.
    """

    label_issues: pd.DataFrame
    precision: Share | None
    by_tag: pd.DataFrame
    given_to_suggested: NDArray[np.int64]
    estimated_noise: dict[str, Share]
    p_wrong: Floats
    every_label: pd.DataFrame


class Skill(NamedTuple):
    """How often an ensemble agrees with the labels, with its 95 % interval, and a constant does."""

    accuracy: float
    low: float
    high: float
    baseline: float

    @property
    def is_clear(self) -> bool:
        """Whether the ensemble knows enough of the tags for an opinion about labels."""
        return self.low >= self.baseline + _MIN_SKILL * (1 - self.baseline)


def skill_of(probabilities: Floats, labels: Ints, sources: pd.Series) -> Skill:
    """Compare (B, K) probabilities with chance and with the most frequent of (B,) labels.

    The interval is Wilson's; clips of one recording count as one.
    """
    accuracy = float((probabilities.argmax(axis=1) == labels).mean())
    n, z = _clip_weights(sources).sum(), 1.96
    centre = (accuracy + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(accuracy * (1 - accuracy) / n + z**2 / (4 * n**2))
    constant = np.bincount(labels).max() / len(labels)
    baseline = max(float(constant), 1 / probabilities.shape[1])
    return Skill(accuracy, float(centre - half), float(centre + half), baseline)


def _clip_weights(sources: pd.Series) -> Floats:
    """(B,): 1, or for a clip of a known recording 1 / the clips of that recording."""
    sizes = sources.groupby(sources).transform("size").where(sources != "", 1)
    return np.asarray(1 / sizes, dtype=np.float64)


def class_thresholds(probabilities: Floats, labels: Ints) -> Floats:
    """The mean probability of each tag over the clips labelled with it, (K,)."""
    k = probabilities.shape[1]
    sums = np.bincount(labels, probabilities[np.arange(len(labels)), labels], minlength=k)
    sizes = np.bincount(labels, minlength=k)
    return np.maximum(np.where(sizes > 0, sums / np.maximum(sizes, 1), 1), MIN_PROBABILITY)


def estimate_label_noise(
    clips: pd.DataFrame,
    probabilities: Floats,
    labels: Ints,
    tags: list[str],
    *,
    decided: pd.Series,
    seed: int,
) -> LabelNoise:
    """Estimate the label noise of validation clips with one tag each.

    Verified labels count as right, unless all are called verified: a corpus that says nothing of
    it is such. What the user decided about is no issue any more, but counts as unverified: such
    clips were chosen because the ensemble disagreed, so they do not show how often it errs.

    Args:
        clips: (B, ...), with the columns clip, path, source and verified.
        probabilities: (B, K), of networks that were not trained on the clips.
        labels: (B,), indices into `tags`.
        tags: the K tags.
        decided: clips whose label the user has changed or kept.
        seed: of the whole pipeline.
    """
    verified = clips["verified"].to_numpy(dtype=bool)
    is_decided = clips["clip"].isin(decided).to_numpy()
    is_right = verified & ~is_decided & ~verified.all()
    thresholds = class_thresholds(probabilities, labels)
    relative = np.log(np.maximum(probabilities, MIN_PROBABILITY) / thresholds)  # (B, K)
    p_wrong, is_wrong = label_posterior(
        relative, labels, is_right, _clip_weights(clips["source"]), rng=rng_for(seed, "audit")
    )
    others = relative.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    suggested = others.argmax(axis=1)
    is_listed = (p_wrong > 0.5) & ~is_decided
    matrix = np.zeros((len(tags), len(tags)), dtype=np.int64)
    np.add.at(matrix, (labels[is_listed], suggested[is_listed]), 1)
    groups = {"all": np.ones(len(labels), dtype=bool)}
    if is_right.any():
        groups["unverified"] = ~is_right
    table = _as_table(clips, probabilities, labels, suggested, p_wrong, tags)
    return LabelNoise(
        table[is_listed]
        .sort_values(["p_wrong", "clip"], ascending=[False, True])
        .reset_index(drop=True),
        _share(is_wrong[:, is_listed]) if is_listed.any() else None,
        _by_tag(is_wrong, labels, tags),
        matrix,
        {name: _share(is_wrong[:, group]) for name, group in groups.items() if group.any()},
        p_wrong,
        table.assign(is_listed=is_listed),
    )


def _share(is_wrong: Bools) -> Share:
    """The share of wrong labels over draws (D, b)."""
    shares = is_wrong.mean(axis=1)
    ends = dict(zip(("low", "high"), np.quantile(shares, [0.025, 0.975]), strict=True))
    return {key: round(float(x), 4) for key, x in {"value": shares.mean(), **ends}.items()}


def _by_tag(is_wrong: Bools, labels: Ints, tags: list[str]) -> pd.DataFrame:
    rows = []
    for index, tag in enumerate(tags):
        has_tag = labels == index
        share = _share(is_wrong[:, has_tag]) if has_tag.any() else {}
        value = share.pop("value", np.nan)
        rows.append({"tag": tag, "clips": int(has_tag.sum()), "estimated_noise": value, **share})
    return pd.DataFrame(rows).sort_values(
        ["estimated_noise", "tag"], ascending=[False, True], ignore_index=True
    )


def _as_table(
    clips: pd.DataFrame,
    probabilities: Floats,
    labels: Ints,
    suggested: Ints,
    p_wrong: Floats,
    tags: list[str],
) -> pd.DataFrame:
    names, rows = np.array(tags), np.arange(len(labels))
    return pd.DataFrame(
        {
            "clip": clips["clip"].to_numpy(),
            "path": clips["path"].to_numpy(),
            "given": names[labels],
            "suggested": names[suggested],
            "p_given": probabilities[rows, labels].round(4),
            "p_suggested": probabilities[rows, suggested].round(4),
            "p_wrong": p_wrong.round(4),
            "verified": clips["verified"].to_numpy(dtype=bool),
            **dict.fromkeys(USER_COLUMNS, ""),
        }
    )
