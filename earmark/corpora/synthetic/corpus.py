"""A synthetic corpus laid out as FSDKaggle2018, so that the whole pipeline runs without a download.

Every clip is decided first, as a row of a table, then rendered from the seed and its own name
alone. Unlike in a real corpus it is known which labels are wrong: `truth.csv` lists the true tags.
"""

from collections.abc import Hashable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import soundfile

from earmark.corpora.synthetic.options import SHORTEST_SECONDS, DemoOptions
from earmark.corpora.synthetic.sounds import SOUNDS
from earmark.corpora.synthetic.sounds.recording import draw_recording, record
from earmark.csv_files import write_csv
from earmark.processes import map_ordered
from earmark.seeding import rng_for
from earmark.whole_files import whole_folder

SAMPLE_RATE = 44_100
FULL_SCALE = 32_767

# FSDKaggle2018's own proportions: clips per tag, licences, and the public share of its test set
LARGEST_TO_SMALLEST_TAG = 300 / 94
LICENCE_COUNTS = {
    "train": {"Attribution": 5210, "Creative Commons 0": 4260, "Attribution-NonCommercial": 3},
    "test": {"Attribution": 938, "Creative Commons 0": 662},
}
PUBLIC_SHARE = 301 / 1600
DURATION_SPREAD = 0.8  # standard deviation of the logarithm of the seconds

TRAIN_COLUMNS = ["fname", "label", "manually_verified", "freesound_id", "license"]
TEST_COLUMNS = ["fname", "label", "usage", "freesound_id", "license"]
AUDIO_FOLDERS = {"train": "FSDKaggle2018.audio_train", "test": "FSDKaggle2018.audio_test"}
META_FOLDER = "FSDKaggle2018.meta"

Row = Mapping[Hashable, Any]


def tag_sizes(rng: np.random.Generator, *, n_tags: int, n_clips: int) -> npt.NDArray[np.int64]:
    """Share `n_clips` out over the tags `(K,)`, unequally, with at least one each."""
    weights = rng.permutation(np.geomspace(1.0, LARGEST_TO_SMALLEST_TAG, n_tags))
    wanted = 1 + (n_clips - n_tags) * weights / weights.sum()
    sizes: npt.NDArray[np.int64] = np.floor(wanted).astype(np.int64)
    most_short = np.argsort(sizes - wanted, kind="stable")[: n_clips - int(sizes.sum())]
    sizes[most_short] += 1
    return sizes


def draw_durations(
    rng: np.random.Generator, n_clips: int, options: DemoOptions
) -> npt.NDArray[np.float64]:
    """Draw log-normal seconds `(n_clips,)` of the asked mean, within the shortest and longest."""
    centre = np.log(options.mean_seconds) - DURATION_SPREAD**2 / 2
    seconds = np.exp(rng.normal(centre, DURATION_SPREAD, n_clips))
    return np.clip(seconds, SHORTEST_SECONDS, options.max_seconds).round(3)


def mark_verified(true_labels: pd.Series, rng: np.random.Generator, share: float) -> pd.Series:
    """Return 1 for the asked share of every tag's clips, else 0."""
    order = pd.Series(rng.random(len(true_labels)), index=true_labels.index)
    rank = order.groupby(true_labels).rank()
    size = true_labels.groupby(true_labels).transform("size")
    return (rank <= (share * size).round()).astype("int64")


def mislabel(rows: pd.DataFrame, rng: np.random.Generator, share: float) -> pd.Series:
    """Return the labels, with the asked share of the unverified ones drawn from other tags."""
    labels = rows["true_label"].copy()
    unverified = rows.index[rows["manually_verified"] == 0]
    chosen = rng.choice(unverified, size=round(share * len(unverified)), replace=False)
    tags = np.unique(labels)
    for position in np.sort(chosen):
        labels[position] = str(rng.choice(tags[tags != labels[position]]))
    return labels


def draw_licences(rng: np.random.Generator, n_clips: int, *, split: str) -> list[str]:
    """Draw every clip's licence with the proportions of the reference corpus."""
    counts = LICENCE_COUNTS[split]
    shares = np.array(list(counts.values())) / sum(counts.values())
    return [str(licence) for licence in rng.choice(list(counts), size=n_clips, p=shares)]


def plan_split(
    split: str,
    n_clips: int,
    freesound_ids: npt.NDArray[np.int64],
    options: DemoOptions,
    *,
    seed: int,
) -> pd.DataFrame:
    """Decide one split's rows, but for the file names."""
    rng = rng_for(seed, "demo", split)
    tags = list(SOUNDS)[: options.n_tags]
    sizes = tag_sizes(rng, n_tags=options.n_tags, n_clips=n_clips)
    rows = pd.DataFrame({"true_label": rng.permutation(np.repeat(tags, sizes))})
    is_train = split == "train"
    share = options.verified_share if is_train else 1.0
    rows["manually_verified"] = mark_verified(rows["true_label"], rng, share)
    rows["label"] = mislabel(rows, rng, options.wrong_share)
    public = rng.permutation(n_clips) < round(PUBLIC_SHARE * n_clips)
    rows["usage"] = "" if is_train else np.where(public, "Public", "Private")
    rows["freesound_id"] = freesound_ids
    rows["license"] = draw_licences(rng, n_clips, split=split)
    rows["seconds"] = draw_durations(rng, n_clips, options)
    rows["split"] = split
    return rows


def plan_clips(options: DemoOptions, *, seed: int) -> pd.DataFrame:
    """Decide every clip: one row each, train then test, sorted by file name within the split.

    Columns: fname, label, true_label, manually_verified, usage, freesound_id, license, seconds,
    split. `usage` is empty for the train clips.
    """
    n_clips = options.n_train + options.n_test
    rng = rng_for(seed, "demo", "names")
    names = rng.choice(2**32, size=n_clips, replace=False)
    freesound_ids = rng.choice(np.arange(1000, 450_000), size=n_clips, replace=False)
    halves = np.split(freesound_ids, [options.n_train])
    train = plan_split("train", options.n_train, halves[0], options, seed=seed)
    test = plan_split("test", options.n_test, halves[1], options, seed=seed)
    clips = pd.concat([train, test], ignore_index=True)
    clips.insert(0, "fname", [f"{name:08x}.wav" for name in names])
    clips = clips.sort_values(["split", "fname"], ascending=[False, True], ignore_index=True)
    order = ["fname", "label", "true_label", "manually_verified", "usage", "freesound_id"]
    return clips[[*order, "license", "seconds", "split"]]


def render_clip(
    row: "Row | pd.Series[Any]", options: DemoOptions, *, seed: int, sample_rate: int = SAMPLE_RATE
) -> npt.NDArray[np.int16]:
    """Render the waveform `(T,)` of one row of `plan_clips`, at most 40 % silence at its ends."""
    rng = rng_for(seed, "demo", "clip", row["fname"])
    seconds = float(row["seconds"])
    recording = draw_recording(rng, seconds=seconds, background_snr_db=options.background_snr_db)
    sounding_seconds = seconds - recording.lead_seconds - recording.tail_seconds
    sound = SOUNDS[row["true_label"]](rng, sample_rate, sounding_seconds)
    waveform = record(rng, sound, sample_rate, recording, seconds=seconds)
    return np.round(waveform * FULL_SCALE).astype(np.int16)


def write_clip(row: Row, folder: Path, options: DemoOptions, *, seed: int) -> None:
    """Render one row and write it as 16-bit PCM under the folder of its split."""
    path = folder / AUDIO_FOLDERS[row["split"]] / row["fname"]
    waveform = render_clip(row, options, seed=seed)
    soundfile.write(path, waveform, SAMPLE_RATE, subtype="PCM_16")


def write_tables(clips: pd.DataFrame, folder: Path) -> None:
    """Write the two tables of the reference corpus, and the truth beside them."""
    train, test = (clips[clips["split"] == split] for split in ("train", "test"))
    truth = clips[["fname", "true_label"]].rename(columns={"true_label": "label"})
    tables = {
        "train_post_competition.csv": train[TRAIN_COLUMNS],
        "test_post_competition_scoring_clips.csv": test[TEST_COLUMNS],
        "truth.csv": truth.sort_values("fname"),
    }
    for name, table in tables.items():
        write_csv(folder / name, table, literal=True)


def write_audio(
    clips: pd.DataFrame, folder: Path, options: DemoOptions, *, seed: int, workers: int
) -> None:
    """Render every clip into the folders of the splits; the bytes do not depend on `workers`."""
    rows: list[Row] = list(clips.to_dict("records"))
    write = partial(write_clip, folder=folder, options=options, seed=seed)
    written = map_ordered(
        write, rows, workers=workers, description="demo corpus", name_of=lambda row: row["fname"]
    )
    for _ in written:
        pass


def write_corpus(folder: Path, options: DemoOptions, *, seed: int, workers: int) -> int:
    """Write the whole corpus to `folder` and return its number of clips.

    Everything is made in a sibling folder first, so `folder` holds a whole corpus or what it held
    before. Raises ValueError where `folder` holds anything that is not a corpus of this layout.
    """
    known = {*AUDIO_FOLDERS.values(), META_FOLDER}
    unknown = sorted({p.name for p in folder.iterdir()} - known) if folder.exists() else []
    if unknown:
        raise ValueError(
            f"{folder} holds {unknown[0]}, which is not part of a demo corpus; "
            "name a new or empty folder"
        )
    clips = plan_clips(options, seed=seed)
    with whole_folder(folder) as part:
        for name in known:
            (part / name).mkdir()
        write_audio(clips, part, options, seed=seed, workers=workers)
        write_tables(clips, part / META_FOLDER)
    return len(clips)
