"""The model card of an exported tagger, for whoever gets it and was not there when it was made.

Mitchell et al., "Model Cards for Model Reporting" (2019): what it is, what it was trained on, how
well it does and on what, and what it is not for.
"""

from collections.abc import Mapping
from typing import Any

from earmark.evaluation.intervals import interval_text
from earmark.wording import counted, printable


def model_card(content: Mapping[str, Any], scores: Mapping[str, Any]) -> str:
    """The card, in Markdown.

    Args:
        content: of tagger.json.
        scores: of metrics/scores.json, if there are any.
    """
    rules, corpus = content["rules"], content["corpus"]
    how_many = "any number" if rules["is_multi_label"] else "one"
    networks = counted(sum(len(folds) for folds in rules["members"].values()), "network")
    name, is_synthetic = printable(corpus["name"]), corpus["synthetic"]
    lines = [
        f"# Audio tagger: {name}",
        "",
        f"Gives a recording {how_many} of {len(rules['tags'])} tags. It is the "
        f"{rules['name']} of an earmark run, {networks}. Use it by",
        "",
        "    pip install earmark-*.whl",
        "    earmark predict FOLDER_OF_THIS_FILE RECORDING... [--timeline] [-o tags.csv]",
        "",
        "## Tags",
        "",
        ", ".join(printable(tag) for tag in rules["tags"]),
        "",
        "## What it was trained on",
        "",
        f"{counted(corpus['n_clips'], 'clip')} of {name}.",
    ]
    if is_synthetic:
        lines += ["A program made them: these figures say nothing about real sound."]
    lines += _licences(corpus["licences"])
    lines += [
        f"Published weights: {printable(entry['published_as'] or file)}, {entry['licence']}."
        for file, entry in content["weights"].items()
    ]
    lines += ["", "## How well it does", "", *_scores(rules["name"], scores)]
    lines += [f"- calibration of whole recordings: {rules['clip']['calibration']}"]
    if segment := rules["segment"]:
        seconds = rules["windows"]["window_seconds"]
        lines += [f"- calibration of segments of {seconds:g} s: {segment['calibration']}"]
    return "\n".join([*lines, *_LIMITS, *_provenance(content["provenance"], corpus), ""])


_LIMITS = [
    "",
    "## What it is not for",
    "",
    "It knows its tags alone and gives one of them to any sound, unless it is not confident.",
    "Sounds, places and microphones unlike those of the corpus are tagged worse than the scores",
    "say. Listen to a sample of its answers before you build on them.",
    "",
    "## Where it is from",
    "",
]


def _licences(licences: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not licences:
        return []
    lines = [
        "",
        "| licence of clips | clips | commercial use | names authors |",
        "|---|---|---|---|",
    ]
    for name, entry in licences.items():
        allowed = "unknown" if name == "unknown" else ("yes" if entry["commercial"] else "no")
        named = "unknown" if name == "unknown" else ("yes" if entry["attribution"] else "no")
        lines.append(f"| {printable(name)} | {entry['n_clips']} | {allowed} | {named} |")
    return [*lines, ""]


def _scores(name: str, scores: Mapping[str, Any]) -> list[str]:
    entry, metric = scores.get(name, {}), scores.get("metric", "")
    lines = []
    for key, title in (("out_of_fold", "out of fold"), ("test", "on test clips")):
        if estimate := entry.get(key, {}).get(metric):
            value = f"{estimate['value']:.3f}, {interval_text(estimate)}"
            lines.append(f"- {metric} {title}: {value}")
    return lines or ["- no scores were at hand when it was exported"]


def _provenance(provenance: Mapping[str, Any], corpus: Mapping[str, Any]) -> list[str]:
    commit = provenance["git_commit"] or "unknown"
    if provenance["git_changed"]:
        n_changed = counted(len(provenance["git_changed"]), "changed file")
        commit += f", with {n_changed} (tagger.json names them)"
    return [
        f"- git commit: {commit}",
        f"- dvc.lock: sha256 {provenance['dvc_lock_sha256']}",
        f"- clips table: sha256 {corpus['clips_sha256']}",
    ]
