"""The whole audit of a corpus, from what the pipeline has made so far."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from earmark.audit import balance, duplicates, groups, label_noise, licences, shortcuts, sound
from earmark.audit.findings import SEVERITIES, Finding, by_severity
from earmark.corpora.corrections import read_corrections
from earmark.labels import is_multi_label, label_indices
from earmark.layout import Layout
from earmark.params import Params
from earmark.reports.audit_page import render_page
from earmark.store import Store, read_json, read_table, whole_folder, write_json, write_table

FREESOUND_ADAPTERS = ("fsdkaggle2018", "esc10", "esc50", "urbansound8k")  # sources are its ids


@dataclass(frozen=True)
class Doubts:
    """What could be said of the labels: the noise, or a note why not; the truth where known."""

    noise: label_noise.LabelNoise | None
    tags: list[str]
    note: str
    truth: Mapping[str, Any] | None


@dataclass(frozen=True)
class Audit:
    """All that was found; tables as they are written, `metrics` as in metrics/audit.json."""

    findings: list[Finding]
    metrics: dict[str, Any]
    found: duplicates.Found
    duplicates: pd.DataFrame
    doubts: Doubts
    licences: pd.DataFrame
    attribution: str
    sound: pd.DataFrame
    guesses: dict[str, shortcuts.Guess]
    sizes: pd.DataFrame


def audit_corpus(params: Params, layout: Layout) -> Audit:
    """Audit the decoded corpus; folds and ensemble are looked at where they are there.

    Raises:
        UserError: nothing was decoded yet, or corpus.label_corrections cannot be read.
    """
    folds = read_table(layout.folds) if layout.folds.exists() else None
    clips = usable_clips(read_table(layout.clips), folds)
    store = Store.open(layout.decoded)
    facts = clips.set_index("clip")[["label", "source"]]
    own = facts.reindex(store.index["clip"]).fillna("")  # dropped clips have neither
    labels_, workers, seed = list(own["label"]), params.runtime.workers, params.seed
    multi = is_multi_label(clips["label"])

    found = duplicates.find_duplicates(store, labels_, seed=seed, workers=workers)
    pairs = groups.describe(found, clips, folds)
    doubts = doubts_of(params, layout, clips)
    measured = sound.table_of(store, labels_, workers=workers).assign(source=list(own["source"]))
    measured = measured[measured["clip"].isin(facts.index)].reset_index(drop=True)
    train = measured[measured["split"] == "train"]
    guesses = {} if multi else shortcuts.guess_class(train, list(train["source"]), seed=seed)
    table, sizes = licences.describe(clips), balance.class_sizes(clips)
    findings = by_severity(
        [
            *groups.findings(pairs, found),
            *(label_noise.findings(doubts.noise, doubts.truth) if doubts.noise else []),
            *shortcuts.findings(guesses),
            *licences.findings(clips, table),
            *sound.findings(measured),
            *balance.findings(sizes),
        ]
    )
    metrics = {
        "findings": {g: sum(f.severity == g for f in findings) for g in SEVERITIES},
        "duplicates": groups.metrics(pairs, found),
        "labels": _label_metrics(doubts),
        "licences": licences.metrics(table),
        "sound": sound.metrics(measured),
        "shortcut_baseline": shortcuts.metrics(guesses),
        "balance": balance.metrics(sizes, multi_label=multi),
    }
    is_freesound = params.corpus.adapter in FREESOUND_ADAPTERS and not params.corpus.synthetic
    credits_ = licences.attribution(
        clips, title=params.corpus.name, sources_are_freesound=is_freesound
    )
    return Audit(findings, metrics, found, pairs, doubts, table, credits_, measured, guesses, sizes)


def usable_clips(clips: pd.DataFrame, folds: pd.DataFrame | None) -> pd.DataFrame:
    """The clips table without quarantined and dropped clips; labels are those after the edits."""
    clips = clips[~clips["quarantined"]]
    if folds is not None:
        clips = clips[clips["clip"].isin(folds["clip"])]
        edited = folds.set_index("clip").reindex(clips["clip"])
        values = {name: edited[name].to_numpy() for name in ("label", "verified")}
        clips = clips.assign(**values)
    return clips.reset_index(drop=True)


def doubts_of(params: Params, layout: Layout, clips: pd.DataFrame) -> Doubts:
    """What the ensemble's out-of-fold probabilities say of the labels, if there are any."""
    if not (layout.ensemble / "ensemble.json").exists():
        return Doubts(None, [], "Left out: there is no ensemble yet; run `dvc repro`.", None)
    if is_multi_label(clips["label"]):
        note = "Left out: with several tags a clip, each tag would have to be judged alone."
        return Doubts(None, [], note, None)
    tags = read_json(layout.ensemble / "ensemble.json")["tags"]
    rows = read_table(layout.ensemble / "clips.parquet")[["clip", "split"]]
    held_out = (rows["split"] == "validation") & rows["clip"].isin(clips["clip"])
    said = read_table(layout.ensemble / "ensemble.parquet").to_numpy(dtype=np.float64)
    # A clip that several folds held out (first_last) is judged by the mean of what they said.
    mean = pd.DataFrame(said[held_out]).groupby(rows.loc[held_out, "clip"].to_numpy()).mean()
    judged = clips.set_index("clip").loc[mean.index].reset_index(names="clip")
    strangers = ~judged["label"].isin(tags).to_numpy()
    judged, probabilities = judged[~strangers], mean.to_numpy()[~strangers]
    given = label_indices(list(judged["label"]), tags)
    noise = label_noise.label_noise(judged, probabilities, given, tags, seed=params.seed)
    truth = _truth(params, layout, noise, judged, probabilities, given)
    return Doubts(_undecided(noise, params, layout), tags, "", truth)


def _truth(
    params: Params,
    layout: Layout,
    noise: label_noise.LabelNoise,
    judged: pd.DataFrame,
    probabilities: label_noise.Floats,
    given: label_noise.Ints,
) -> dict[str, Any] | None:
    known = (
        label_noise.true_labels(layout.root / params.corpus.root)
        if params.corpus.synthetic
        else None
    )
    if known is None:
        return None
    is_wrong = (judged["clip"].map(known) != judged["label"]).to_numpy(dtype=bool)
    if not is_wrong.any():
        return None
    return label_noise.against_truth(noise, probabilities, given, is_wrong, seed=params.seed)


def _undecided(
    noise: label_noise.LabelNoise, params: Params, layout: Layout
) -> label_noise.LabelNoise:
    """Without the suspects about which the user has decided already."""
    decided = read_corrections(layout.root / params.corpus.label_corrections)["clip"]
    left = noise.suspects[~noise.suspects["clip"].isin(decided)].reset_index(drop=True)
    return noise.replace_suspects(left)


def _label_metrics(doubts: Doubts) -> dict[str, Any]:
    if doubts.noise is None:
        return {"note": doubts.note}
    found: dict[str, Any] = {
        "suspects": len(doubts.noise.suspects),
        "looks_wrong": doubts.noise.overall,
    }
    return found if doubts.truth is None else {**found, "against_truth": doubts.truth}


def write_audit(audit: Audit, params: Params, layout: Layout) -> None:
    """Write data/audit/ and metrics/audit.json."""
    suspects = pd.DataFrame(columns=[*label_noise.COLUMNS, *label_noise.FOR_THE_USER])
    if audit.doubts.noise is not None:
        suspects = audit.doubts.noise.suspects
    with whole_folder(layout.audit) as part:
        write_table(part / "suspects.csv", suspects)
        write_table(part / "duplicates.csv", audit.duplicates)
        write_table(part / "licences.csv", audit.licences)
        write_table(part / "sound.csv", audit.sound.round(5))
        (part / "ATTRIBUTION.txt").write_text(audit.attribution, encoding="utf-8")
        page = render_page(audit, title=f"earmark audit: {params.corpus.name}")
        (part / "index.html").write_text(page, encoding="utf-8")
    write_json(layout.metrics / "audit.json", audit.metrics)
