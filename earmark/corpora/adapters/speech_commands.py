"""Speech Commands v0.01 and v0.02: single words of 1 s, as 12, 31 or 35 classes."""

import math
import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from numpy.typing import NDArray

from earmark.corpora.adapters.adapter import (
    TRAINING_FOLD,
    VALIDATION_FOLD,
    Adapter,
    refuse_table,
    wrong_layout,
)
from earmark.corpora.clips import clips_table
from earmark.corpora.text_tables import read_text
from earmark.errors import UserError
from earmark.seeding import seed_for

COMMANDS = "yes no up down left right on off stop go".split()  # noqa: SIM905
OTHER_WORDS = """
bed bird cat dog eight five four happy house marvin nine one seven sheila six three tree two wow
zero
""".split()  # noqa: SIM905
NEW_IN_V2 = "backward follow forward learn visual".split()  # noqa: SIM905
SILENCE, UNKNOWN = "silence", "unknown"

NOISE_FOLDER = "_background_noise_"
SILENCE_SECONDS = 1.0
RARE_SHARE = 0.1  # TensorFlow's silence_percentage and unknown_percentage
LISTS = {"validation": "validation_list.txt", "testing": "testing_list.txt"}
# Each noise is cut into three stretches, so that excerpts of two subsets never overlap.
STRETCHES = {"training": (0.0, 0.8), "validation": (0.8, 0.9), "testing": (0.9, 1.0)}
_FOLDS = {"training": TRAINING_FOLD, "validation": VALIDATION_FOLD}


def read_clips(root: Path, table: str, *, n_classes: int) -> pd.DataFrame:
    """The spoken clips of one variant of the corpus, sorted by path, then the silence.

    12 classes: the ten commands, `unknown` (other words) and `silence`; in each subset these two
    have a tenth as many clips as the commands together, as in TensorFlow's recipe (its
    speech_commands/input_data.py), which draws the unknown words by another generator. 31: the 30
    words of v0.01 and `silence`, as Lee et al. train; evaluate.label_groups scores them as 12. 35:
    the words of v0.02 alone. The lists of the corpus name the validation and the test clips; all
    others train. The source of a word is its speaker, that of silence is its file of noise.

    Raises:
        UserError: a list, a word or the noise is missing.
    """
    refuse_table("Speech Commands", table)
    words = _words(root, n_classes)
    files = [path for word in words for path in sorted((root / word).glob("*.wav"))]
    names = [path.relative_to(root).as_posix() for path in files]
    subsets = _subsets_of(names, root)
    clips = clips_table(
        {
            "clip": names,
            "path": names,
            "label": [_label(path.parent.name, n_classes) for path in files],
            "source": [path.stem.split("_nohash_")[0] for path in files],
            **_folds_and_splits(subsets),
        }
    )
    if n_classes == 35:
        return clips
    if n_classes == 12:
        is_command = clips["label"] != UNKNOWN
        n_clips = {
            name: math.ceil(RARE_SHARE * (is_command & (pd.Series(subsets) == name)).sum())
            for name in STRETCHES
        }
        clips = clips[is_command | _drawn(clips["clip"].mask(is_command), subsets, n_clips)]
    else:
        n_clips = {name: round(subsets.count(name) / len(words)) for name in STRETCHES}
    return pd.concat([clips, silence_clips(root, n_clips)], ignore_index=True)


def _drawn(names: pd.Series, subsets: Sequence[str], n_clips: Mapping[str, int]) -> pd.Series:
    """Which of some clips are drawn, so many of each subset; others of a corpus change no draw.

    Args:
        names: of clips; missing where a clip is not among those to draw from.
    """
    order = names.dropna().map(lambda name: seed_for(0, UNKNOWN, name))
    subset = pd.Series(subsets, index=names.index)[order.index]
    is_drawn = order.groupby(subset).rank(method="first") <= subset.map(n_clips)
    return is_drawn.reindex(names.index, fill_value=False)


def silence_clips(root: Path, n_clips: Mapping[str, int]) -> pd.DataFrame:
    """Excerpts of the background noise, evenly spaced over a subset's stretch of every file.

    Excerpts of one subset may overlap each other.

    Args:
        n_clips: subset -> number of excerpts.
    """
    noises = sorted((root / NOISE_FOLDER).glob("*.wav"))
    if not noises:
        raise wrong_layout(root, f"folder {NOISE_FOLDER} with wav files, the source of silence")
    seconds = np.array([_seconds(noise) for noise in noises])
    rows = []
    for subset, n in n_clips.items():
        for noise, start in _excerpts(seconds, *STRETCHES[subset], n):
            path = f"{NOISE_FOLDER}/{noises[noise].name}"
            rows.append({"path": path, "start_seconds": start, "subset": subset})
    table = pd.DataFrame(rows)
    return clips_table(
        {
            "clip": table["path"] + "@" + table["start_seconds"].map("{:.3f}".format),
            "path": table["path"],
            "label": SILENCE,
            "source": table["path"],
            **_folds_and_splits(table["subset"].tolist()),
            "start_seconds": table["start_seconds"],
            "end_seconds": table["start_seconds"] + SILENCE_SECONDS,
        }
    )


def _excerpts(
    seconds: NDArray[np.float64], low: float, high: float, n: int
) -> list[tuple[int, float]]:
    """File and start, in whole milliseconds, of `n` excerpts spread over a stretch of each file."""
    room = np.clip(np.round((high - low) * seconds - SILENCE_SECONDS, 6), -1, None)
    if not (room >= 0).any():
        longest = SILENCE_SECONDS / (high - low)
        problem = f"no noise is {longest:.0f} s long, so {high - low:.0%} of it holds no excerpt"
        raise UserError(f"corpus.root: {NOISE_FOLDER}: {problem}; fetch the corpus again")
    files = np.flatnonzero(room >= 0)
    ends = np.cumsum(room[files])
    positions = np.linspace(0, ends[-1], n)  # among the possible starts of all files in a row
    index = np.minimum(np.searchsorted(ends, positions), len(files) - 1)
    starts = low * seconds[files[index]] + positions - (ends - room[files])[index]
    millis = np.floor(np.round(1000 * starts, 3)).astype(int)
    excerpts = zip(files[index].tolist(), millis.tolist(), strict=True)
    return [(file, start / 1000) for file, start in dict.fromkeys(excerpts)]


def _seconds(noise: Path) -> float:
    if not noise.is_file():  # to open a pipe would wait for ever
        raise UserError(f"{noise}: is no file; fetch the corpus again")
    try:
        return float(soundfile.info(os.fsencode(noise)).duration)
    except soundfile.SoundFileError as error:
        raise UserError(f"{noise}: cannot be read ({error}); fetch it again") from None


def _words(root: Path, n_classes: int) -> list[str]:
    """The words of a variant, after a check that all of their folders exist."""
    needed = {12: COMMANDS, 31: COMMANDS + OTHER_WORDS, 35: COMMANDS + OTHER_WORDS + NEW_IN_V2}
    there = {path.name for path in root.glob("*") if path.is_dir() and path.name[0] not in "._"}
    missing = [word for word in needed[n_classes] if word not in there]
    if missing:
        raise wrong_layout(root, f"folder {', '.join(missing)}, words of the {n_classes} classes")
    if n_classes == 12 and not there - {*COMMANDS}:
        raise wrong_layout(root, "folder of another word than the commands, which are `unknown`")
    return sorted(there if n_classes == 12 else needed[n_classes])


def _label(word: str, n_classes: int) -> str:
    return word if n_classes != 12 or word in COMMANDS else UNKNOWN


def _subsets_of(names: Sequence[str], root: Path) -> list[str]:
    """The subset of each clip: that whose list names it, else training."""
    subset_of: dict[str, str] = {}
    for subset, file in LISTS.items():
        if not (root / file).is_file():
            raise wrong_layout(root, f"{file}, which names the {subset} clips")
        listed = read_text(root / file, key="corpus.root").split()
        if not set(listed) & set(names):
            raise UserError(f"{root / file}: names no clip that exists; fetch the corpus again")
        subset_of |= dict.fromkeys(listed, subset)
    return [subset_of.get(name, "training") for name in names]


def _folds_and_splits(subsets: Sequence[str]) -> dict[str, pd.Series]:
    """The columns fold and split of clips of these subsets."""
    subset = pd.Series(subsets, dtype="str")
    is_test = subset == "testing"
    return {
        "fold": subset.map(_FOLDS).astype("Int64"),
        "split": is_test.map({True: "test", False: "train"}),
    }


def _adapter(n_classes: int, classes: str) -> Adapter:
    return Adapter(
        read_clips=partial(read_clips, n_classes=n_classes),
        description=f"Speech Commands: words of 1 s, {classes}",
        metric="accuracy",
        scheme="official",
        k=2,
        folds=(VALIDATION_FOLD,),
        licence="CC BY 4.0",
    )


COMMANDS_12 = _adapter(12, "as ten commands, silence and unknown")
COMMANDS_31 = _adapter(31, "30 and silence, to be scored as 12")
COMMANDS_35 = _adapter(35, "the 35 of v0.02")
