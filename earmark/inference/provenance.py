"""Where a tagger is from: its corpus with the licences, published weights, commit and code."""

import subprocess
from collections.abc import Mapping
from typing import Any

from earmark.audit import licences
from earmark.checksums import sha256_of
from earmark.corpora.stored_tables import read_clips
from earmark.features.pretrained import pretrained_of
from earmark.layout import Layout
from earmark.params import Params
from earmark.published.download.published import PUBLISHED
from earmark.published.weights import known
from earmark.records import read_json


def corpus_of(params: Params, layout: Layout) -> dict[str, Any]:
    """What the networks were trained on: name, digest, number of clips, licences."""
    clips = read_clips(layout)
    train = clips[clips["split"] == "train"]
    found = [licences.recognise(text) for text in train["licence"]]
    by_name: dict[str, dict[str, Any]] = {}
    for one in found:
        entry = by_name.setdefault(one.name, {"n_clips": 0, "url": one.url, **_allows(one)})
        entry["n_clips"] += 1
    return {
        "name": params.corpus.name,
        "synthetic": params.corpus.synthetic,
        "n_clips": len(train),
        "clips_sha256": sha256_of(layout.clips),
        "licences": dict(sorted(by_name.items())),
    }


def _allows(licence: licences.Licence) -> dict[str, bool]:
    return {"commercial": licence.commercial, "attribution": licence.attribution}


def weights_of(layout: Layout, published: Mapping[str, str]) -> dict[str, Any]:
    """Which published weights are in it, with their licences as far as they are known."""
    described = {}
    for source, name in published.items():
        origin = known.find(pretrained_of(layout.root / source).source_sha256)
        licence = "unknown"
        for entry in PUBLISHED.values():
            if origin and any(file.name == origin.name for file in entry.files):
                licence = entry.licence
        described[name] = {"published_as": origin.name if origin else "", "licence": licence}
    return described


def provenance_of(layout: Layout) -> dict[str, Any]:
    """Of which commit, code and data it is; nothing where there is no git."""
    commit = _git(layout, "rev-parse", "HEAD")
    changed = _git(layout, "status", "--porcelain", "--untracked-files=no")
    code = read_json(layout.code) if layout.code.exists() else {}
    lock = layout.root / "dvc.lock"
    return {
        "git_commit": commit,
        "git_changed": sorted(line[3:] for line in changed.splitlines()),
        "dvc_lock_sha256": sha256_of(lock) if lock.exists() else "",
        "code": {key: code[key] for key in ("train", "ensemble", "timeline") if key in code},
    }


def _git(layout: Layout, *arguments: str) -> str:
    command = ["git", *arguments]
    try:
        done = subprocess.run(command, cwd=layout.root, capture_output=True, text=True, check=False)
    except OSError:  # no git
        return ""
    return done.stdout.rstrip() if done.returncode == 0 else ""
