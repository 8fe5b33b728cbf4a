"""The networks of a tagger as a folder of ONNX files, with a script that tags with them."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from earmark.errors import UserError
from earmark.exporting.front_ends import FrontEnd
from earmark.exporting.onnx_graph import OnnxInfo, export
from earmark.taggers.tagger import Tagger
from earmark.whole_files import whole_file, whole_folder

EXAMPLE = "tag.py"

# Member -> fold -> network, and the extractor that it reads embeddings of.
Networks = Mapping[str, Mapping[str, tuple[Tagger, Tagger | None]]]


def export_onnx(
    networks: Networks, metadata: Mapping[str, Any], folder: Path, *, front_end: FrontEnd
) -> list[OnnxInfo]:
    """Write MEMBER-FOLD.onnx for every network, and tag.py; the folder appears whole.

    Args:
        networks: as `Ensemble.networks` has them; of a student {"student": {"all": (it, None)}}.
        metadata: as ensemble.json has it: `is_multi_label`, `temperature`, `preparation` and, where
            they are known, `weights`, `fold_mean`, `thresholds`.
        folder: is made, or replaced if it is a folder of such files alone.

    Raises:
        UserError: some networks have no ONNX, all of them are named; or the folder has other files.
    """
    _refuse_other_files(folder)
    problems: list[str] = []
    infos: list[OnnxInfo] = []
    with whole_folder(folder) as part:
        for member, folds in networks.items():
            for fold, (tagger, extractor) in folds.items():
                details = details_of(metadata, member=member, fold=fold)
                path = part / f"{member}-{fold}.onnx"
                try:
                    info = export(tagger, extractor, path, front_end=front_end, details=details)
                except UserError as error:
                    problems += [f"{member}: {problem}" for problem in error.problems]
                    break  # its other folds would say the same
                infos.append(OnnxInfo(folder / path.name, info.n_bytes, info.metadata))
        if problems:
            raise UserError(*problems)
        with whole_file(part / EXAMPLE) as example:
            shutil.copyfile(Path(__file__).with_name("example.py"), example)
    return infos


def details_of(metadata: Mapping[str, Any], *, member: str, fold: str) -> dict[str, Any]:
    """What a file says of the rules by which its probabilities become an answer."""
    preparation = metadata["preparation"]
    aggregation = metadata.get("aggregation", "mean")
    if not isinstance(aggregation, str):
        aggregation = aggregation[member]
    return {
        "member": member,
        "fold": fold,
        "weight": metadata.get("weights", {}).get(member, 1.0),
        "fold_mean": metadata.get("fold_mean", "arithmetic"),
        "is_multi_label": metadata["is_multi_label"],
        "temperature": metadata["temperature"],
        "thresholds": metadata.get("thresholds"),
        "rejection_threshold": preparation["rejection_threshold"],
        "trim": preparation["trim"],
        "aggregation_in_predict": aggregation,
    }


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
