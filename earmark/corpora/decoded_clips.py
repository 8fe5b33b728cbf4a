"""Decode all clips of a corpus: into a store, with the unusable and the equal ones marked."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from earmark.corpora.quarantine import quarantine_row, quarantine_table
from earmark.processes import map_ordered
from earmark.sound.decoding import decode_excerpts
from earmark.sound.excerpts import Decoded, Span
from earmark.sound.recordings import path_of
from earmark.sound.unusable import UnusableAudio
from earmark.spool import MEMORY_BYTES, Scratch
from earmark.store import StoreWriter


class _File(NamedTuple):
    """A recording with its clips: their rows in the table, and their times."""

    path: Path
    rows: list[int]
    spans: list[Span]

    @property
    def is_scattered(self) -> bool:
        """Whether rows of other files stand between its own."""
        return self.rows[-1] - self.rows[0] >= len(self.rows)


def decode_clips(
    clips: pd.DataFrame, root: Path, *, sample_rate: int, workers: int, scratch_folder: Path
) -> Iterator[Decoded | UnusableAudio]:
    """Yield the decoded audio of every clip in order, or the error that says why there is none.

    A file is decoded once for all of its clips, wherever they stand in the table.

    Args:
        scratch_folder: for waveforms that are too long for memory, and for those that wait until
            clips of other files before them are yielded.
    """
    spans = zip(clips["path"], clips["start_seconds"], clips["end_seconds"], strict=True)
    files: dict[str, _File] = {}  # in the order of their first clips
    for row, (path, start, end) in enumerate(spans):
        file = files.setdefault(path, _File(path_of(root, path), [], []))
        file.rows.append(row)
        file.spans.append((start, end))
    decode = partial(_decode, sample_rate, scratch_folder)
    results = map_ordered(
        decode,
        list(files.values()),
        workers=workers,
        description="decode",
        name_of=lambda file: file.path.relative_to(root),
    )
    waiting: dict[int, Decoded | UnusableAudio] = {}
    n_yielded = 0
    for file, excerpts in zip(files.values(), results, strict=True):
        waiting.update(zip(file.rows, excerpts, strict=True))
        while n_yielded in waiting:
            yield waiting.pop(n_yielded)
            n_yielded += 1


def _decode(sample_rate: int, scratch_folder: Path, file: _File) -> list[Decoded | UnusableAudio]:
    memory_bytes = 0 if file.is_scattered else MEMORY_BYTES
    scratch = Scratch(scratch_folder, memory_bytes=memory_bytes, is_shared=True)
    return decode_excerpts(file.path, file.spans, sample_rate=sample_rate, scratch=scratch)


def store_clips(
    clips: pd.DataFrame, decoded: Iterator[Decoded | UnusableAudio], store: StoreWriter
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Append every usable clip to a store of waveforms.

    Args:
        clips: the clips table.
        decoded: what `decode_clips` yields for it.
        store: its metadata names the sample rate.

    Returns:
        The clips table with two more columns, and the quarantine table. The columns are
        quarantined, and equal_to: the first clip with exactly the same samples, or "".
    """
    rate = store.metadata["sample_rate"]
    bad: list[dict[str, str]] = []
    first_with: dict[str, str] = {}  # the hash of the samples -> clip
    equal_to = dict.fromkeys(clips["clip"], "")
    for clip, audio in zip(clips.to_dict("records"), decoded, strict=True):
        if isinstance(audio, UnusableAudio):
            bad.append(quarantine_row(clip, audio))
            continue
        name = clip["clip"]
        first = first_with.setdefault(audio.sha256, name)
        equal_to[name] = "" if first == name else first
        known = {column: clip[column] for column in ("clip", "split", "licence")}
        measured = {
            "seconds": len(audio.waveform) / rate,
            "peak": audio.peak,
            "gain": audio.gain,
            "native_sample_rate": audio.native_sample_rate,
            "channels": audio.channels,
            "sha256": audio.sha256,
        }
        store.append(audio.waveform, **known, **measured, equal_to=equal_to[name])
    quarantine = quarantine_table(bad)
    marked = clips.assign(
        quarantined=clips["clip"].isin(quarantine["clip"]),
        equal_to=pd.Series(list(equal_to.values()), dtype="str"),
    )
    return marked, quarantine


def summarise_decoding(clips: pd.DataFrame, quarantine: pd.DataFrame) -> dict[str, Any]:
    """What the metrics report: how many clips are usable, why others are not, and equal ones.

    Equal clips across train and test let a network score on samples that it was trained on.
    """
    split_of = dict(zip(clips["clip"], clips["split"], strict=True))
    pairs = zip(clips["equal_to"], clips["split"], strict=True)
    return {
        "clips": len(clips),
        "decoded": len(clips) - len(quarantine),
        "quarantined": len(quarantine),
        "quarantined_by_reason": quarantine["reason"].value_counts().sort_index().to_dict(),
        "equal_recordings": int((clips["equal_to"] != "").sum()),
        "equal_in_train_and_test": sum(
            first != "" and split_of[first] != split for first, split in pairs
        ),
    }
