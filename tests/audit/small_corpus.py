"""A small decoded and split corpus to audit, with or without planted problems."""

import hashlib
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd

from earmark.audit.measurements import Measurements, write_measurements
from earmark.audit.measuring import measure_corpus
from earmark.corpora.clips import clips_table
from earmark.layout import Layout
from earmark.params import Params
from earmark.records import write_json, write_table
from earmark.sound.samples import as_int16
from earmark.store import StoreWriter

RATE = 16_000
TAGS = ["bark", "cello"]
N_CLIPS = 24


def audit_params(**corpus: object) -> Params:
    """The params that the audit reads; `corpus` replaces some of the section of that name."""
    section = {
        "name": "mine",
        "adapter": "folder",
        "root": ".",
        "label_corrections": "none.csv",
        "synthetic": False,
    }
    params = SimpleNamespace(
        seed=1,
        rounds=[],
        corpus=SimpleNamespace(**(section | corpus)),
        runtime=SimpleNamespace(workers=1),
    )
    return cast("Params", params)


def recording(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    envelope = np.repeat(rng.uniform(0.05, 1, 16), RATE // 16)
    return (0.2 * envelope * rng.standard_normal(RATE)).astype(np.float32)


def write_decoded(root: Path, *, faulty: bool) -> Layout:
    """Write a decoded and split corpus; `faulty`: with a leak and a restrictive licence."""
    layout = Layout(root)
    root.joinpath("none.csv").write_text("clip,decision,label\n")
    names = [f"{i:02}.wav" for i in range(N_CLIPS)]
    labels = [TAGS[i % 2] for i in range(N_CLIPS)]
    waveforms = [recording(i) for i in range(N_CLIPS)]
    licences = ["CC BY 3.0"] * N_CLIPS
    if faulty:
        waveforms[3] = 0.4 * waveforms[1]  # in another fold
        licences[5] = "CC BY-NC 3.0"
    columns = {"clip": names, "path": names, "label": labels, "licence": licences}
    clips = clips_table(columns).assign(quarantined=False, equal_to="")
    write_table(layout.clips, clips)
    metadata = {"sample_rate": RATE}
    with StoreWriter(layout.decoded, row_shape=(), dtype="int16", metadata=metadata) as store:
        for name, waveform in zip(names, waveforms, strict=True):
            samples = as_int16(waveform)
            store.append(
                samples,
                clip=name,
                split="train",
                seconds=len(samples) / RATE,
                peak=float(np.abs(waveform).max()),
                native_sample_rate=RATE,
                channels=1,
                sha256=hashlib.sha256(samples.data).hexdigest(),
            )
    fold = ["validation" if i % 4 < 2 else "train" for i in range(N_CLIPS)]
    other = ["train" if role == "validation" else "validation" for role in fold]
    folds = clips[["clip", "split", "label", "aux_label", "verified"]]
    write_table(layout.folds, folds.assign(fold_0=fold, fold_1=other))
    return layout


def write_corpus(root: Path, *, faulty: bool) -> Layout:
    """As `write_decoded`, with its measurements in data/audit_sound/."""
    layout = write_decoded(root, faulty=faulty)
    write_measurements(_measured(faulty), layout.audit_sound)
    return layout


@cache
def _measured(faulty: bool) -> Measurements:
    with TemporaryDirectory() as root:
        return measure_corpus(audit_params(), write_decoded(Path(root), faulty=faulty))


def write_ensemble(layout: Layout, *, wrong: list[int]) -> None:
    """Write an ensemble that is confident of the given tags, and of the other one for `wrong`."""
    is_first = np.array([(i % 2 == 0) != (i in wrong) for i in range(N_CLIPS)])
    noise = np.random.default_rng(0).normal(0, 0.02, N_CLIPS)
    first = np.where(is_first, 0.9, 0.1) + noise
    names = [f"{i:02}.wav" for i in range(N_CLIPS)]
    labels = [TAGS[i % 2] for i in range(N_CLIPS)]
    rows = pd.DataFrame({"clip": names, "split": "validation", "fold": "0", "label": labels})
    write_table(layout.ensemble / "clips.parquet", rows)
    probabilities = pd.DataFrame({TAGS[0]: first, TAGS[1]: 1 - first})
    write_table(layout.ensemble / "ensemble.parquet", probabilities)
    write_json(layout.ensemble / "ensemble.json", {"tags": TAGS})
