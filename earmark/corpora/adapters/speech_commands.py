"""Speech Commands v0.01 and v0.02: single words of 1 s, as 12, 31 or 35 classes."""

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
from earmark.errors import UserError

COMMANDS = "yes no up down left right on off stop go".split()  # noqa: SIM905
OTHER_WORDS = """
bed bird cat dog eight five four happy house marvin nine one seven sheila six three tree two wow
zero
""".split()  # noqa: SIM905
NEW_IN_V2 = "backward follow forward learn visual".split()  # noqa: SIM905
SILENCE, UNKNOWN = "silence", "unknown"

NOISE_FOLDER = "_background_noise_"
SILENCE_SECONDS = 1.0
LISTS = {"validation": "validation_list.txt", "testing": "testing_list.txt"}
# Each noise is cut into three stretches: an excerpt of one part overlaps none of another.
STRETCHES = {"training": (0.0, 0.8), "validation": (0.8, 0.9), "testing": (0.9, 1.0)}
_FOLDS = {"training": TRAINING_FOLD, "validation": VALIDATION_FOLD}


def read_clips(root: Path, table: str, *, n_classes: int) -> pd.DataFrame:
    """The spoken clips of one form of the corpus, sorted by path, then the silence.

    12 classes: the ten commands, `unknown` (every other word) and `silence`. 31: the 30 words of
    v0.01 and `silence`, as Lee et al. train; evaluate.label_groups scores them as 12. 35: the words
    of v0.02 alone. The corpus' own lists name the validation and the test clips, all others train.
    The speaker is the source of a word, the file of noise that of silence.

    Raises:
        UserError: a list, a word or the noise is missing.
    """
    refuse_table("Speech Commands", table)
    words = _words(root, n_classes)
    files = [path for word in words for path in sorted((root / word).glob("*.wav"))]
    names = [path.relative_to(root).as_posix() for path in files]
    parts = _parts_of(names, root)
    clips = clips_table(
        {
            "clip": names,
            "path": names,
            "label": [_label(path.parent.name, n_classes) for path in files],
            "source": [path.stem.split("_nohash_")[0] for path in files],
            **_partition(parts),
        }
    )
    if n_classes == 35:
        return clips
    n_clips = {part: round(parts.count(part) / len(words)) for part in STRETCHES}
    return pd.concat([clips, silence_clips(root, n_clips)], ignore_index=True)


def silence_clips(root: Path, n_clips: Mapping[str, int]) -> pd.DataFrame:
    """Excerpts of the background noise: of each part so many as a word has clips on average.

    They lie evenly over a part's stretch of every file, and overlap each other within it.
    """
    noises = sorted((root / NOISE_FOLDER).glob("*.wav"))
    if not noises:
        raise wrong_layout(root, f"folder {NOISE_FOLDER} with wav files, the source of silence")
    seconds = np.array([_seconds(noise) for noise in noises])
    rows = []
    for part, n in n_clips.items():
        for noise, start in _excerpts(seconds, *STRETCHES[part], n):
            path = f"{NOISE_FOLDER}/{noises[noise].name}"
            rows.append({"path": path, "start_seconds": start, "part": part})
    table = pd.DataFrame(rows)
    return clips_table(
        {
            "clip": table["path"] + "@" + table["start_seconds"].map("{:.3f}".format),
            "path": table["path"],
            "label": SILENCE,
            "source": table["path"],
            **_partition(table["part"].tolist()),
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
        said = f"no noise is {longest:.0f} s long, so that {high - low:.0%} of it hold an excerpt"
        raise UserError(f"corpus.root: {NOISE_FOLDER}: {said}; fetch the corpus again")
    files = np.flatnonzero(room >= 0)
    ends = np.cumsum(room[files])
    places = np.linspace(0, ends[-1], n)  # on all starts of all files, laid end to end
    index = np.minimum(np.searchsorted(ends, places), len(files) - 1)
    starts = low * seconds[files[index]] + places - (ends - room[files])[index]
    millis = np.floor(np.round(1000 * starts, 3)).astype(int)
    found = zip(files[index].tolist(), millis.tolist(), strict=True)
    return [(file, start / 1000) for file, start in dict.fromkeys(found)]


def _seconds(noise: Path) -> float:
    try:
        return float(soundfile.info(noise).duration)
    except soundfile.SoundFileError as error:
        raise UserError(f"{noise}: cannot be read ({error}); fetch it again") from None


def _words(root: Path, n_classes: int) -> list[str]:
    """The words of a form, whose folders must all be there."""
    needed = {12: COMMANDS, 31: COMMANDS + OTHER_WORDS, 35: COMMANDS + OTHER_WORDS + NEW_IN_V2}
    found = {place.name for place in root.glob("*") if place.is_dir() and place.name[0] not in "._"}
    missing = [word for word in needed[n_classes] if word not in found]
    if missing:
        raise wrong_layout(root, f"folder {', '.join(missing)}, words of the {n_classes} classes")
    if n_classes == 12 and not found - {*COMMANDS}:
        raise wrong_layout(root, "folder of another word than the commands, which are `unknown`")
    return sorted(found if n_classes == 12 else needed[n_classes])


def _label(word: str, n_classes: int) -> str:
    return word if n_classes != 12 or word in COMMANDS else UNKNOWN


def _parts_of(names: Sequence[str], root: Path) -> list[str]:
    """Of each clip the part whose list names it, else training."""
    part_of: dict[str, str] = {}
    for part, file in LISTS.items():
        if not (root / file).is_file():
            raise wrong_layout(root, f"{file}, which names the {part} clips")
        listed = (root / file).read_text(encoding="utf-8").split()
        if not set(listed) & set(names):
            raise UserError(f"{root / file}: names no clip that is there; fetch the corpus again")
        part_of |= dict.fromkeys(listed, part)
    return [part_of.get(name, "training") for name in names]


def _partition(parts: Sequence[str]) -> dict[str, pd.Series]:
    """The columns fold and split of clips of these parts."""
    part = pd.Series(parts, dtype="str")
    is_test = part == "testing"
    return {
        "fold": part.map(_FOLDS).astype("Int64"),
        "split": is_test.map({True: "test", False: "train"}),
    }


def _adapter(n_classes: int, about: str) -> Adapter:
    return Adapter(
        read_clips=partial(read_clips, n_classes=n_classes),
        about=f"Speech Commands: words of 1 s, {about}",
        metric="accuracy",
        scheme="official",
        k=2,
        folds=(VALIDATION_FOLD,),
        licence="CC BY 4.0",
    )


COMMANDS_12 = _adapter(12, "as ten commands, silence and unknown")
COMMANDS_31 = _adapter(31, "30 and silence, to be scored as 12")
COMMANDS_35 = _adapter(35, "the 35 of v0.02")
