"""The label issues of a corpus, from the out-of-fold probabilities of the ensemble."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from earmark.audit.findings import Finding
from earmark.audit.label_noise import LabelNoise, Share, Skill, estimate_label_noise, skill_of
from earmark.audit.label_posterior import Floats, Ints
from earmark.audit.label_ranking import against_truth, true_labels
from earmark.audit.result import LabelAudit
from earmark.corpora.corrections import read_corrections
from earmark.errors import reading
from earmark.labels import is_multi_label, label_indices
from earmark.layout import Layout
from earmark.params import Params
from earmark.records import read_json, read_table
from earmark.wording import counted, first_of

TOPIC = "labels"
_NOISY = 0.1  # a class is named if the interval of its estimated noise lies above this


class _Judged(NamedTuple):
    """The estimated noise of the labels, and what it was estimated of."""

    noise: LabelNoise
    tags: list[str]
    clips: pd.DataFrame  # (B, ...)
    probabilities: Floats  # (B, K)
    labels: Ints  # (B,)


def audit_labels(params: Params, layout: Layout, clips: pd.DataFrame) -> LabelAudit:
    """Estimate the label noise of `clips`, if they have one tag each and an ensemble knows these.

    What corpus.label_corrections decides about counts in the estimates, but is no issue.

    Raises:
        UserError: corpus.label_corrections cannot be read.
    """
    judged = _judge(params, layout, clips)
    if isinstance(judged, str):
        return LabelAudit.skipped(judged)
    truth = _compare_with_truth(
        params, layout, judged.noise, judged.clips, judged.probabilities, judged.labels
    )
    return LabelAudit(judged.noise, judged.tags, "", truth)


def judged_labels(params: Params, layout: Layout, clips: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """What the audit says of the label of every clip, for who shows clips one by one.

    Returns:
        One row per clip that was judged: clip, suggested, p_wrong and is_listed (among the label
        issues); and why there is none, or "".

    Raises:
        UserError: corpus.label_corrections cannot be read.
    """
    columns = ["clip", "suggested", "p_wrong", "is_listed"]
    judged = _judge(params, layout, clips)
    if isinstance(judged, str):
        return pd.DataFrame(columns=columns), judged
    return judged.noise.every_label[columns], ""


def _judge(params: Params, layout: Layout, clips: pd.DataFrame) -> _Judged | str:
    """The estimate, or why there is none."""
    if not (layout.ensemble / "ensemble.json").exists():
        return "Skipped: there is no ensemble yet. Run `dvc repro`."
    if is_multi_label(clips["label"]):
        return "Skipped: label issues are only found in a corpus with one tag per clip."
    tags = read_json(layout.ensemble / "ensemble.json")["tags"]
    clips, probabilities = _out_of_fold(layout, clips, tags)
    labels = label_indices(list(clips["label"]), tags)
    skill = skill_of(probabilities, labels, clips["source"])
    if not skill.is_clear:
        return _silence(skill)
    decided = read_corrections(layout.root / params.corpus.label_corrections)["clip"]
    noise = estimate_label_noise(
        clips, probabilities, labels, tags, decided=decided, seed=params.seed
    )
    return _Judged(noise, tags, clips, probabilities, labels)


def _silence(skill: Skill) -> str:
    return (
        f"Silent because the ensemble agrees with {skill.accuracy:.0%} of the labels (95 % "
        f"interval {skill.low:.0%} to {skill.high:.0%}) out of fold, where chance or always the "
        f"most frequent tag reaches {skill.baseline:.0%}: too little to tell wrong labels from "
        "its own errors."
    )


def _out_of_fold(
    layout: Layout, clips: pd.DataFrame, tags: list[str]
) -> tuple[pd.DataFrame, Floats]:
    """The clips that are validated in some fold, sorted, and their probabilities (B, K)."""
    rows = read_table(layout.ensemble / "clips.parquet", "clip", "split")
    is_validated = (rows["split"] == "validation") & rows["clip"].isin(clips["clip"])
    path = layout.ensemble / "ensemble.parquet"
    all_rows = read_table(path, *tags).to_numpy(dtype=np.float64)
    with reading(path):
        if all_rows.shape != (len(rows), len(tags)):
            raise ValueError(f"{all_rows.shape} instead of {(len(rows), len(tags))}")
    # A clip that several folds validate (first_last) gets the mean of their probabilities.
    by_row = pd.DataFrame(all_rows[is_validated])
    by_clip = by_row.groupby(rows.loc[is_validated, "clip"].to_numpy()).mean()
    validated = clips.set_index("clip").loc[by_clip.index].reset_index(names="clip")
    is_known = validated["label"].isin(tags).to_numpy()
    return validated[is_known], by_clip.to_numpy()[is_known]


def _compare_with_truth(
    params: Params,
    layout: Layout,
    noise: LabelNoise,
    clips: pd.DataFrame,
    probabilities: Floats,
    labels: Ints,
) -> dict[str, Any] | None:
    if not params.corpus.synthetic:
        return None
    true_label_of = true_labels(layout.root / params.corpus.root)
    if true_label_of is None:
        return None
    is_wrong = (clips["clip"].map(true_label_of) != clips["label"]).to_numpy(dtype=bool)
    if not is_wrong.any():
        return None
    return against_truth(noise, probabilities, labels, is_wrong, seed=params.seed)


def metrics(audit: LabelAudit) -> dict[str, Any]:
    """Counts and estimates for metrics/audit.json."""
    if audit.noise is None:
        return {"note": audit.note}
    estimates: dict[str, Any] = {
        "label_issues": len(audit.noise.label_issues),
        "estimated_precision": audit.noise.precision,
        "estimated_noise": audit.noise.estimated_noise,
    }
    return estimates if audit.truth is None else {**estimates, "against_truth": audit.truth}


def findings(audit: LabelAudit) -> list[Finding]:
    """Findings about label issues and classes with many of them, or why there is no opinion."""
    if audit.noise is None:
        fix = "Train an ensemble that is clearly better than a constant answer, one tag per clip."
        return [Finding("note", TOPIC, "Labels are not judged", audit.note, fix)]
    return [*_issues(audit.noise, audit.truth), *_noisy_classes(audit.noise)]


def noise_sentence(noise: LabelNoise) -> str:
    """How many labels are wrong, as far as it is known."""
    which = "unverified" if "unverified" in noise.estimated_noise else "all"
    labels = "unverified labels" if which == "unverified" else "labels"
    return (
        f"About {with_interval(noise.estimated_noise[which])} of the {labels} are wrong; the "
        "ensemble's own errors are subtracted. A label that names a similar tag looks like such an "
        "error and may go uncounted."
    )


def with_interval(share: Share) -> str:
    """A share in percent with its interval."""
    return f"{share['value']:.0%} (95 % interval {share['low']:.0%} to {share['high']:.0%})"


def _issues(noise: LabelNoise, truth: Mapping[str, Any] | None) -> list[Finding]:
    n = len(noise.label_issues)
    if noise.precision is None:
        return []
    compared = "" if truth is None else (
        f" The true labels of this synthetic corpus are known: {truth['precision_of_list']:.0%} of "
        f"the listed labels are wrong, and {truth['recall_of_list']:.0%} of the wrong labels are "
        "listed."
    )  # fmt: skip
    finding = Finding(
        "serious" if noise.precision["low"] > 0 else "minor",
        TOPIC,
        f"{counted(n, 'label')} {'is' if n == 1 else 'are'} more likely wrong than right",
        f"Of the listed labels about {with_interval(noise.precision)} are wrong. "
        f"{noise_sentence(noise)}{compared}",
        "Listen to the first clips of label_issues.csv, fill in the column decision (keep, change "
        "or drop), and set corpus.label_corrections to that file.",
    )
    return [finding]


def _noisy_classes(noise: LabelNoise) -> list[Finding]:
    noisy = noise.by_tag[noise.by_tag["low"] > _NOISY]
    if noisy.empty:
        return []
    shares = [f"{tag} ({share:.0%})" for tag, share in noisy[["tag", "estimated_noise"]].to_numpy()]
    finding = Finding(
        "minor",
        TOPIC,
        f"More than {_NOISY:.0%} of the labels look wrong in "
        f"{counted(len(noisy), 'class', 'classes')}",
        f"Even the low end of the 95 % interval is above {_NOISY:.0%}: "
        f"{first_of(shares, limit=5)}.",
        "Check the label issues of these classes first.",
    )
    return [finding]
