"""Small made-up trees in the layout of every published corpus, with audible recordings."""

from collections.abc import Callable
from pathlib import Path

import soundfile

from earmark.corpora.adapters import esc, speech_commands
from earmark.seeding import rng_for

RATE = 16000


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def record(root: Path, *names: str, seconds: float = 0.2) -> None:
    """Write noise that depends on the name alone, so that no two recordings are equal."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        sound = rng_for(0, name).normal(0, 0.1, round(seconds * RATE))
        soundfile.write(root / name, sound, RATE)


def write_lines(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def folder(root: Path) -> None:
    """Ten clips of two classes."""
    record(root, *(f"{label}/{n}.wav" for label in ("cat", "dog") for n in range(5)))


def fsdkaggle2018(root: Path) -> None:
    """Ten train and two test clips of two tags, as on Zenodo."""
    train, test = [f"a{n}.wav" for n in range(10)], ["b0.wav", "b1.wav"]
    write_lines(
        root / "FSDKaggle2018.meta" / "train_post_competition.csv",
        "fname,label,manually_verified,freesound_id,license",
        *(f"a{n}.wav,{('Oboe', 'Cello')[n % 2]},{n % 3 % 2},{n},Attribution" for n in range(10)),
    )
    write_lines(
        root / "FSDKaggle2018.meta" / "test_post_competition_scoring_clips.csv",
        "fname,label,usage,freesound_id,license",
        "b0.wav,Oboe,Public,100,Attribution",
        "b1.wav,Cello,Private,101,Attribution",
    )
    record(root / "FSDKaggle2018.audio_train", *train)
    record(root / "FSDKaggle2018.audio_test", *test)


def esc_clips() -> list[tuple[int, str, str, int]]:
    """Fold, recording, take and target: two clips per fold and tag of ESC-50, of one recording."""
    targets = range(len(esc.CATEGORIES))
    return [
        (fold, str(1000 * fold + target), take, target)
        for fold in range(1, 6)
        for target in targets
        for take in "AB"
    ]


def esc_csv(root: Path) -> None:
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for fold, source, take, target in esc_clips():
        name, category = f"{fold}-{source}-{take}-{target}.wav", esc.CATEGORIES[target]
        is_esc10 = category in esc.ESC10_CATEGORIES
        lines.append(f"{name},{fold},{target},{category},{is_esc10},{source},{take}")
        record(root / "audio", name, seconds=0.1)
    write_lines(root / "meta" / "esc50.csv", *lines)


def esc10_folders(root: Path) -> None:
    """The class folders of ESC-10, numbered in their own order; the words do not matter."""
    for fold, source, take, target in esc_clips():
        category = esc.CATEGORIES[target]
        if category in esc.ESC10_CATEGORIES:
            number = esc.ESC10_CATEGORIES.index(category) + 1
            touch(root / f"{number:03d} - Any words", f"{fold}-{source}-{take}.ogg")


def esc50_folders(root: Path) -> None:
    """The class folders of ESC-50: 101 to 110, 201 to 210 and so on."""
    for fold, source, take, target in esc_clips():
        number = 100 * (target // 10 + 1) + target % 10 + 1
        touch(root / f"{number} - Any words", f"{fold}-{source}-{take}.ogg")


def urbansound8k(root: Path) -> None:
    """Three slices per fold and tag: two of one recording, one of another."""
    lines = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    for fold in range(1, 11):
        for target, label in enumerate(["air_conditioner", "car horn"]):
            for piece in range(3):
                source = 100 * fold + 10 * target + piece // 2
                name = f"{source}-{target}-0-{piece}.wav"
                lines.append(f"{name},{source},0.0,4.0,1,{fold},{target},{label}")
                record(root / "audio" / f"fold{fold}", name)
    write_lines(root / "metadata" / "UrbanSound8K.csv", *lines)


def msos(root: Path) -> None:
    """Six clips per category of two events, and two of the evaluation."""
    events = {"Music": ["Oboe", "Big band"], "Nature": ["Rain", "Bird"]}
    lines = ["Category,Event,File"]
    for category, names in events.items():
        for n in range(6):
            file = f"{category.lower()}{n}.wav"
            lines.append(f"{category},{names[n % 2]},{file}")
            record(root / "Development" / category, file)
    write_lines(root / "Logsheet_Development.csv", *lines)
    write_lines(
        root / "Logsheet_EvaluationMaster.csv",
        "Category,Event,File",
        "Music,Oboe,e0.wav",
        "Nature,Storm,e1.wav",
    )
    record(root / "Evaluation", "e0.wav", "e1.wav")


def magnatagatune(root: Path) -> None:
    """Two segments of a track in each of five directories; the last clip has no frequent tag."""
    tags = ["guitar", "slow", "no voice", *(f"common{n}" for n in range(48)), "rare"]
    rows = [["clip_id", *tags, "mp3_path"]]
    for number, directory in enumerate(["0", "b", "c", "d", "f"]):
        for half, seconds in enumerate(["0-29", "59-88"]):
            path = f"{directory}/band_{number}-album-01-a-song-{seconds}.mp3"
            marks = [1, half, 1 - half, *[1] * 48, 0]
            if path.startswith("f/") and half:
                marks = [0] * 51 + [1]
            rows.append([str(10 * number + half), *map(str, marks), path])
            record(root, path)
    lines = ("\t".join(f'"{cell}"' for cell in row) for row in rows)
    write_lines(root / "annotations_final.csv", *lines)


def speech(root: Path) -> None:
    """Two speakers per subset who say all 35 words, and three noises."""
    listed: dict[str, list[str]] = {"validation": [], "testing": [], "training": []}
    for word in speech_commands.COMMANDS + speech_commands.OTHER_WORDS + speech_commands.NEW_IN_V2:
        for subset, names in listed.items():
            for speaker in range(2):
                name = f"{word}/{subset[:4]}{speaker}_nohash_{speaker}.wav"
                names.append(name)
                record(root, name, seconds=0.1)
    for subset, file in speech_commands.LISTS.items():
        write_lines(root / file, *listed[subset])
    for number in range(3):
        record(root, f"_background_noise_/noise{number}.wav", seconds=11.0 + number)
    write_lines(root / "_background_noise_" / "README.md", "About the noises.")


def dcase2017_task4(root: Path) -> None:
    """Four clips per set with the tables in a folder of their own, audio in two kinds of folder."""
    folders = {"training": "audio/training", "testing": "testing", "evaluation": "eval_audio"}
    for name, folder in folders.items():
        files = [f"{name[:5]}-{n}_vid_30.000_40.000.wav" for n in range(4)]
        lines = [f"{file}\t30.000\t40.000\tAir horn, truck horn" for file in files[:3]]
        lines += [f"{file}\t30.000\t40.000\tTrain" for file in files[1:]]
        table = f"groundtruth_weak_label_{name}_set.csv"
        write_lines(root / "groundtruth_release" / table, *lines)
        record(root / folder, *(f"Y{file}" for file in files))


TREES: dict[str, Callable[[Path], None]] = {
    "folder": folder,
    "fsdkaggle2018": fsdkaggle2018,
    "msos": msos,
    "esc10": esc_csv,
    "esc50": esc_csv,
    "urbansound8k": urbansound8k,
    "magnatagatune": magnatagatune,
    "speech_commands_12": speech,
    "speech_commands_31": speech,
    "speech_commands_35": speech,
    "dcase2017_task4": dcase2017_task4,
    "dcase2017_task4_development": dcase2017_task4,
}
