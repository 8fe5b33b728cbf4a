"""The records of an audit: what it finds, and the tables behind its findings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from earmark.audit.duplicate_search import DuplicateSearch
from earmark.audit.findings import Finding
from earmark.audit.label_noise import LabelNoise
from earmark.audit.shortcuts import ShortcutBaseline


@dataclass(frozen=True)
class LabelAudit:
    """The label issues of a corpus, or why they are unknown.

    Attributes:
        noise: the estimated label noise; None if it could not be estimated.
        tags: the tags that the ensemble knows.
        note: why there is no estimate; "" if there is one.
        truth: the comparison with the true labels, where a synthetic corpus knows them.
    """

    noise: LabelNoise | None
    tags: list[str]
    note: str
    truth: Mapping[str, Any] | None

    @classmethod
    def skipped(cls, note: str) -> "LabelAudit":
        return cls(None, [], note, None)


@dataclass(frozen=True)
class Audit:
    """All results of an audit.

    Attributes:
        findings: the most severe first.
        metrics: the content of metrics/audit.json.
        search: the duplicates among all decoded clips, and how they were found.
        duplicates: one row per pair of usable clips, with labels, group and leak.
        labels: the label issues.
        licences: one row per licence.
        attribution: the text of ATTRIBUTION.txt.
        sound: one row per usable clip, with its measurements, label and source.
        shortcut_baselines: by property of the clips; empty where clips may have several tags.
        class_sizes: one row per tag.
        rounds: of self-verification, see `label_decisions.rounds_table`; without a row if none ran.
    """

    findings: list[Finding]
    metrics: dict[str, Any]
    search: DuplicateSearch
    duplicates: pd.DataFrame
    labels: LabelAudit
    licences: pd.DataFrame
    attribution: str
    sound: pd.DataFrame
    shortcut_baselines: dict[str, ShortcutBaseline]
    class_sizes: pd.DataFrame
    rounds: pd.DataFrame
