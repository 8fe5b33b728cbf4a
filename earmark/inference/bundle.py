"""A tagger as one folder: networks, rules, scores and where it is from. It needs no workspace.

tagger/
  tagger.json      format, rules, files with their sha256, provenance, licences
  README.md        the model card
  models/MEMBER/FOLD/{model.json,weights.safetensors}
  weights/         published networks that stay as they are, if any
  metrics/         scores with intervals, calibration
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from earmark.checksums import sha256_of
from earmark.ensemble.network_folders import network_folders
from earmark.ensemble.rules import Rules
from earmark.errors import UserError
from earmark.inference.bundle_files import FORMAT, TAGGER, Bundle, digest_of, is_bundle
from earmark.inference.model_card import model_card
from earmark.inference.provenance import corpus_of, provenance_of, weights_of
from earmark.inference.recording_tagger import RecordingTagger
from earmark.layout import Layout
from earmark.params import Params
from earmark.records import read_json, write_json
from earmark.taggers.description import DESCRIPTION, WEIGHTS, read_description
from earmark.taggers.tagger import refuse_damaged
from earmark.whole_files import whole_folder

CARD = "README.md"
_DEVICES = ("auto", "cpu", "cuda")
_METRICS = ("scores.json", "calibration.json", "timeline.json", "summary.json")


def export(
    rules: Rules, params: Params, layout: Layout, out: Path, *, overwrite: bool = False
) -> dict[str, Any]:
    """Write the tagger of these rules into a folder, whole or not at all.

    Args:
        rules: of the ensemble or the student of this workspace, or part of the ensemble.
        params: of the workspace.
        out: the folder; what is there stays, but for another bundle where `overwrite` is set.

    Returns:
        what tagger.json holds.

    Raises:
        UserError: `out` is in the way; a network is code of the workspace.
        DamagedError: a network is not as it was written.
    """
    _refuse_in_the_way(out, overwrite=overwrite)
    folders = network_folders(rules.members, layout)
    _refuse_own_code(folders.values())
    _refuse_damaged(folders.values())
    published = _published(folders.values())
    with whole_folder(out) as part:
        for name, folder in folders.items():
            (part / name).mkdir(parents=True)
            for file in (DESCRIPTION, WEIGHTS):
                shutil.copyfile(folder / file, part / name / file)
        for source, name in published.items():
            (part / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(layout.root / source, part / name)
        (part / "metrics").mkdir()
        for file in _METRICS:
            if (layout.metrics / file).exists():
                shutil.copyfile(layout.metrics / file, part / "metrics" / file)
        content: dict[str, Any] = {
            "format": FORMAT,
            "rules": rules.to_json(),
            "runtime": params.runtime.model_dump(),
            "published": published,
            "corpus": corpus_of(params, layout),
            "weights": weights_of(layout, published),
            "provenance": provenance_of(layout),
        }
        scores = layout.metrics / "scores.json"
        card = model_card(content, read_json(scores) if scores.exists() else {})
        (part / CARD).write_text(card, encoding="utf-8")
        files = sorted(path for path in part.rglob("*") if path.is_file())
        content["files"] = {p.relative_to(part).as_posix(): sha256_of(p) for p in files}
        content["digest"] = digest_of(content)
        write_json(part / TAGGER, content)
    return content


def load(bundle: Bundle, *, device: str = "") -> RecordingTagger:
    """The tagger of a bundle that `open_bundle` checked.

    Args:
        device: auto, cpu or cuda; by default as it was trained, if that is here.

    Raises:
        UserError: the device that is asked for is not there.
    """
    if device not in ("", *_DEVICES):
        raise UserError(f"device {device!r}: is not known; give {', '.join(_DEVICES)}")
    runtime = bundle.runtime.model_copy(update={"device": device} if device else {})
    if runtime.device == "cuda" and not torch.cuda.is_available():
        if device:
            raise UserError("device 'cuda': is not available here; give 'auto' or 'cpu'")
        runtime = runtime.model_copy(update={"device": "auto"})  # where it was trained, it was
    return RecordingTagger(
        Rules.of_json(bundle.content["rules"]),
        lambda member, fold: bundle.folder / "models" / member / fold,
        runtime,
        Layout(bundle.folder).scratch_folder,
        bundle.content["digest"],
        {given: bundle.folder / name for given, name in bundle.content["published"].items()},
    )


def _refuse_in_the_way(out: Path, *, overwrite: bool) -> None:
    if not out.exists():
        return
    if not is_bundle(out):
        raise UserError(f"{out}: is there and no bundle; nothing is overwritten, name another")
    if not overwrite:
        raise UserError(f"{out}: is there; name another folder, or pass --overwrite")


def _refuse_own_code(folders: Iterable[Path]) -> None:
    for folder in folders:
        name = read_description(folder)["network"]["name"]
        if ":" in name:
            fix = "add it to earmark/networks, and train again"
            raise UserError(f"{name}: a network of this workspace, which no bundle holds; {fix}")


def _refuse_damaged(folders: Iterable[Path]) -> None:
    """A bundle would vouch for the damaged file by a checksum of its own."""
    for folder in folders:
        refuse_damaged(folder, read_description(folder))


def _published(folders: Iterable[Path]) -> dict[str, str]:
    """Weights that features need, by the path that they are given by: their name in the bundle."""
    found = {}
    for folder in folders:
        options = read_description(folder)["input"]["options"]
        if weights := options.get("weights"):
            found[weights] = f"weights/{Path(weights).name}"
    if len(set(found.values())) < len(found):
        raise UserError("two files of published weights have the same name; rename one of them")
    return found
