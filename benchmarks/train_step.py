"""How fast each network trains: python -m benchmarks.train_step.

Times a forward pass and a training step (forward, backward, gradient clip, Adam) in three ways:

    plain      float32 in PyTorch's default layout, in a process as Python starts it
    float32    the same in a process that is set up as the stages' are
    earmark    as the stages train: the same process, bfloat16 autocast, channels_last

Each way has a process of its own, and they take turns, so that ratios hold on a machine that
others use. One-dimensional networks are 1 x k convolutions in all three. A step counts as three
forward passes of multiply-adds, as is usual (the gradients of the values and of the kernels), but
as one for a network on frozen backbones.

`--precision-check` trains one network to the end in float32 and as earmark does, and scores both.
"""

import argparse
from functools import partial
from multiprocessing.connection import Connection
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks import precision
from benchmarks.batch_source import source
from benchmarks.peak import Clock, clock, convolution_peak, matrix_peak
from benchmarks.turns import Spread, in_turns
from earmark.exits import clean_exit
from earmark.networks import build
from earmark.networks.paper_configs import PAPER_CONFIGS, PaperConfig, cost
from earmark.processes import die_with_parent, set_up_process
from earmark.seeding import rng_for
from earmark.taggers.device import Device

STEP_MULTIPLY_ADDS = 64e9  # of a batch's forward pass; float32 keeps all its maps in memory
LEAST, MOST = 4, 32  # clips of a batch; profiles/base.yaml has 32
MOST_PATCHES = 128  # each clip has several (Xu et al., section 2.2)


class Way(NamedTuple):
    """One way of computing."""

    precision: str
    channels_last: bool
    as_stages: bool  # the process' allocator

    def device(self, name: str) -> Device:
        return Device(name=name, precision=self.precision, channels_last=self.channels_last)


WAYS = (Way("float32", False, False), Way("float32", False, True), Way("bfloat16", True, True))


class Options(NamedTuple):
    """What a worker needs to know."""

    device: str
    threads: int
    batch_size: int


class Times(NamedTuple):
    """Seconds for a batch: until the network can read it, forward, and the training step."""

    gather: float
    forward: float
    step: float


NETWORKS = list(dict.fromkeys(config.network for config in PAPER_CONFIGS))


def config_of(name: str) -> PaperConfig:
    """The network with its default options, or as its paper has it where none has those."""
    configs = [config for config in PAPER_CONFIGS if config.network == name]
    return next((config for config in configs if not config.options), configs[0])


def batch_size_of(config: PaperConfig) -> int:
    """A power of two, as large as training has it where a step then stays at a few seconds."""
    most = MOST_PATCHES if config.network == "vggish" else MOST
    wanted = STEP_MULTIPLY_ADDS / cost(config).n_multiply_adds
    return next((n for n in (128, 64, 32, 16, 8) if n <= min(wanted, most)), LEAST)


def forward_passes(config: PaperConfig) -> int:
    """How many forward passes a training step costs."""
    network = build(config.network, config.n_tags, config.options)
    return 3 if all(p.requires_grad for p in network.parameters()) else 1


def work(config: PaperConfig, way: Way, options: Options, pipe: Connection) -> None:
    """Answer every number received with the times of that turn; None ends it."""
    die_with_parent()
    if way.as_stages:
        set_up_process(threads=options.threads)
    torch.set_num_threads(options.threads)
    sampler, device = source(config, options.batch_size), way.device(options.device)
    torch.manual_seed(0)
    network = device.place(build(config.network, config.n_tags, config.options))
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, 1e-4, fused=True)
    now = clock(options.device, options.threads)
    while (turn := pipe.recv()) is not None:
        rng = rng_for(0, "benchmark", turn)
        positions = sampler.order(rng)[0]
        start = now()
        batch = sampler.gather(positions, rng)
        x = sampler.input.tensor(batch.segments, options.device)
        targets = torch.from_numpy(batch.targets).to(options.device)
        gathered = now()
        predict(network, x, device)
        predicted = now()
        train(network, optimizer, x, targets, device)
        pipe.send(Times(gathered - start, predicted - gathered, now() - predicted))


def predict(network: nn.Module, x: Any, device: Device) -> None:
    """Run a forward pass alone."""
    network.eval()
    with torch.inference_mode(), device.autocast():
        network(x)


def train(
    network: nn.Module, optimizer: torch.optim.Optimizer, x: Any, targets: Tensor, device: Device
) -> None:
    """Run one training step."""
    network.train()
    with device.autocast():
        logits = network(x)
    optimizer.zero_grad(set_to_none=True)
    nn.functional.cross_entropy(logits.float(), targets).backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimizer.step()


def measure(config: PaperConfig, options: Options, repeats: int) -> list[list[Times]]:
    """For each turn the times of each way, after a turn that does not count."""
    servers = [partial(work, config, way, options) for way in WAYS]
    hint = "memory has probably run out: give a smaller --batch"
    return in_turns(servers, repeats + 1, hint=hint)[1:]


HEADER = (
    f"{'':20} {'':5} {'million':>8} {'million':>9} | {'forward, clips/s':^17} |"
    f" {'training step, clips/s':^33} | {'step, of peak':^14} | {'data':>6}\n"
    f"{'network':20} {'batch':>5} {'params':>8} {'mult-adds':>9} | {'plain':>8} {'earmark':>8} |"
    f" {'plain':>8} {'float32':>8} {'earmark':>8} {'ratio':>6} | {'plain':>6} {'earmark':>7} |"
    f" {'share':>6}"
)


class Row(NamedTuple):
    """What a network reached; the median times of each way, and the ratio of each turn."""

    config: PaperConfig
    batch_size: int
    times: list[Times]
    ratio: Spread

    @classmethod
    def of(cls, config: PaperConfig, batch_size: int, rounds: list[list[Times]]) -> "Row":
        times = [
            Times(*map(median, zip(*of_way, strict=True))) for of_way in zip(*rounds, strict=True)
        ]
        ratio = Spread.of([turn[0].step / turn[-1].step for turn in rounds])
        return cls(config, batch_size, times, ratio)

    @property
    def data_share(self) -> float:
        """Of a step as earmark trains, what gathering its batch takes."""
        earmark = self.times[-1]
        return earmark.gather / (earmark.gather + earmark.step)

    def of_peak(self, peaks: list[float]) -> list[float]:
        """What plain float32 and earmark reach of the best that the machine does."""
        per_clip = forward_passes(self.config) * cost(self.config).n_multiply_adds
        both = zip((self.times[0], self.times[-1]), peaks, strict=True)
        return [per_clip * self.batch_size / times.step / peak for times, peak in both]

    def record(self, peaks: list[float]) -> dict[str, Any]:
        """For metrics/benchmarks.json; clips a second."""
        plain, float32, earmark = (self.batch_size / t.step for t in self.times)
        return {
            "network": self.config.network,
            "batch": self.batch_size,
            "plain": float(f"{plain:.3g}"),
            "float32": float(f"{float32:.3g}"),
            "earmark": float(f"{earmark:.3g}"),
            "ratio": [round(value, 2) for value in self.ratio],
            "of_peak": round(self.of_peak(peaks)[1], 3),
            "data": round(self.data_share, 4),
        }


def line(row: Row, peaks: list[float]) -> str:
    """One network's row; the ratio is that of earmark to plain, the data share earmark's."""
    config, batch_size, (plain, _, earmark) = row.config, row.batch_size, row.times
    n_parameters, n_multiply_adds = cost(config)
    shares = row.of_peak(peaks)
    steps = " ".join(f"{batch_size / t.step:8,.1f}" for t in row.times)
    return (
        f"{config.network:20} {batch_size:5} {n_parameters / 1e6:8,.2f} "
        f"{n_multiply_adds / 1e6:9,.1f} | {batch_size / plain.forward:8,.1f} "
        f"{batch_size / earmark.forward:8,.1f} | {steps} "
        f"{row.ratio.median:5.2f}x | {shares[0]:6.1%} {shares[1]:7.1%} | "
        f"{row.data_share:6.2%}"
    )


def print_peaks(device: str, now: Clock) -> list[float]:
    """Print both peaks in both precisions; returns the better of the two for each."""
    best = []
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        peaks = convolution_peak(dtype, device, now), matrix_peak(dtype, device, now)
        shown = " and ".join(f"{peak / 1e9:,.0f}" for peak in peaks)
        print(f"{name} peak: {shown} billion multiply-adds/s of 3x3 convolutions and matrices")
        best.append(max(peaks))
    return best


def speeds(
    names: list[str], device: str, threads: int, batch: int | None, repeats: int
) -> tuple[list[Row], list[float]]:
    """Print the peaks, and a row for each network; both are returned."""
    rows = []
    print(f"{device}, {threads} thread(s), torch {torch.__version__}")
    peaks = print_peaks(device, clock(device, threads))
    print(HEADER, flush=True)
    for name in names:
        config = config_of(name)
        batch_size = batch or batch_size_of(config)
        rounds = measure(config, Options(device, threads, batch_size), repeats)
        rows.append(Row.of(config, batch_size, rounds))
        print(line(rows[-1], peaks), flush=True)
    return rows, peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--network", choices=NETWORKS, action="append", help="instead of all")
    parser.add_argument("--batch", type=int, help="clips; by default what keeps a step short")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision-check", action="store_true", help="train, and score, instead")
    parser.add_argument("--corpus", help="for it: folder of clips.csv, or of class folders")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.precision_check:
        set_up_process(threads=options.threads)
        precision.check(options.corpus, options.device)
        return
    names = options.network or NETWORKS
    speeds(names, options.device, options.threads, options.batch, options.repeats)


if __name__ == "__main__":
    with clean_exit():
        main()
