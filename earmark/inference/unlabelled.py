"""Recordings without labels, as the student learns them: features and the ensemble's answers.

data/unlabelled/
  rows-000.npy ...  the feature that the student reads, see `earmark.store`
  answers.parquet   calibrated probabilities of each recording, a column for each tag
  left_out.parquet  recordings that are not learned, and why

Shapes: K tags.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.features.extraction import extract
from earmark.features.feature_type import FeatureType
from earmark.inference.recording_tagger import RecordingTagger
from earmark.inference.recordings import unusable_line
from earmark.processes import progress
from earmark.sound.recordings import name_of
from earmark.sound.unusable import UnusableAudio
from earmark.spool import Scratch
from earmark.store import Store, StoreWriter, read_table
from earmark.wording import counted

logger = logging.getLogger(__name__)

ANSWERS, LEFT_OUT = "answers", "left_out"  # the tables beside the rows
BLOCK = 64  # recordings that a kill may cost
OF_THE_CORPUS, A_COPY = "a clip of the corpus", "a copy of"  # why a recording is left out


class Summary(NamedTuple):
    """How many recordings the student is given, and how many it is not."""

    n_kept: int
    n_of_corpus: int
    n_copies: int
    n_unusable: int

    def __str__(self) -> str:
        left_out = [
            *([f"{counted(self.n_of_corpus, 'clip')} of the corpus"] if self.n_of_corpus else []),
            *([f"{counted(self.n_copies, 'copy', 'copies')} of others"] if self.n_copies else []),
            *([f"{self.n_unusable} unusable"] if self.n_unusable else []),
        ]
        text = f"{counted(self.n_kept, 'recording')} for the student"
        return f"{text}; left out: {', '.join(left_out)}" if left_out else text


def work_key(
    folder: Path,
    paths: Sequence[Path],
    tagger: RecordingTagger,
    feature: Mapping[str, Any],
    *,
    code: str,
) -> dict[str, Any]:
    """What is kept of a run that was killed depends on: files as they are now, networks, feature.

    Args:
        feature: its declaration.
        code: the digest of the code that can reach the result.
    """
    states = [(path, path.stat()) for path in paths if path.exists()]
    files = [(_name(folder, path), s.st_size, s.st_mtime_ns) for path, s in states]
    device = tagger.device.__dict__
    known = {"recordings": files, "tagger": tagger.digest, "feature": feature, "code": code}
    return {"name": "unlabelled", **known, "device": device, "threads": tagger.runtime.threads}


def write_unlabelled(
    out: Path,
    folder: Path,
    paths: Sequence[Path],
    tagger: RecordingTagger,
    feature: FeatureType,
    *,
    known: Mapping[str, str],
    work: Path,
) -> Summary:
    """Decode, trim and tag recordings, as `predict` does, and extract the student's feature.

    Args:
        out: the folder to write, whole or not at all.
        folder: which `paths` are below, and named from.
        feature: that the student reads.
        known: sha256 of the trimmed sound of each clip of the corpus -> clip. A recording of equal
            sound is left out: a test clip must not train, and a training clip does so already.
        work: holds what is done, block by block, so that a run that was killed goes on.
    """
    parts = [work / f"block-{first:08d}" for first in range(0, len(paths), BLOCK)]
    _write_blocks(parts, folder, paths, tagger, feature)
    left_out: list[dict[str, str]] = []
    answers: list[NDArray[Any]] = []
    seen = dict(known)
    with StoreWriter(out, row_shape=feature.row_shape, dtype=feature.dtype) as store:
        for part in parts:
            block, table = Store.open(part), read_table(part / f"{ANSWERS}.parquet").to_numpy()
            unusable = read_table(part / f"{LEFT_OUT}.parquet")
            left_out += [{"clip": clip, "reason": reason} for clip, reason in unusable.to_numpy()]
            for i, (clip, sha256) in enumerate(block.index[["clip", "sha256"]].to_numpy()):
                if sha256 in seen:
                    reason = OF_THE_CORPUS if sha256 in known else A_COPY
                    left_out.append({"clip": clip, "reason": f"{reason}: {seen[sha256]}"})
                    continue
                seen[sha256] = clip
                store.append(np.array(block.rows(i)), clip=clip, variant="", sha256=sha256)
                answers.append(table[i])
        n_tags = len(tagger.tags)
        rows = np.array(answers, dtype=np.float64).reshape(-1, n_tags)
        store.add_table(ANSWERS, pd.DataFrame(rows, columns=tagger.tags))
        store.add_table(LEFT_OUT, _left_out_table(left_out))
    reasons = [row["reason"] for row in left_out]
    n_of_corpus, n_copies = (
        sum(one.startswith(r) for one in reasons) for r in (OF_THE_CORPUS, A_COPY)
    )
    return Summary(len(answers), n_of_corpus, n_copies, len(reasons) - n_of_corpus - n_copies)


def _write_blocks(
    parts: Sequence[Path],
    folder: Path,
    paths: Sequence[Path],
    tagger: RecordingTagger,
    feature: FeatureType,
) -> None:
    """Those of the parts that a run before this one did not write."""

    def left() -> Iterator[Path]:
        for number, part in enumerate(parts):
            if part.exists():
                continue
            block = paths[number * BLOCK : (number + 1) * BLOCK]
            with StoreWriter(part, row_shape=feature.row_shape, dtype=feature.dtype) as store:
                yield from _write_block(store, folder, block, tagger, feature)

    missing = [number for number, part in enumerate(parts) if not part.exists()]
    total = sum(len(paths[number * BLOCK : (number + 1) * BLOCK]) for number in missing)
    for _ in progress(left(), total=total, description="unlabelled"):
        pass


def _write_block(
    store: StoreWriter,
    folder: Path,
    paths: Sequence[Path],
    tagger: RecordingTagger,
    feature: FeatureType,
) -> Iterator[Path]:
    """Yield each recording once it is in the store, or among those left out."""
    answers, left_out = [], []
    for path in paths:
        try:
            heard = tagger.hear(path, with_digest=True)
        except UnusableAudio as error:
            logger.warning("unlabelled: %s", unusable_line(path, error))
            left_out.append({"clip": _name(folder, path), "reason": error.reason})
        else:
            scratch = Scratch(store.scratch_folder)
            rows = np.asarray(extract(heard.waveform, feature, scratch=scratch))
            combined, _ = tagger.ask(heard)
            answers.append(tagger.rules.clip.temper(combined[np.newaxis])[0])  # (K,)
            store.append(rows, clip=_name(folder, path), sha256=heard.sha256)
        yield path
    rows_ = np.array(answers, dtype=np.float64).reshape(-1, len(tagger.tags))
    store.add_table(ANSWERS, pd.DataFrame(rows_, columns=tagger.tags))
    store.add_table(LEFT_OUT, _left_out_table(left_out))


def _left_out_table(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["clip", "reason"], dtype="str")


def _name(folder: Path, path: Path) -> str:
    """The name of a recording among clips; none of a corpus begins with a slash."""
    return f"/{name_of(path.relative_to(folder))}"
