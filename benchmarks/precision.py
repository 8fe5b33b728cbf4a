"""Whether bfloat16 costs anything: one network trained to the end in both precisions, and scored.

A seed draws the same weights and batches for both. There are several, since another seed alone
moves the score by more than the precision may.
"""

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.batch_source import base_recipe
from earmark.corpora.adapters import find
from earmark.corpora.synthetic.corpus import DemoOptions, plan_clips, render_clip
from earmark.evaluation.intervals import Scores, score_classes
from earmark.features import build
from earmark.labels import Task
from earmark.params import Recipe
from earmark.seeding import rng_for
from earmark.sound.decoding import Int16, as_float, decode
from earmark.store import Store, StoreWriter
from earmark.taggers.device import Device
from earmark.taggers.input import Input
from earmark.taggers.tagger import Tagger
from earmark.training.batches import Examples, Sampler, standardisation
from earmark.training.loop import Job, fit, validate

SEED, RATE = 0, 44_100  # of the clips and their roles; of the waveforms
TRAINING_SEEDS = (0, 1, 2)
SEGMENT_SECONDS = 1.0
N_RESAMPLES = 2000
LOG_MEL = {"n_fft": 2048, "hop_length": 512, "n_mels": 80, "f_min_hz": 0.0, "f_max_hz": RATE / 2}
NETWORK = {"growth": 8, "stem_channels": 16, "units": 2}  # of a DenseNet
RECIPE = {"epochs": 24, "patience": 24, "batch_size": 16}
DEMO = DemoOptions(  # noise enough that the scores are not all 1
    n_tags=10,
    n_train=400,
    n_test=200,
    verified_share=1.0,
    wrong_share=0.0,
    mean_seconds=2.0,
    max_seconds=4.0,
    background_snr_db=(0.0, 30.0),
)
METRICS = ("map_at_3", "accuracy", "macro_f1")


class Silent:
    """Follows a training without a word."""

    def log_epoch(self, epoch: int, values: dict[str, float]) -> None: ...


def check(corpus: str | None, device: str) -> None:
    """Print the test scores of both precisions, each with its 95 % interval over clips."""
    logging.getLogger("earmark").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        clips, store = made_store(place) if corpus is None else folder_store(Path(corpus), place)
        recipe = base_recipe(**RECIPE)
        roles = {role: clips[clips["role"] == role] for role in ("train", "validate", "test")}
        task = Task.of(clips)
        parts = {role: Examples.select(store, rows, task) for role, rows in roles.items()}
        print(", ".join(f"{len(rows)} clips to {role}" for role, rows in roles.items()))
        found: dict[str, list[Scores]] = {"float32": [], "bfloat16": []}
        for seed in TRAINING_SEEDS:
            for precision, own in found.items():
                way = Device(name=device, precision=precision, channels_last=precision != "float32")
                work = place / f"{precision}-{seed}"
                own.append(scores(parts, recipe, way, work, seed))
                print(f"seed {seed}  {precision:9} {shown(own[-1])}", flush=True)
        for precision, own in found.items():
            means = (f"{m} {np.mean([one[m].value for one in own]):.3f}" for m in METRICS)
            print(f"mean    {precision:9} {'  '.join(means)}")


def scores(
    parts: dict[str, Examples], recipe: Recipe, device: Device, work: Path, seed: int
) -> Scores:
    """Train to the last epoch, and score the best one's weights on the test clips."""
    torch.manual_seed(seed)
    train, test = parts["train"], parts["test"]
    input_ = input_of(train)
    tags = train.task.tags
    job = Job(
        name="precision",
        seed=seed,
        recipe=recipe,
        tagger=Tagger.new("densenet", dict(NETWORK), tags=tags, input_=input_),
        sampler=Sampler(examples=train, input=input_, recipe=recipe),
        validation=parts["validate"],
        device=device,
    )
    work.mkdir()
    fitted = fit(job, work / "checkpoint.safetensors", Silent())
    probabilities = validate(fitted.tagger, test, device, recipe).astype(np.float64)
    labels = test.tag_targets.argmax(axis=1)
    return score_classes(probabilities, labels, tags=tags, seed=SEED, n_resamples=N_RESAMPLES)


def shown(found: Scores) -> str:
    """Each metric with its 95 % interval over clips."""
    return "  ".join(
        f"{metric} {found[metric].value:.3f} [{found[metric].low:.3f}, {found[metric].high:.3f}]"
        for metric in METRICS
    )


def input_of(train: Examples) -> Input:
    """Log-mel segments, standardised as on the training clips."""
    mean, std = standardisation(train, per="array")
    extract = build("logmel", LOG_MEL, sample_rate=RATE)
    return Input(
        kind="logmel",
        options=dict(LOG_MEL),
        sample_rate=RATE,
        lengths=[extract.rows_for(SEGMENT_SECONDS)],
        aggregation="confident_crop",
        padding="right",
        silence=extract.silence.tolist(),
        mean=mean,
        std=std,
    )


def made_store(folder: Path) -> tuple[pd.DataFrame, Store]:
    """The demo corpus' clips with their true tags, and their log-mel frames."""
    plan = plan_clips(DEMO, seed=SEED)
    clips = plan.rename(columns={"fname": "clip"}).assign(label=plan["true_label"])
    waveforms = (render_clip(row, DEMO, seed=SEED) for _, row in plan.iterrows())
    return with_roles(clips), frames_store(clips, waveforms, folder / "logmel")


def folder_store(corpus: Path, folder: Path) -> tuple[pd.DataFrame, Store]:
    """The clips of a folder of class folders, or of its clips.csv, and their log-mel frames."""
    table = "clips.csv" if (corpus / "clips.csv").exists() else ""
    clips = find("folder").read_clips(corpus, table)
    waveforms = (decode(corpus / path, sample_rate=RATE).waveform for path in clips["path"])
    return with_roles(clips), frames_store(clips, waveforms, folder / "logmel")


def with_roles(clips: pd.DataFrame) -> pd.DataFrame:
    """Of each tag's clips every second one tests, every eighth validates, and the others train."""
    shuffled = clips.sample(frac=1, random_state=rng_for(SEED, "roles")).assign(verified=True)
    place = shuffled.groupby("label").cumcount()
    role = np.where(place % 2 == 1, "test", np.where(place % 8 == 0, "validate", "train"))
    return shuffled.assign(role=role)


def frames_store(clips: pd.DataFrame, waveforms: Iterable[Int16], folder: Path) -> Store:
    """Compute log-mel frames, and keep them as the features stage does."""
    extract = build("logmel", LOG_MEL, sample_rate=RATE)
    with StoreWriter(folder, row_shape=extract.row_shape, dtype=extract.dtype) as store:
        for clip, waveform in zip(clips["clip"], waveforms, strict=True):
            store.append(extract(as_float(waveform)).astype(extract.dtype), clip=clip, variant="")
    return Store.open(folder, in_memory=True)
