"""Recordings without labels, as the student learns them: features and the ensemble's answers.

data/unlabelled/
  index.parquet     which they are; of clips made of training clips `variant` is "made", and `drawn`
                    the random values that each was made with
  rows-000.npy ...  the feature that the student reads, see `earmark.store`
  answers.parquet   calibrated probabilities of each recording, a column for each tag
  left_out.parquet  recordings that are not learned, and why

Shapes: K tags.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.features.extraction import extract
from earmark.features.feature_type import FeatureType
from earmark.inference.recording_tagger import Recording, RecordingTagger
from earmark.inference.recordings import unusable_line
from earmark.processes import progress
from earmark.records import read_table
from earmark.sound.made_clips import MadeClip, make
from earmark.sound.recordings import name_of
from earmark.sound.samples import Int16
from earmark.sound.trimmed_clips import TrimmedClips
from earmark.sound.unusable import UnusableAudio
from earmark.spool import Scratch
from earmark.store import Store, StoreWriter
from earmark.wording import counted

logger = logging.getLogger(__name__)

ANSWERS, LEFT_OUT = "answers", "left_out"  # the tables beside the rows
MADE = "made"  # the variant of clips that are made of training clips
COLUMNS = ("clip", "variant", "drawn", "sha256")  # of the index
BLOCK = 64  # recordings that a kill may cost
OF_THE_CORPUS, A_COPY = "a clip of the corpus", "a copy of"  # why a recording is left out


class Sound(NamedTuple):
    """A sound that nobody labelled.

    Attributes:
        name: among clips.
        path: that messages name.
        variant, drawn: see the index of the store.
        read: gives the file, or samples at the tagger's rate.
    """

    name: str
    path: Path
    variant: str
    drawn: str
    read: Callable[[], Recording]


def recorded(folder: Path, paths: Sequence[Path]) -> list[Sound]:
    """The recordings in a folder."""
    return [Sound(_name(folder, path), path, "", "", partial(Path, path)) for path in paths]


def made(plan: Sequence[MadeClip], trimmed: TrimmedClips, scratch_folder: Path) -> list[Sound]:
    """Clips that are made of training clips, each when it is read."""
    line_of = {clip: line for line, clip in enumerate(trimmed.index["clip"])}
    rate = int(trimmed.metadata["sample_rate"])

    def samples_of(new: MadeClip) -> Int16:
        waveform = trimmed.waveform(line_of[new.clip], scratch=Scratch(scratch_folder))
        return make(waveform, rate, new.values)

    def sound(new: MadeClip) -> Sound:
        drawn = json.dumps(new.values, sort_keys=True)
        return Sound(new.name, Path(new.name), MADE, drawn, partial(samples_of, new))

    return [sound(new) for new in plan]


class Summary(NamedTuple):
    """How many recordings the student is given, of them made ones, and how many it is not."""

    n_kept: int
    n_made: int
    n_of_corpus: int
    n_copies: int
    n_unusable: int

    def __str__(self) -> str:
        left_out = [
            *([f"{counted(self.n_of_corpus, 'clip')} of the corpus"] if self.n_of_corpus else []),
            *([f"{counted(self.n_copies, 'copy', 'copies')} of others"] if self.n_copies else []),
            *([f"{self.n_unusable} unusable"] if self.n_unusable else []),
        ]
        kept = [
            *([counted(self.n_kept, "recording")] if self.n_kept or not self.n_made else []),
            *([counted(self.n_made, "made clip")] if self.n_made else []),
        ]
        text = f"{' and '.join(kept)} for the student"
        return f"{text}; left out: {', '.join(left_out)}" if left_out else text


def work_key(
    folder: Path, paths: Sequence[Path], tagger: RecordingTagger, known: Mapping[str, Any]
) -> dict[str, Any]:
    """What is kept of a run that was killed depends on: files as they are now, networks, and more.

    Args:
        known: the rest: the feature's declaration, what is made of which clips, and the digest of
            the code that can reach the result.
    """
    states = [(path, path.stat()) for path in paths if path.exists()]
    files = [(_name(folder, path), s.st_size, s.st_mtime_ns) for path, s in states]
    kept = {"recordings": files, "tagger": tagger.digest, **known}
    device = tagger.device.__dict__
    return {"name": "unlabelled", **kept, "device": device, "threads": tagger.runtime.threads}


def write_unlabelled(
    out: Path,
    sounds: Sequence[Sound],
    tagger: RecordingTagger,
    feature: FeatureType,
    *,
    known: Mapping[str, str],
    work: Path,
) -> Summary:
    """Decode, trim and tag recordings, as `predict` does, and extract the student's feature.

    Args:
        out: the folder to write, whole or not at all.
        sounds: see `recorded` and `made`.
        feature: that the student reads.
        known: sha256 of the trimmed sound of each clip of the corpus -> clip. A recording of equal
            sound is left out: a test clip must not train, and a training clip does so already.
        work: holds what is done, block by block, so that a run that was killed goes on.
    """
    parts = [work / f"block-{first:08d}" for first in range(0, len(sounds), BLOCK)]
    _write_blocks(parts, sounds, tagger, feature)
    left_out: list[dict[str, str]] = []
    answers: list[NDArray[Any]] = []
    seen, n_made = dict(known), 0
    with StoreWriter(out, row_shape=feature.row_shape, dtype=feature.dtype) as store:
        for part in parts:
            block, table = Store.open(part), read_table(part / f"{ANSWERS}.parquet").to_numpy()
            unusable = read_table(part / f"{LEFT_OUT}.parquet")
            left_out += [{"clip": clip, "reason": reason} for clip, reason in unusable.to_numpy()]
            for i, row in enumerate(block.index.to_dict("records")):
                columns = {key: row[key] for key in COLUMNS}
                clip, sha256 = columns["clip"], columns["sha256"]
                if sha256 in seen:
                    reason = OF_THE_CORPUS if sha256 in known else A_COPY
                    left_out.append({"clip": clip, "reason": f"{reason}: {seen[sha256]}"})
                    continue
                seen[sha256] = clip
                store.append(np.array(block.rows(i)), **columns)
                answers.append(table[i])
                n_made += columns["variant"] == MADE
        n_tags = len(tagger.tags)
        rows = np.array(answers, dtype=np.float64).reshape(-1, n_tags)
        store.add_table(ANSWERS, pd.DataFrame(rows, columns=tagger.tags))
        store.add_table(LEFT_OUT, _left_out_table(left_out))
    reasons = [row["reason"] for row in left_out]
    n_of_corpus, n_copies = (
        sum(one.startswith(r) for one in reasons) for r in (OF_THE_CORPUS, A_COPY)
    )
    n_unusable = len(reasons) - n_of_corpus - n_copies
    return Summary(len(answers) - n_made, n_made, n_of_corpus, n_copies, n_unusable)


def _write_blocks(
    parts: Sequence[Path],
    sounds: Sequence[Sound],
    tagger: RecordingTagger,
    feature: FeatureType,
) -> None:
    """Those of the parts that a run before this one did not write."""

    def left() -> Iterator[Sound]:
        for number, part in enumerate(parts):
            if part.exists():
                continue
            block = sounds[number * BLOCK : (number + 1) * BLOCK]
            with StoreWriter(part, row_shape=feature.row_shape, dtype=feature.dtype) as store:
                yield from _write_block(store, block, tagger, feature)

    missing = [number for number, part in enumerate(parts) if not part.exists()]
    total = sum(len(sounds[number * BLOCK : (number + 1) * BLOCK]) for number in missing)
    for _ in progress(left(), total=total, description="unlabelled"):
        pass


def _write_block(
    store: StoreWriter,
    sounds: Sequence[Sound],
    tagger: RecordingTagger,
    feature: FeatureType,
) -> Iterator[Sound]:
    """Yield each sound once it is in the store, or among those left out."""
    answers, left_out = [], []
    for sound in sounds:
        try:
            heard = tagger.hear(sound.read(), tagger.sample_rate, with_digest=True)
        except UnusableAudio as error:
            logger.warning("unlabelled: %s", unusable_line(sound.path, error))
            left_out.append({"clip": sound.name, "reason": error.reason})
        else:
            scratch = Scratch(store.scratch_folder)
            rows = np.asarray(extract(heard.waveform, feature, scratch=scratch))
            combined, _ = tagger.ask(heard)
            answers.append(tagger.rules.clip.temper(combined[np.newaxis])[0])  # (K,)
            columns = (sound.name, sound.variant, sound.drawn, heard.sha256)
            store.append(rows, **dict(zip(COLUMNS, columns, strict=True)))
        yield sound
    rows_ = np.array(answers, dtype=np.float64).reshape(-1, len(tagger.tags))
    store.add_table(ANSWERS, pd.DataFrame(rows_, columns=tagger.tags))
    store.add_table(LEFT_OUT, _left_out_table(left_out))


def _left_out_table(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["clip", "reason"], dtype="str")


def _name(folder: Path, path: Path) -> str:
    """The name of a recording among clips; none of a corpus begins with a slash."""
    return f"/{name_of(path.relative_to(folder))}"
