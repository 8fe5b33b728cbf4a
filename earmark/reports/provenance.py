"""What the figures of a report were made of, so that a page that is passed on says it itself."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from earmark.layout import Layout
from earmark.params import Params
from earmark.records import read_json
from earmark.sound.trimmed_clips import TrimmedClips
from earmark.wording import counted


def provenance(
    params: Params, layout: Layout, scores: Mapping[str, Any], metadata: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """Names and values. Times and commits are none of them: a stage that DVC does not run again
    would show old ones, and the same results must give the same page.

    Args:
        params: of the corpus, the seed and the intervals.
        layout: of the repository.
        scores: the content of metrics/scores.json.
        metadata: of data/ensemble.
    """
    preparation = metadata.get("preparation", {})
    sound = "" if (sound := _sound(layout)) is None else f"; {sound}"
    validated = scores["ensemble"]["out_of_fold"]["n_clips"]
    found = [
        ("corpus", f"{params.corpus.name}, {counted(validated, 'answer')} out of fold{sound}"),
        ("members", ", ".join(f"{m} ({metadata['aggregation'][m]})" for m in metadata["members"])),
        ("weights", ", ".join(f"{m} {w:.3f}" for m, w in metadata["weights"].items())),
        ("seed", str(params.seed)),
        ("permutation tests", f"{params.evaluate.n_resamples} resamples"),
    ]
    if "sample_rate" in preparation:
        found.append(("sample rate", f"{preparation['sample_rate']} Hz"))
    found.append(("data/ensemble", f"md5 of its files {_digest(layout.ensemble)}"))
    if layout.code.exists():
        found.append(("code of this stage", str(read_json(layout.code).get("evaluate", "unknown"))))
    found.append(
        (
            "commit, durations",
            "`dvc.lock` of the commit that this report came with; MLflow has the commit, and how "
            "long each training took: `make mlflow`",
        )
    )
    return found


def _sound(layout: Layout) -> str | None:
    """How much sound there is, without the silence at the ends."""
    if not (layout.trimmed / "store.json").exists():
        return None
    trimmed = TrimmedClips.open(layout.trimmed, layout.decoded)
    minutes = trimmed.index["length"].sum() / trimmed.metadata["sample_rate"] / 60
    amount = f"{minutes / 60:.1f} h" if minutes >= 120 else f"{minutes:.1f} min"
    return f"{amount} of sound in {counted(len(trimmed), 'clip')}, without the silence at the ends"


def _digest(folder: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
