"""ESC-50 and its subset ESC-10: the csv layout, or the older class folders of either."""

import re
from functools import partial
from pathlib import Path

import pandas as pd

from earmark.corpora.adapters.adapter import Adapter, refuse_table, wrong_layout
from earmark.corpora.adapters.tables import flags, read_csv, tag_name, whole_numbers
from earmark.corpora.clips import clips_table
from earmark.errors import UserError
from earmark.sound.recordings import is_recording

LICENCE, ESC10_LICENCE = "CC BY-NC 3.0", "CC BY 3.0"

# Of each target 0 to 49, the name in meta/esc50.csv. A class folder 101 is target 0, 510 target 49.
CATEGORIES = """
dog rooster pig cow frog cat hen insects sheep crow
rain sea_waves crackling_fire crickets chirping_birds water_drops wind pouring_water toilet_flush
thunderstorm
crying_baby sneezing clapping breathing coughing footsteps laughing brushing_teeth snoring
drinking_sipping
door_wood_knock mouse_click keyboard_typing door_wood_creaks can_opening washing_machine
vacuum_cleaner clock_alarm clock_tick glass_breaking
helicopter chainsaw siren car_horn engine train church_bells airplane fireworks hand_saw
""".split()  # noqa: SIM905
# Folders 001 (Dog bark) to 010 (Fire crackling) of ESC-10, in their order.
ESC10_CATEGORIES = """
dog rain sea_waves crying_baby clock_tick sneezing helicopter chainsaw rooster crackling_fire
""".split()  # noqa: SIM905

_CLASS_FOLDER = re.compile(r"([0-5])(0[1-9]|10) - .+")
_STEM = re.compile(r"([1-5])-(\d+)-([A-Z])")  # fold, clip of Freesound, take
_COLUMNS = ("filename", "fold", "target", "category", "esc10", "src_file", "take")


def read_clips(root: Path, table: str, *, esc10: bool) -> pd.DataFrame:
    """The clips of ESC-50, or those of its subset ESC-10, sorted by name.

    A clip is named as in the csv layout without its suffix, and labelled with its category there,
    so that both layouts give the same table except for the paths. The source is the recording of
    Freesound.

    Raises:
        UserError: there is neither meta/esc50.csv nor a class folder.
    """
    refuse_table("ESC-50", table)
    if (root / "meta" / "esc50.csv").is_file():
        clips = _from_csv(root)
    else:
        clips = _from_class_folders(root)
    is_esc10 = clips["label"].isin(ESC10_CATEGORIES)
    clips["licence"] = is_esc10.map({True: ESC10_LICENCE, False: LICENCE})
    clips = clips[is_esc10] if esc10 else clips
    return clips.sort_values("clip", ignore_index=True)


def _from_csv(root: Path) -> pd.DataFrame:
    table = root / "meta" / "esc50.csv"
    raw = read_csv(table, required=_COLUMNS)
    clips = clips_table(
        {
            "clip": [Path(name).stem for name in raw["filename"]],
            "path": [f"audio/{name}" for name in raw["filename"]],
            "label": [tag_name(category) for category in raw["category"]],
            "source": raw["src_file"],
            "fold": whole_numbers(raw, "fold", "filename", table),
        }
    )
    marked = pd.Series(flags(raw, "esc10", "filename", table), clips.index)
    if wrong := clips.loc[marked != clips["label"].isin(ESC10_CATEGORIES), "clip"].tolist():
        raise UserError(
            f"{table}: clip {wrong[0]}: esc10 does not fit its category; fetch it again"
        )
    return clips


def _from_class_folders(root: Path) -> pd.DataFrame:
    folders = [path for base in (root, root / "audio") for path in sorted(base.glob("*"))]
    categories = {folder: _category(folder.name) for folder in folders if folder.is_dir()}
    rows = [
        _row(root, path, category)
        for folder, category in categories.items()
        if category
        for path in sorted(folder.iterdir())
        if is_recording(path.relative_to(root))
    ]
    if not rows:
        expected = "meta/esc50.csv (csv layout) or class folders such as `001 - Dog bark`"
        raise wrong_layout(root, expected)
    return clips_table({name: [row[name] for row in rows] for name in rows[0]})


def _category(folder: str) -> str:
    """The category of a class folder of ESC-10 (001 to 010) or ESC-50 (101 to 510); or ""."""
    match = _CLASS_FOLDER.fullmatch(folder)
    if not match:
        return ""
    major, minor = int(match[1]), int(match[2]) - 1
    return CATEGORIES[10 * (major - 1) + minor] if major else ESC10_CATEGORIES[minor]


def _row(root: Path, path: Path, category: str) -> dict[str, str | int]:
    inside = path.relative_to(root).as_posix()
    match = _STEM.fullmatch(path.stem)
    if not match:
        fix = "name it like 1-100032-A.ogg (fold, clip, take), or delete it"
        raise UserError(f"{inside}: not a clip of ESC-50; {fix}")
    fold, source, take = match.groups()
    name = f"{fold}-{source}-{take}-{CATEGORIES.index(category)}"
    return {"clip": name, "path": inside, "label": category, "source": source, "fold": int(fold)}


ESC50 = Adapter(
    read_clips=partial(read_clips, esc10=False),
    description="ESC-50: sounds of the environment, 5 s each, 50 tags",
    metric="accuracy",
    scheme="official",
    k=5,
    folds=(1, 2, 3, 4, 5),
    licence=LICENCE,
)
ESC10 = Adapter(
    read_clips=partial(read_clips, esc10=True),
    description="ESC-10: ten tags of ESC-50",
    metric="accuracy",
    scheme="official",
    k=5,
    folds=(1, 2, 3, 4, 5),
    licence=ESC10_LICENCE,
)
