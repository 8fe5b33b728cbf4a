"""How busy training keeps a GPU: python -m benchmarks.gpu.

For each network, a step of the training loop itself (draws, gathering, mixup, masks, forward,
backward, optimiser), over synthetic features in one corpus' size:

    resident   with the features on the device, as training has them where they fit
    fed        with the features in the memory of the host
    alone      the forward and backward pass and the optimiser, of one batch again and again

and with `--compile`

    compiled   the same batch by what torch.compile makes of the network, on a GPU as CUDA graphs

and with `--folds N`

    folds      resident steps of N trainings in turn, on a GPU in a stream each, as
               `earmark repro --together` has them

in turns. `input` is the share of a resident step that is not the network's. The peak is that of
the best convolutions and matrix products of the same run. Then, from these steps and a validation
that is timed too, the time of a run of FSDKaggle2018's size: Shan & Ren's four models, ten folds,
forty epochs, one training after another; what a stage takes to start is not in it.

`--device cpu` shows that it runs, with clips as few and batches as small as `--clips`, `--batch`.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from benchmarks.batch_source import base_recipe, source
from benchmarks.peak import Clock, clock
from benchmarks.train_step import config_of, forward_passes, print_peaks, train
from benchmarks.turns import Spread
from earmark.exits import clean_exit
from earmark.networks.paper_configs import PaperConfig, cost
from earmark.processes import set_up_process
from earmark.seeding import rng_for
from earmark.taggers.device import Device
from earmark.taggers.tagger import Tagger
from earmark.training.batches import Units
from earmark.training.checkpoints import State, copy_weights
from earmark.training.job import Job
from earmark.training.loop import train_step
from earmark.training.mixup import mixup
from earmark.training.optimizers import build_optimizer, set_train_mode
from earmark.training.resident import resident
from earmark.training.validation import validate

# Shan & Ren's four models: section 2.2; batches of profiles/shan2018.yaml.
MODELS = {"densenet_logmel": ("densenet", 64), "densenet_mfcc": ("densenet", 64),
          "resnet1d": ("resnet1d", 32), "soundnet": ("soundnet", 32)}  # fmt: skip
OTHERS = {"samplecnn": 64, "vggish": 128, "cnn_comb": 32, "cbir": 32}
N_CLIPS, N_FOLDS, N_EPOCHS = 9_473, 10, 40  # FSDKaggle2018's training set
VALIDATED = 64  # clips that a validation is timed on


class Bench(NamedTuple):
    """A training that is ready for any step."""

    job: Job
    state: State
    order: list[Units]

    def step(self, number: int) -> None:
        train_step(self.job, self.state, self.order[number % len(self.order)])
        self.state.progress.step += 1


def bench_of(config: PaperConfig, batch_size: int, device: Device, *, is_resident: bool) -> Bench:
    """A training of a network over synthetic features, with mixup and masks."""
    sampler = source(config, batch_size)
    torch.manual_seed(0)
    tagger = Tagger.new(
        config.network, dict(config.options), tags=sampler.examples.task.tags, input_=sampler.input
    )
    mask = {} if sampler.input.type_name in ("waveform", "patches") else {"mask_frames": 20}
    recipe = base_recipe(batch_size=batch_size, mixup_alpha=0.2, mixup_draw="clip", **mask)
    job = Job(
        member=config.network,
        fold="0",
        recipe=recipe,
        tagger=tagger,
        train=sampler.examples,
        validation=sampler.examples.at(np.arange(min(VALIDATED, len(sampler.examples)))),
        device=device,
        checkpoint_seconds=np.inf,
    )
    rows = resident(sampler.examples.store, sampler.input, device.name) if is_resident else None
    vars(job)["sampler"] = replace(sampler, recipe=recipe, resident=rows)  # whatever would fit
    network = device.place(tagger.network)
    state = State(network, build_optimizer(network, job), best={})
    state.average = copy_weights(network) if recipe.ema_decay else {}
    set_train_mode(network, ())
    return Bench(job, state, job.sampler.order(rng_for(0, "order")))


class Row(NamedTuple):
    """What a network reached; seconds of a step, of medians over the turns."""

    name: str
    config: PaperConfig
    batch_size: int
    resident: float
    fed: float
    alone: float
    ratio: Spread
    validation: float  # seconds a clip
    compiled: float | None = None
    folds: float | None = None
    compile_seconds: float = 0.0

    @property
    def input_share(self) -> float:
        return max(0.0, 1 - self.alone / self.resident)

    def of_peak(self, peak: float) -> float:
        per_clip = forward_passes(self.config) * cost(self.config).n_multiply_adds
        return per_clip * self.batch_size / self.resident / peak

    @property
    def run_seconds(self) -> float:
        """Of all folds and epochs of a run of FSDKaggle2018's size."""
        return self._run(self.resident, self.validation)

    def least_seconds(self, peak: float) -> float:
        """Of such a run if all its multiply-adds were done at the peak, and nothing else was."""
        forward = cost(self.config).n_multiply_adds / peak
        return self._run(self.batch_size * forward * forward_passes(self.config), forward)

    def _run(self, step: float, validation: float) -> float:
        n_held_out = N_CLIPS // N_FOLDS
        n_steps = (N_CLIPS - n_held_out) // self.batch_size
        return N_FOLDS * N_EPOCHS * (n_steps * step + n_held_out * validation)


def timed(step: Callable[[int], object], n_steps: int, now: Clock) -> float:
    """Seconds of one of some steps in a row; the clock waits for the device before and after."""
    start = now()
    for number in range(n_steps):
        step(number)
    return (now() - start) / n_steps


def measure(name: str, network: str, batch_size: int, options: argparse.Namespace) -> Row:
    config, now = config_of(network), clock(options.device, options.threads)
    is_cuda = options.device == "cuda"
    device = Device(name=options.device, precision="bfloat16", channels_last=True)
    ours, fed = (
        bench_of(config, batch_size, device, is_resident=is_resident)
        for is_resident in (True, False)
    )
    ways = {"resident": ours.step, "fed": fed.step, "alone": alone(ours)}
    if options.compile:
        mode = "reduce-overhead" if is_cuda else None
        compiled: Any = torch.compile(ours.state.network, mode=mode, dynamic=False)
        ways["compiled"] = alone(ours, compiled)
    if options.folds > 1:
        more = [
            bench_of(config, batch_size, device, is_resident=True) for _ in range(1, options.folds)
        ]
        ways["folds"] = in_turn([ours, *more], is_cuda=is_cuda)
    seconds_first = {}
    for way, step in ways.items():  # chooses kernels, or compiles
        started = time.monotonic()
        timed(step, 3 * options.folds if is_cuda else 1, now)
        seconds_first[way] = time.monotonic() - started
    turns = [
        {way: timed(step, options.steps, now) for way, step in ways.items()}
        for _ in range(options.turns)
    ]
    seconds = {way: median(turn[way] for turn in turns) for way in ways}
    ratio = Spread.of([turn["fed"] / turn["resident"] for turn in turns])
    tagger = replace(ours.job.tagger, network=ours.state.network)
    check = partial(validate, tagger, ours.job.validation, device, ours.job.recipe)
    validation = timed(lambda _: check(), 2, now) / len(ours.job.validation)
    return Row(
        name,
        config,
        batch_size,
        **seconds,
        ratio=ratio,
        validation=validation,
        compile_seconds=seconds_first.get("compiled", 0.0),
    )


def in_turn(benches: Sequence[Bench], *, is_cuda: bool) -> Callable[[int], None]:
    """A step of one training after another, each in its own stream."""
    streams = [torch.cuda.Stream() if is_cuda else None for _ in benches]  # type: ignore[no-untyped-call]

    def step(number: int) -> None:
        which = number % len(benches)
        with torch.cuda.stream(streams[which]):  # which does nothing for None
            benches[which].step(number // len(benches))

    return step


def alone(bench: Bench, network: nn.Module | None = None) -> Callable[[int], None]:
    """A step whose batch is there already, of the network or what it was compiled to."""
    job, state = bench.job, bench.state
    rng, device = rng_for(0, "alone"), job.device
    batch = job.sampler.gather(bench.order[0], rng)
    x, targets, *_ = mixup(batch, job.tagger.input, job.recipe, device=device.name, rng=rng)
    network = state.network if network is None else network
    return lambda _: train(network, state.optimizer, x, targets, device)


HEADER = (
    f"{'network':16} {'batch':>5} | {'clips/s':>9} {'fed':>9} {'ratio':>7} | {'of peak':>7} |"
    f" {'input':>6} | {'40 epochs, 10 folds':>19} | {'folds':>5} | compiled"
)


def line(row: Row, peak: float) -> str:
    speeds = (row.batch_size / row.resident, row.batch_size / row.fed)
    return (
        f"{row.name:16} {row.batch_size:5} | {speeds[0]:9,.1f} {speeds[1]:9,.1f} "
        f"{row.ratio.median:6.2f}x | {row.of_peak(peak):7.1%} | {row.input_share:6.1%} | "
        f"{row.run_seconds / 60:15,.1f} min | {_ratio(row.resident, row.folds):>5} | {_gain(row)}"
    )


def _gain(row: Row) -> str:
    gain = _ratio(row.alone, row.compiled)
    return f"{gain} after {row.compile_seconds:.0f} s" if gain else ""


def _ratio(usual: float, other: float | None) -> str:
    return "" if other is None else f"{usual / other:.2f}x"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--threads", type=int, default=1, help="of the processor")
    parser.add_argument("--steps", type=int, default=50, help="in a row that are timed together")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--batch", type=int, help="instead of the profiles' own")
    parser.add_argument("--compile", action="store_true", help="time torch.compile, too")
    parser.add_argument("--folds", type=int, default=1, help="trainings in one process")
    parser.add_argument("--only", choices=[*MODELS, *OTHERS], action="append")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU is at hand; --device cpu --steps 2 --batch 4 shows that it runs")
    set_up_process(threads=options.threads)
    networks = {**MODELS, **{name: (name, size) for name, size in OTHERS.items()}}
    networks = {name: networks[name] for name in options.only or networks}
    where = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    print(f"{where}, torch {torch.__version__}")
    peak = print_peaks(options.device, clock(options.device, options.threads))[1]
    print(HEADER, flush=True)
    rows = []
    for name, (network, size) in networks.items():
        rows.append(measure(name, network, options.batch or size, options))
        print(line(rows[-1], peak), flush=True)
    ours = [row for row in rows if row.name in MODELS]
    if len(ours) == len(MODELS):
        minutes = sum(row.run_seconds for row in ours) / 60
        least = sum(row.least_seconds(peak) for row in ours) / 60
        print(f"the four models of Shan & Ren: {minutes:,.1f} minutes from these rates", end="")
        print(f", {least:,.1f} by their multiply-adds at the peak")


if __name__ == "__main__":
    with clean_exit("gpu"):
        main()
