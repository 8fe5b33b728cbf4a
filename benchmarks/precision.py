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
from earmark.corpora.synthetic.corpus import plan_clips, render_clip
from earmark.corpora.synthetic.options import DemoOptions
from earmark.evaluation.intervals import Scores, interval_text, score_classes
from earmark.features import build
from earmark.labels import Task
from earmark.params import Recipe
from earmark.seeding import rng_for
from earmark.sound.decoding import decode
from earmark.sound.samples import Int16, as_float
from earmark.store import Store, StoreWriter
from earmark.taggers.device import Device
from earmark.taggers.input import Input
from earmark.taggers.tagger import Tagger
from earmark.training.examples import Examples, standardisation
from earmark.training.job import Job
from earmark.training.loop import fit
from earmark.training.validation import validate

SEED, RATE = 0, 44_100  # of the clips and their splits; of the waveforms
TRAINING_SEEDS = (0, 1, 2)
SEGMENT_SECONDS = 1.0
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


class Unwatched:
    """Follows a training without a word."""

    def log_epoch(self, values: dict[str, float]) -> None: ...


def check(corpus: str | None, device: str) -> None:
    """Print the test scores of both precisions, each with its 95 % interval."""
    logging.getLogger("earmark").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips, store = demo_store(folder) if corpus is None else corpus_store(Path(corpus), folder)
        task = Task.of(clips)
        splits = {
            split: Examples.select(store, clips[clips["split"] == split], task)
            for split in ("train", "validation", "test")
        }
        print(", ".join(f"{split}: {len(examples)} clips" for split, examples in splits.items()))
        scores: dict[str, list[Scores]] = {"float32": [], "bfloat16": []}
        for seed in TRAINING_SEEDS:
            for precision, of_seeds in scores.items():
                is_fast = precision != "float32"
                way = Device(name=device, precision=precision, channels_last=is_fast)
                of_seeds.append(train_and_score(splits, way, folder / f"{precision}-{seed}", seed))
                print(f"seed {seed}  {precision:9} {shown(of_seeds[-1])}", flush=True)
        for precision, of_seeds in scores.items():
            means = (f"{m} {np.mean([one[m].value for one in of_seeds]):.3f}" for m in METRICS)
            print(f"mean    {precision:9} {'  '.join(means)}")


def train_and_score(
    splits: dict[str, Examples], device: Device, checkpoint: Path, seed: int
) -> Scores:
    """Train to the last epoch, and score the best one's weights on the test clips."""
    torch.manual_seed(seed)
    train, test = splits["train"], splits["test"]
    tags = train.task.tags
    job = Job(
        member="precision",
        fold="0",
        recipe=recipe_of(seed),
        tagger=Tagger.new("densenet", dict(NETWORK), tags=tags, input_=input_of(train)),
        train=train,
        validation=splits["validation"],
        device=device,
        checkpoint_seconds=60.0,
    )
    fitted = fit(job, checkpoint, Unwatched())
    probabilities = validate(fitted.tagger, test, device, job.recipe).astype(np.float64)
    labels = test.tag_targets.argmax(axis=1)
    return score_classes(probabilities, labels, tags=tags)


def recipe_of(seed: int) -> Recipe:
    return base_recipe(**RECIPE, seed=seed)


def shown(scores: Scores) -> str:
    """Each metric with its 95 % interval."""
    return "  ".join(
        f"{metric} {scores[metric].value:.3f}, {interval_text(scores[metric].to_json())}"
        for metric in METRICS
    )


def input_of(train: Examples) -> Input:
    """Log-mel segments, standardised as on the training clips."""
    mean, std = standardisation(train, per="array")
    log_mel = build("logmel", LOG_MEL, sample_rate=RATE)
    return Input(
        feature="logmel",
        type_name="logmel",
        options=dict(LOG_MEL),
        sample_rate=RATE,
        lengths=[log_mel.segment_rows(SEGMENT_SECONDS)],
        padding="right",
        silence=log_mel.silence.tolist(),
        mean=mean,
        std=std,
    )


def demo_store(folder: Path) -> tuple[pd.DataFrame, Store]:
    """The demo corpus' clips with their true tags, and their log-mel frames."""
    plan = plan_clips(DEMO, seed=SEED)
    clips = plan.rename(columns={"fname": "clip"}).assign(label=plan["true_label"])
    waveforms = (render_clip(row, DEMO, seed=SEED) for _, row in plan.iterrows())
    return with_splits(clips), frames_store(clips, waveforms, folder / "logmel")


def corpus_store(corpus: Path, folder: Path) -> tuple[pd.DataFrame, Store]:
    """The clips of a folder of class folders, or of its clips.csv, and their log-mel frames."""
    table = "clips.csv" if (corpus / "clips.csv").exists() else ""
    clips = find("folder").read_clips(corpus, table)
    waveforms = (
        np.asarray(decode(corpus / path, sample_rate=RATE).waveform) for path in clips["path"]
    )
    return with_splits(clips), frames_store(clips, waveforms, folder / "logmel")


def with_splits(clips: pd.DataFrame) -> pd.DataFrame:
    """Of each tag's clips every second one tests, every eighth validates, and the others train."""
    shuffled = clips.sample(frac=1, random_state=rng_for(SEED, "roles")).assign(verified=True)
    number = shuffled.groupby("label").cumcount()
    is_test, is_validation = number % 2 == 1, number % 8 == 0
    split = np.where(is_test, "test", np.where(is_validation, "validation", "train"))
    return shuffled.assign(split=split)


def frames_store(clips: pd.DataFrame, waveforms: Iterable[Int16], folder: Path) -> Store:
    """Compute log-mel frames, and keep them as the features stage does."""
    log_mel = build("logmel", LOG_MEL, sample_rate=RATE)
    with StoreWriter(folder, row_shape=log_mel.row_shape, dtype=log_mel.dtype) as store:
        for clip, waveform in zip(clips["clip"], waveforms, strict=True):
            store.append(log_mel(as_float(waveform)).astype(log_mel.dtype), clip=clip, variant="")
    return Store.open(folder, in_memory=True)
