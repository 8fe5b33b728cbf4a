"""Decode the corpus to int16 mono waveforms at one working rate.

Reads: corpus.root (the recordings and their table)
Writes: data/clips.parquet, data/decoded/, metrics/decode.json, .earmark/quarantine.csv
Params: corpus, decode
"""

from typing import Any

from earmark.corpora.adapters import find
from earmark.corpora.clip_checks import check_clips
from earmark.corpora.decoded_clips import decode_clips, store_clips, summarise_decoding
from earmark.corpora.folder_checks import link_problems
from earmark.corpora.quarantine import check_quarantine
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.params import Params
from earmark.records import write_json, write_table
from earmark.store import StoreWriter
from stages import stage


def run(params: Params, layout: Layout) -> dict[str, Any]:
    corpus, rate = params.corpus, params.decode.sample_rate
    root = layout.root / corpus.root
    clips = find(corpus.adapter).read_clips(root, corpus.table)
    check_clips(clips, root=root, cv=params.cv, folds=params.fold_names)
    if not corpus.links_outside and (problems := link_problems(clips["path"], root)):
        raise UserError(*problems)
    with StoreWriter(
        layout.decoded,
        row_shape=(),
        dtype="int16",
        shard_rows=int(params.decode.shard_seconds * rate),
        metadata={"sample_rate": rate},
    ) as store:
        decoded = decode_clips(
            clips,
            root,
            sample_rate=rate,
            workers=params.runtime.workers,
            scratch_folder=store.scratch_folder,
        )
        clips, quarantine = store_clips(clips, decoded, store)
        # Outside of DVC, which deletes the outs of a stage that fails.
        listed = layout.home / "quarantine.csv"
        write_table(listed, quarantine)
        check_quarantine(
            quarantine, n_clips=len(clips), limit=corpus.max_quarantined, listed=listed
        )
        store.add_table("quarantine", quarantine)
    write_table(layout.clips, clips)
    summary = summarise_decoding(clips, quarantine)
    write_json(layout.metrics / "decode.json", summary)
    return summary


if __name__ == "__main__":
    with stage("decode") as s:
        summary = run(s.params, s.layout)
        s.log.info(
            "decode: %(decoded)d of %(clips)d clips, %(quarantined)d in quarantine, "
            "%(equal_recordings)d equal to another, "
            "%(equal_in_train_and_test)d of them across train and test",
            summary,
        )
        if summary["quarantined"]:
            s.log.info("decode: .earmark/quarantine.csv names those in quarantine, and why")
