"""Decode the corpus to int16 mono waveforms at one working rate.

Reads: corpus.root (the recordings and their table)
Writes: data/clips.parquet, data/decoded/, metrics/decode.json
Params: corpus, decode
"""

from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from earmark.corpora.adapters import find
from earmark.corpora.clips import check_clips
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.params import Params
from earmark.processes import map_ordered
from earmark.sound.decoding import Decoded, Span, UnusableAudio, decode_excerpts
from earmark.store import StoreWriter, write_json, write_table
from stages import stage

QUARANTINE_COLUMNS = ["clip", "split", "path", "reason", "message"]


def run(params: Params, layout: Layout) -> dict[str, Any]:
    corpus = params.corpus
    root = layout.root / corpus.root
    clips = find(corpus.adapter).read_clips(root, corpus.table)
    check_clips(clips, root=root, cv=params.cv)
    rate = params.decode.sample_rate
    shard_rows = int(params.decode.shard_seconds * rate)
    quarantine, hashes, equal_to = [], dict[str, str](), dict[str, str]()
    decoded = _sounds(clips, root, rate, params.runtime.workers)
    metadata = {"sample_rate": rate}
    with StoreWriter(
        layout.decoded, row_shape=(), dtype="int16", shard_rows=shard_rows, metadata=metadata
    ) as store:
        for clip, sound in zip(clips.itertuples(), decoded, strict=True):
            if isinstance(sound, UnusableAudio):
                found = {"clip": clip.clip, "split": clip.split, "path": clip.path}
                quarantine.append({**found, "reason": sound.reason, "message": str(sound)})
                continue
            first = hashes.setdefault(sound.sha256, str(clip.clip))
            if first != clip.clip:
                equal_to[str(clip.clip)] = first
            store.append(
                sound.waveform,
                clip=clip.clip,
                split=clip.split,
                licence=clip.licence,
                seconds=len(sound.waveform) / rate,
                peak=sound.peak,
                native_sample_rate=sound.native_sample_rate,
                channels=sound.channels,
                sha256=sound.sha256,
                equal_to=equal_to.get(str(clip.clip), ""),
            )
        _refuse_too_many(quarantine, len(clips), corpus.max_quarantined)
        bad = pd.DataFrame(quarantine, columns=QUARANTINE_COLUMNS, dtype="str")
        store.add_table("quarantine", bad)
    clips = clips.assign(
        quarantined=clips["clip"].isin(bad["clip"]),
        equal_to=pd.Series([equal_to.get(name, "") for name in clips["clip"]], dtype="str"),
    )
    write_table(layout.clips, clips)
    summary = {
        "clips": len(clips),
        "decoded": len(clips) - len(bad),
        "quarantined": len(bad),
        "quarantined_by_reason": bad["reason"].value_counts().sort_index().to_dict(),
        "equal_recordings": len(equal_to),
        "equal_in_train_and_test": _across_splits(clips),
    }
    write_json(layout.metrics / "decode.json", summary)
    return summary


def _across_splits(clips: pd.DataFrame) -> int:
    """How many clips have the samples of a clip of the other split, which leaks into the test."""
    split = dict(zip(clips["clip"], clips["split"], strict=True))
    pairs = zip(clips["equal_to"], clips["split"], strict=True)
    return sum(first != "" and split[first] != own for first, own in pairs)


def _sounds(
    clips: pd.DataFrame, root: Path, rate: int, workers: int
) -> Iterator[Decoded | UnusableAudio]:
    """Every clip's sound, in order; clips of one file that stand together decode it once."""
    spans = zip(clips["path"], clips["start_seconds"], clips["end_seconds"], strict=True)
    files = [
        (root / path, [(start, end) for _, start, end in rows])
        for path, rows in groupby(spans, key=lambda row: row[0])
    ]
    decode = partial(_decode, sample_rate=rate)
    for sounds in map_ordered(decode, files, workers=workers, description="decode"):
        yield from sounds


def _decode(file: tuple[Path, list[Span]], sample_rate: int) -> list[Decoded | UnusableAudio]:
    path, spans = file
    return decode_excerpts(path, spans, sample_rate=sample_rate)


def _refuse_too_many(quarantine: list[dict[str, Any]], n_clips: int, limit: float) -> None:
    share = len(quarantine) / n_clips
    if share > limit or len(quarantine) == n_clips:
        fix = "fix the files below, or raise corpus.max_quarantined"
        head = (
            f"{len(quarantine)} of {n_clips} clips are unusable, over the limit {limit:.1%}; {fix}"
        )
        raise UserError(head, *(f"{row['clip']}: {row['message']}" for row in quarantine[:10]))


if __name__ == "__main__":
    with stage("decode") as s:
        done = run(s.params, s.layout)
        s.log.info(
            "decode: %(decoded)d of %(clips)d clips, %(quarantined)d in quarantine, "
            "%(equal_recordings)d equal to another, "
            "%(equal_in_train_and_test)d of them across train and test",
            done,
        )
