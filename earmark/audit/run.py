"""The audit of a corpus from start to finish, given the measurements of its sound."""

import pandas as pd

from earmark.audit import (
    balance,
    duplicate_groups,
    label_decisions,
    label_issues,
    licences,
    shortcuts,
    sound_faults,
)
from earmark.audit.findings import SEVERITIES, by_severity
from earmark.audit.measurements import Measurements, read_measurements
from earmark.audit.result import Audit
from earmark.audit.usable import usable_clips
from earmark.corpora.stored_tables import read_clips, read_folds
from earmark.labels import is_multi_label
from earmark.layout import Layout
from earmark.params import Params

FREESOUND_ADAPTERS = ("fsdkaggle2018", "esc10", "esc50", "urbansound8k")  # sources are its ids


def audit_corpus(params: Params, layout: Layout) -> Audit:
    """Audit the corpus; folds and ensemble are used if they exist.

    Raises:
        UserError: data/audit_sound/ does not exist yet, or corpus.label_corrections cannot be
            read.
    """
    measurements = read_measurements(layout.audit_sound)
    folds = read_folds(layout) if layout.folds.exists() else None
    clips = usable_clips(read_clips(layout), folds)
    multi_label = is_multi_label(clips["label"])

    duplicates = duplicate_groups.describe(measurements.search, clips, folds)
    labels = label_issues.audit_labels(params, layout, clips)
    sound = _sound_of_clips(measurements, clips)
    train = sound[sound["split"] == "train"]
    baselines = (
        {}
        if multi_label
        else shortcuts.shortcut_baselines(train, list(train["source"]), seed=params.seed)
    )
    rounds = label_decisions.rounds_table(params, layout)
    licence_table, sizes = licences.describe(clips), balance.class_sizes(clips)
    findings = by_severity(
        [
            *duplicate_groups.findings(duplicates, measurements.search),
            *label_issues.findings(labels),
            *shortcuts.findings(baselines),
            *licences.findings(clips, licence_table),
            *sound_faults.findings(sound),
            *balance.findings(sizes),
        ]
    )
    metrics = {
        "findings": {
            severity: sum(finding.severity == severity for finding in findings)
            for severity in SEVERITIES
        },
        "duplicates": duplicate_groups.metrics(duplicates, measurements.search),
        "labels": label_issues.metrics(labels),
        **label_decisions.metrics(rounds),
        "licences": licences.metrics(licence_table),
        "sound": sound_faults.metrics(sound),
        "shortcut_baseline": shortcuts.metrics(baselines),
        "balance": balance.metrics(sizes, multi_label=multi_label),
    }
    return Audit(
        findings=findings,
        metrics=metrics,
        search=measurements.search,
        duplicates=duplicates,
        labels=labels,
        licences=licence_table,
        attribution=_attribution(params, clips),
        sound=sound,
        shortcut_baselines=baselines,
        class_sizes=sizes,
        rounds=rounds,
    )


def _sound_of_clips(measurements: Measurements, clips: pd.DataFrame) -> pd.DataFrame:
    """The measurements of the usable clips, with the columns label and source."""
    sound = measurements.sound
    sound = sound[sound["clip"].isin(clips["clip"])].reset_index(drop=True)
    by_clip = clips.set_index("clip").reindex(sound["clip"])
    return sound.assign(label=by_clip["label"].to_numpy(), source=by_clip["source"].to_numpy())


def _attribution(params: Params, clips: pd.DataFrame) -> str:
    is_freesound = params.corpus.adapter in FREESOUND_ADAPTERS and not params.corpus.synthetic
    return licences.attribution(clips, title=params.corpus.name, sources_are_freesound=is_freesound)
