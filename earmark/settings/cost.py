"""What a run from nothing will cost, from a measurement of a few seconds: stages, time, disk.

Shapes: N rows of a clip.
"""

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from earmark.corpora.adapters import find as find_adapter
from earmark.corpora.synthetic.options import DemoOptions
from earmark.corpora.unlabelled import unlabelled_recordings
from earmark.features import FeatureType
from earmark.features.extraction import extract
from earmark.features.segments import lengths_in_rows
from earmark.layout import Layout
from earmark.networks import Network, build, find
from earmark.params import Params
from earmark.params.models import Extractor, Model
from earmark.params.roster import EMBEDDING, FUSION, PATCHES, members_of, recipe_of, student_of
from earmark.processes import duration
from earmark.seeding import rng_for
from earmark.settings.built import embedding_of, feature_of
from earmark.settings.dvc_cache import cache_shares_files
from earmark.settings.network_size import load_of, machine_bytes
from earmark.sound import sox
from earmark.sound.headers import seconds_of
from earmark.sound.recordings import path_of
from earmark.taggers.device import Device

# Measured on the demo, for what is too small to be worth a measurement.
START_SECONDS = 4.0  # of a stage that loads torch, and of DVC around it
SOUND_SECONDS = 0.02  # to make, decode, trim and audit a second of sound
WHOLE_BATCH_SECONDS = 3.0  # a step of more than that is measured on two clips
N_TAGS = 50  # of networks that are measured
FORWARD = 1 / 3  # of a step of training
PARALLEL = 0.8  # how much of a second thread a step uses
AROUND = 1.3  # a step with its batch and the optimiser, to the network's share of it
SLOW_FLOPS = 2e10  # a second, of one that is too large to be measured
LONGEST_TRIAL = 20.0  # seconds of a step on one clip; longer ones are computed, not measured
LARGEST_TRIAL = 0.25  # of this machine's memory, for a step on two clips
LONGEST_SECONDS = 60.0  # of sound that are measured; longer clips take in proportion
N_FILES = 30  # whose headers are read
SINGLE_STAGES = 12  # those of dvc.yaml without a matrix


class Corpus(NamedTuple):
    """How many clips there are, and their mean length; and the recordings of `unlabelled`."""

    n_train: int
    n_test: int
    seconds: float
    n_unlabelled: int = 0


class Cost(NamedTuple):
    """Of a run from nothing to the end of every epoch; patience may end it before."""

    n_stages: int
    seconds: float
    training_seconds: float
    n_bytes: float
    times_the_sound: float  # of n_bytes what is made of the sound, to its 16 bits a sample
    is_shared: bool  # whether DVC's cache holds the same files, and no copies

    def __str__(self) -> str:
        total, training = (duration(_rounded(s)) for s in (self.seconds, self.training_seconds))
        cache = "shares" if self.is_shared else "copies: as much again"
        return (
            f"a run from nothing: {self.n_stages} stages, about {total} on this machine if it is "
            f"idle ({training} of training, if no patience ends it), "
            f"{self.n_bytes / 1e9:.1f} GB of disk, {self.times_the_sound:.1f} times the sound, "
            f"which DVC's cache {cache}"
        )


def _rounded(seconds: float) -> float:
    """To two digits or so: an estimate is no better."""
    step = 10 if seconds < 600 else 60 if seconds < 36_000 else 3600
    return max(round(seconds / step), 1) * step


def cost_of(params: Params, layout: Layout) -> Cost | None:
    """Estimate the cost of params that are sound; None where there are no recordings yet.

    Args:
        params: whose roster, recipes, features and effects count. Networks take a few steps
            each, on random input.
        layout: where the recordings are looked for; some of their headers are read.
    """
    corpus = corpus_of(params, layout)
    if corpus is None:
        return None
    n_folds, n_features = len(params.folds), len(params.features)
    n_trained = n_folds * (len(params.extractors) + len(members_of(params)))
    n_checking = n_folds * len(params.rounds)  # each round of labels trains on every fold
    n_stages = SINGLE_STAGES + len(params.demo) + n_features + 2 * len(params.student)
    n_stages += 2 * n_trained + n_checking + len(params.rounds)
    parts = parts_of(params, corpus)
    training = sum(parts.trainings)
    starting = START_SECONDS * (2 * n_trained + n_checking + 4 + 2 * len(params.student))
    seconds = parts.sound_seconds + training + parts.predicting + starting
    sound_bytes = 2 * params.decode.sample_rate * corpus.seconds * (corpus.n_train + corpus.n_test)
    recordings = sound_bytes if params.demo else 0.0  # which a run makes, too
    return Cost(
        n_stages,
        seconds,
        training,
        recordings + parts.sound_bytes + parts.network_bytes,
        parts.sound_bytes / sound_bytes,
        not (layout.root / ".dvc").is_dir() or cache_shares_files(layout),
    )


class Parts(NamedTuple):
    """Of a run from nothing: what grows with the corpus, but for `network_bytes`.

    Attributes:
        sound_seconds: of all before the trainings, on `runtime.workers` processes.
        trainings: the seconds of each, on `runtime.threads` threads.
        predicting: seconds, of all networks together.
    """

    sound_seconds: float
    trainings: list[float]
    predicting: float
    sound_bytes: float
    network_bytes: float


def parts_of(params: Params, corpus: Corpus) -> Parts:
    """Measure what a run on a corpus consists of."""
    sound = _sound_cost(params, corpus)
    networks = [one for one in _network_costs(params, corpus) for _ in params.folds]
    # What the student learns of sounds without labels: one process has every network tag them.
    tagging = sound.of_clip + sum(one.of_clip for one in networks)
    networks += [_round_cost(params, corpus)] * len(params.rounds) * len(params.folds)
    networks.append(_student_cost(params, corpus))
    return Parts(
        sound.seconds,
        [one.training for one in networks],
        sum(one.predicting for one in networks) + tagging * _n_unlabelled(params, corpus),
        sound.n_bytes,
        sum(one.n_bytes for one in networks),
    )


def corpus_of(params: Params, layout: Layout) -> Corpus | None:
    """Count clips and read some of their headers; a demo corpus is what its options say."""
    root, folder = layout.root / params.corpus.root, layout.root / params.unlabelled
    n_unlabelled = len(unlabelled_recordings(folder)) if folder.is_dir() else 0
    for name, options in params.demo.items():
        if root == layout.demo(name):
            demo = DemoOptions(**options)
            return Corpus(demo.n_train, demo.n_test, demo.mean_seconds, n_unlabelled)
    if not root.is_dir():
        return None
    clips = find_adapter(params.corpus.adapter).read_clips(root, params.corpus.table)
    some = clips.iloc[:: max(1, len(clips) // N_FILES)]
    lengths = some["end_seconds"] - some["start_seconds"].fillna(0)
    lengths = lengths.where(
        lengths.notna(), [seconds_of(path_of(root, path)) for path in some["path"]]
    )
    n_train = int((clips["split"] == "train").sum())
    return Corpus(n_train, len(clips) - n_train, float(lengths.mean()), n_unlabelled)


class _Sound(NamedTuple):
    seconds: float
    n_bytes: float
    of_clip: float  # seconds of one process, to decode a clip and make all features of it


def _sound_cost(params: Params, corpus: Corpus) -> _Sound:
    """What stands before training: one clip of noise is varied and turned into every feature."""
    rate, n_clips = params.decode.sample_rate, corpus.n_train + corpus.n_test
    times, seconds_measured = _scaled(corpus.seconds)
    noise = rng_for(params.seed, "cost").normal(0, 3000, int(seconds_measured * rate))
    waveform = noise.astype(np.int16)
    n_mixed = corpus.n_train * params.class_mixing.same_class.copies
    n_made = corpus.n_train * len(params.augment) + n_mixed
    n_bytes = waveform.nbytes * (n_clips + n_mixed)  # of others only features are kept
    seconds = of_clip = 0.0
    for effect, options in params.augment.items():
        values = sox.draw(effect, options, rng_for(params.seed, "cost"))
        vary = partial(sox.apply, waveform, rate, effect, values)
        seconds += corpus.n_train * _processor_seconds(vary)
    for name in params.features:
        make_rows = partial(extract, waveform, feature_of(params, name))
        # The first time tables are made, which are kept.
        n_bytes += np.asarray(make_rows()).nbytes * (n_clips + n_made)
        of_clip += _processor_seconds(make_rows)
    seconds = times * (seconds + (n_clips + n_made) * of_clip) / params.runtime.workers
    decoding = SOUND_SECONDS * corpus.seconds
    return _Sound(seconds + decoding * n_clips, times * n_bytes, decoding + times * of_clip)


def _scaled(seconds: float) -> tuple[float, float]:
    """How often the seconds that are measured go into those of a clip, and how many they are."""
    return max(1.0, seconds / LONGEST_SECONDS), min(seconds, LONGEST_SECONDS)


class _Network(NamedTuple):
    """Of one fold; `of_clip` are the seconds to tag a clip."""

    training: float
    predicting: float
    n_bytes: float
    of_clip: float


def _network_costs(params: Params, corpus: Corpus) -> Iterator[_Network]:
    device = Device.choose(params.runtime)
    times, waveform = _silence(params, corpus)
    for extractor in params.extractors.values():
        patches = feature_of(params, PATCHES)
        n_rows = min(round(times * len(extract(waveform, patches))), extractor.max_patches)
        yield _network_cost(params, corpus, extractor, patches, n_rows, n_rows, device)
    seen: dict[str, _Network] = {}
    for group, models in params.models.items():
        for name, entry in models.items():
            if group == FUSION:
                continue
            copies = len(params.extractors) if group == EMBEDDING else 1
            seen[name] = _model_cost(params, corpus, entry, group, device)
            yield from [seen[name]] * copies
    for name in params.models.get(FUSION, {}):  # both backbones are computed again, side by side
        audio, spec = seen[f"{name}_audio"], seen[f"{name}_spec"]
        yield _Network(*(a + b for a, b in zip(audio, spec, strict=True)))


def _round_cost(params: Params, corpus: Corpus) -> _Network:
    """Of a training whose answers judge labels; it is not kept."""
    if not params.rounds:
        return _Network(0, 0, 0, 0)
    feature, name = params.label_rounds.feature, params.label_rounds.model
    entry, device = params.models[feature][name], Device.choose(params.runtime)
    return _model_cost(params, corpus, entry, feature, device)._replace(n_bytes=0)


def _student_cost(params: Params, corpus: Corpus) -> _Network:
    """Of its one training, on all clips and all that the ensemble tagged for it."""
    if (student := student_of(params)) is None:
        return _Network(0, 0, 0, 0)
    feature, entry = student
    of_fold = _model_cost(params, corpus, entry, feature, Device.choose(params.runtime))
    n_folds = max(params.cv.k, 2)
    times = n_folds / (n_folds - 1) * (1 + _n_unlabelled(params, corpus) / max(corpus.n_train, 1))
    return of_fold._replace(training=of_fold.training * times)


def _n_unlabelled(params: Params, corpus: Corpus) -> int:
    """How many sounds the student learns by the ensemble's answers alone."""
    if (student := student_of(params)) is None:
        return 0
    return corpus.n_unlabelled + corpus.n_train * student[1].made_clips


def _model_cost(
    params: Params, corpus: Corpus, entry: Model, group: str, device: Device
) -> _Network:
    times, waveform = _silence(params, corpus)
    rows_of = feature = feature_of(params, PATCHES if group == EMBEDDING else group)
    if group == EMBEDDING:  # of the first extractor
        feature = embedding_of(params, next(iter(params.extractors.values())))
    n_rows = round(times * len(extract(waveform, rows_of)))
    length = max(lengths_in_rows(entry.input, feature)) or n_rows  # 0: of whole clips
    return _network_cost(params, corpus, entry, feature, n_rows, length, device)


def _silence(params: Params, corpus: Corpus) -> tuple[float, NDArray[np.int16]]:
    """How often what is measured goes into a clip, and as many samples."""
    times, seconds_measured = _scaled(corpus.seconds)
    return times, np.zeros(int(seconds_measured * params.decode.sample_rate), np.int16)


def _network_cost(
    params: Params,
    corpus: Corpus,
    entry: Model | Extractor,
    feature: FeatureType,
    n_rows: int,
    length: int,
    device: Device,
) -> _Network:
    """Measure a step on `length` rows of each clip, and count the steps of one fold."""
    recipe, is_extractor = recipe_of(params, entry), isinstance(entry, Extractor)
    load = load_of(entry.network, feature, 1 if is_extractor else length)
    if is_extractor:
        load = load._replace(n_bytes=load.n_bytes * length, flops=load.flops * length)
    of_clip = load.flops / FORWARD / SLOW_FLOPS
    if load.bytes_of(2) < LARGEST_TRIAL * machine_bytes() and of_clip < LONGEST_TRIAL:
        is_small = load.bytes_of(recipe.batch_size) < LARGEST_TRIAL * machine_bytes()
        n_clips = recipe.batch_size if is_small else 2
        of_clip = _measured(entry, feature, n_clips, length, device)
    n_validation = corpus.n_train / max(params.cv.k, 2)
    n_units = corpus.n_train - n_validation
    if recipe.crops_per_clip == "all":
        n_units *= math.ceil(n_rows / length)
    n_crops = 1 if is_extractor else recipe.validation_crops
    epoch = of_clip * AROUND * (n_units + FORWARD * n_validation * n_crops)
    n_predicted = n_validation + corpus.n_test
    n_segments = min(params.inference.n_crops, max(1, math.ceil(2 * n_rows / length)))
    if is_extractor:  # embeds all clips and variants
        n_predicted, n_segments = (corpus.n_train * (1 + len(params.augment)) + corpus.n_test), 1
    n_bytes = 4 * load.n_parameters
    tagging = of_clip * FORWARD * n_segments
    n_epochs = 1 if find(entry.network.name).is_fitted_at_once else recipe.epochs
    return _Network(epoch * n_epochs, tagging * n_predicted, n_bytes, tagging)


def _measured(
    entry: Model | Extractor, feature: FeatureType, batch_size: int, length: int, device: Device
) -> float:
    """The seconds of a step for each clip of a batch, on random input."""
    network = device.place(build(entry.network.name, N_TAGS, entry.network.options))

    def seconds_a_clip(n_clips: int) -> float:
        is_extractor = isinstance(entry, Extractor)
        shape = (n_clips * length, 1) if is_extractor else (n_clips, length)
        x = feature.network_view(torch.randn(*shape, *feature.row_shape)).to(device.name)
        return _step_seconds(network, x, device) / n_clips

    trial = seconds_a_clip(2)  # a whole batch is proportionally faster, but may take long
    n_clips = batch_size if trial * batch_size < WHOLE_BATCH_SECONDS else 2
    return min(seconds_a_clip(n_clips), seconds_a_clip(n_clips))


def _step(network: Network, x: Any, device: Device) -> None:
    with device.autocast():
        logits = network(x)
    logits.float().square().mean().backward()
    logits.sum().item()  # waits for a GPU


def _step_seconds(network: Network, x: Any, device: Device) -> float:
    """How long a step takes; on processors by the time of one thread, whatever else is running."""
    if device.name != "cpu":
        return _timed(partial(_step, network, x, device))
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds = _processor_seconds(partial(_step, network, x, device))
    torch.set_num_threads(n_threads)
    return seconds / (1 + PARALLEL * (n_threads - 1))


def _processor_seconds(act: Callable[[], Any]) -> float:
    """Of this thread and the programs that it waits for."""
    start, children = time.thread_time(), getrusage(RUSAGE_CHILDREN)
    act()
    after = getrusage(RUSAGE_CHILDREN)
    others = after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime
    return time.thread_time() - start + others


def _timed(act: Callable[[], Any]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start
