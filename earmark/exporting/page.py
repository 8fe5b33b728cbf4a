"""A static page that runs an exported tagger in the browser."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from earmark.errors import UserError
from earmark.exporting.onnx_folder import details_of
from earmark.exporting.onnx_graph import OnnxInfo, export
from earmark.exporting.web_runtime import FILES, VERSION
from earmark.inference.recording_tagger import RecordingTagger
from earmark.records import write_json
from earmark.whole_files import whole_folder
from earmark.wording import first_of

PAGE_FILES = (
    "index.html",
    "page.css",
    "protocol.js",
    "page.js",
    "sound.js",
    "wav.js",
    "drawing.js",
    "worker.js",
)
_ALL_FILES = {*PAGE_FILES, "tagger.onnx", "tagger.json", "runtime"}
_AS_CLIPS = {"window_seconds": 3.0, "hop_seconds": 1.5}  # where no estimator was fitted
WHOLE_SECONDS = 60.0  # of a recording that is tagged at once: a browser has little memory


def write_page(tagger: RecordingTagger, folder: Path, *, runtime: Path, title: str) -> OnnxInfo:
    """Write the page, which appears whole; returns what it runs, with the bytes of all its files.

    Args:
        tagger: of one network.
        folder: is made, or replaced if it is a page already and has no other files.
        runtime: the folder of onnxruntime-web's files, see `web_runtime`.

    Raises:
        UserError: there is no ONNX for the network, or the folder has other files.
    """
    names = {path.name for path in folder.glob("*")}
    if folder.is_file() or (names and "tagger.onnx" not in names):
        raise UserError(f"{folder}: is no page of earmark; name a new folder")
    if others := sorted(names - _ALL_FILES):
        raise UserError(f"{folder}: holds {first_of(others)}; name a new folder")
    ((member, folds),) = tagger.networks.items()
    ((fold, (network, extractor)),) = folds.items()
    rules = tagger.rules
    details = details_of(rules, member=member, fold=fold)
    with whole_folder(folder) as part:
        info = export(
            network,
            extractor,
            part / "tagger.onnx",
            front_end="stft",
            details=details,
        )
        n_longest = info.metadata["longest_samples"]
        longest = n_longest / info.metadata["sample_rate"] if n_longest else WHOLE_SECONDS
        about = {
            **info.metadata,
            "title": title,
            "segment": info.metadata["segment"] or {**_AS_CLIPS, **_answers(info.metadata)},
            "calibration": rules.clip.calibration,
            "segment_calibration": rules.segment.calibration if rules.segment else "not measured",
            "whole_seconds": min(longest, WHOLE_SECONDS),
            "runtime": VERSION,
        }
        write_json(part / "tagger.json", about)
        for name in PAGE_FILES:
            shutil.copyfile(Path(__file__).parent / "page_files" / name, part / name)
        (part / "runtime").mkdir()
        for name in FILES:
            shutil.copyfile(runtime / name, part / "runtime" / name)
        n_bytes = sum(path.stat().st_size for path in part.rglob("*") if path.is_file())
    return replace(info, path=folder, n_bytes=n_bytes)


def _answers(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The estimator of clips, which then is that of segments, too."""
    return {name: metadata[name] for name in ("temperature", "thresholds", "rejection_threshold")}
