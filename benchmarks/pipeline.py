"""From files to cached features on two processes, beside the same made with librosa.

Ours are the stages decode, trim and features of dvc.yaml, with every file that they write; theirs
is what many scripts do: a pool of processes, each of which loads, trims, computes and saves a clip.
"""

import tempfile
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from benchmarks.preparation import (
    LOG_MEL,
    MFCC,
    RATE,
    Row,
    Step,
    librosa_log_mel,
    librosa_mfcc,
    made_corpus,
)
from benchmarks.turns import Spread, Way, Work, seconds_in_turns
from earmark.layout import Layout
from earmark.params import Params
from earmark.params.reading import parse_params, read_yaml
from earmark.settings.profiles import overlay
from stages import augment, class_mixing, decode, features, split, trim

PROFILES = Path(__file__).parent.parent / "profiles"
WORKERS = 2


def params_for(recordings: Path, features: dict[str, Any], **sections: dict[str, Any]) -> Params:
    """profiles/base.yaml on a folder of recordings, with these features, and no models."""
    raw = read_yaml(PROFILES / "base.yaml")
    raw["corpus"]["label_corrections"] = str(PROFILES / "no_corrections.csv")
    overlay(raw, {"corpus": {"root": str(recordings)}, "runtime": {"workers": WORKERS}})
    overlay(raw, sections)
    params, problems = parse_params({**raw, "features": features}, "params.yaml")
    assert params is not None, problems
    return params


def prepare(params: Params, layout: Layout) -> None:
    """Run the stages from the recordings to their features."""
    for stage in (decode, split, trim, class_mixing, augment):
        stage.run(params, layout)
    for feature in params.features:
        features.run(params, layout, feature)


def our_pipeline(folder: Path) -> Work:
    import earmark.features.extraction
    import earmark.features.logmel  # noqa: F401 -- which workers would each import

    named = {"logmel": {"type": "logmel", **LOG_MEL}, "mfcc": {"type": "mfcc", **MFCC}}
    params = params_for(folder, named, augment={})

    def work() -> None:
        with tempfile.TemporaryDirectory() as root:
            prepare(params, Layout(Path(root)))

    return work


def _cached(target: Path, path: Path) -> None:
    import librosa

    waveform, _ = librosa.load(path, sr=RATE)
    trimmed, _ = librosa.effects.trim(waveform)
    np.save(target / f"{path.stem}.logmel.npy", librosa_log_mel(trimmed))
    np.save(target / f"{path.stem}.mfcc.npy", librosa_mfcc(trimmed))


def usual_pipeline(folder: Path) -> Work:
    import librosa.effects
    import librosa.feature  # noqa: F401 -- librosa loads its parts when they are first used

    paths = sorted(folder.rglob("*.wav"))

    def work() -> None:
        with tempfile.TemporaryDirectory() as target, get_context("fork").Pool(WORKERS) as pool:
            pool.map(partial(_cached, Path(target)), paths)
            pool.close()  # and not terminated: processor time is known of a child that has ended
            pool.join()

    return work


def measure(n_clips: int, turns: int) -> list[Row]:
    """Beside librosa as it comes, and with one thread a process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for label in ("a", "b"):
            (folder / label).mkdir()
        paths = made_corpus(folder, n_clips)
        amount = sum(soundfile.info(path).duration for path in paths)
        for number, path in enumerate(paths):
            path.rename(folder / "ab"[number % 2] / path.name)
        usual = partial(usual_pipeline, folder)
        ways = [
            Way(usual, default_threads=True),
            Way(usual),
            Way(partial(our_pipeline, folder), as_stages=True),
        ]
        default, tuned, ours = seconds_in_turns(ways, turns)
    rows = []
    for beside, usual_seconds in (
        ("librosa, as many threads as it likes", default),
        ("librosa, one thread a process", tuned),
    ):
        step = Step("files to log-mel and MFCC, 2 processes", beside, usual_pipeline, our_pipeline)
        ratio = Spread.of([u / o for u, o in zip(usual_seconds, ours, strict=True)])
        usual_speed, our_speed = (amount / Spread.of(s).median for s in (usual_seconds, ours))
        rows.append(Row(step, usual_speed, our_speed, None, ratio))
    return rows
