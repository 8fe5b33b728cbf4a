"""The networks of a tagger as a folder of ONNX files, with a script that tags with them."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from earmark.ensemble.rules import Estimator, Rules
from earmark.errors import UserError
from earmark.exporting.front_ends import FrontEnd
from earmark.exporting.onnx_graph import OnnxInfo, export
from earmark.inference.recording_tagger import RecordingTagger
from earmark.whole_files import whole_file, whole_folder

EXAMPLE = "tag.py"


def export_onnx(tagger: RecordingTagger, folder: Path, *, front_end: FrontEnd) -> list[OnnxInfo]:
    """Write MEMBER-FOLD.onnx for every network, and tag.py; the folder appears whole.

    Args:
        folder: is made, or replaced if it is a folder of such files alone.

    Raises:
        UserError: some networks have no ONNX, all of them are named; or the folder has other files.
    """
    _refuse_other_files(folder)
    problems: list[str] = []
    infos: list[OnnxInfo] = []
    with whole_folder(folder) as part:
        for member, folds in tagger.networks.items():
            for fold, (network, extractor) in folds.items():
                details = details_of(tagger.rules, member=member, fold=fold)
                path = part / f"{member}-{fold}.onnx"
                try:
                    info = export(network, extractor, path, front_end=front_end, details=details)
                except UserError as error:
                    problems += [f"{member}: {problem}" for problem in error.problems]
                    break  # its other folds would say the same
                infos.append(OnnxInfo(folder / path.name, info.n_bytes, info.metadata))
        if problems:
            raise UserError(*problems)
        with whole_file(part / EXAMPLE) as example:
            shutil.copyfile(Path(__file__).with_name("example.py"), example)
    return infos


def details_of(rules: Rules, *, member: str, fold: str) -> dict[str, Any]:
    """What a file says of the rules by which its probabilities become an answer."""
    segment = None
    if rules.segment and rules.windows:
        segment = {**asdict(rules.windows), **_estimator(rules.segment)}
    return {
        "member": member,
        "fold": fold,
        "weight": rules.weights[member],
        "fold_mean": rules.fold_mean,
        "is_multi_label": rules.is_multi_label,
        **_estimator(rules.clip),
        "segment": segment,
        "trim": rules.preparation["trim"],
        "aggregation_in_predict": rules.aggregation[member],
    }


def _estimator(one: Estimator) -> dict[str, Any]:
    names = ("temperature", "thresholds", "rejection_threshold")
    return {name: getattr(one, name) for name in names}


def lines(infos: list[OnnxInfo]) -> list[str]:
    """What was written, and where its answers differ from those of `predict`."""
    found = [f"{info.path}: {info.n_bytes / 1e6:.1f} MB" for info in infos]
    for member in dict.fromkeys(info.metadata["member"] for info in infos):
        one = next(info.metadata for info in infos if info.metadata["member"] == member)
        if one["aggregation_in_predict"] != "mean":
            rule = one["aggregation_in_predict"].replace("_", " ")
            found.append(
                f"note: {member}: a graph draws nothing, so it takes the mean of the crops that "
                f"cover a clip; predict has {rule}"
            )
        if one["longest_samples"]:
            seconds = one["longest_samples"] / one["sample_rate"]
            found.append(f"note: {member}: clips of at most {seconds:.0f} s; cut longer ones")
    return found


def _refuse_other_files(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; name a folder")
    others = [path for path in folder.glob("*") if path.suffix != ".onnx" and path.name != EXAMPLE]
    if others:
        raise UserError(f"{folder}: holds {others[0].name}; name a new folder")
