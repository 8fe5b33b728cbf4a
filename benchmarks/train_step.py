"""Clips per second of each network at its paper's size: python -m benchmarks.train_step.

Times a forward pass and a training step (forward, backward, Adam) twice: in float32 with the
default memory layout, and under bfloat16 autocast in channels_last. Both are timed in the same run,
taking turns, so that their ratio holds on a machine that others use.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from earmark.catalogue import FORMS
from earmark.networks import NETWORKS, build

N_TAGS = 41
SHAPES = {form.network: form.shape for form in FORMS if not form.options}


class Setting(NamedTuple):
    """One way of computing, with the network and optimiser that it is timed on."""

    network: nn.Module
    optimiser: torch.optim.Optimizer
    bfloat16: bool


def setting(name: str, bfloat16: bool, device: str) -> Setting:
    """Build a network; bfloat16 goes together with channels_last."""
    torch.manual_seed(0)
    network = build(name, N_TAGS, {}).to(device)
    if bfloat16:
        network.channels_last()
    return Setting(network, torch.optim.Adam(network.parameters(), 1e-4, fused=True), bfloat16)


def forward(how: Setting, x: Tensor) -> Tensor:
    """Compute the logits under the setting's autocast."""
    with torch.autocast(x.device.type, torch.bfloat16, enabled=how.bfloat16):
        logits: Tensor = how.network(x)
    return logits


def predict(how: Setting, x: Tensor) -> None:
    """Run a forward pass alone."""
    how.network.eval()
    with torch.inference_mode():
        forward(how, x)


def train(how: Setting, x: Tensor) -> None:
    """Run one training step."""
    how.network.train()
    targets = torch.arange(len(x), device=x.device) % N_TAGS
    nn.functional.cross_entropy(forward(how, x), targets).backward()  # type: ignore[no-untyped-call]
    how.optimiser.step()
    how.optimiser.zero_grad()


def seconds(step: Callable[[Setting, Tensor], None], how: Setting, x: Tensor) -> float:
    """Time one step, waiting for the device to finish it."""
    start = time.perf_counter()
    step(how, x)
    if x.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(name: str, batch: int, repeats: int, device: str) -> None:
    """Print one network's size and speeds."""
    x = torch.randn(batch, *SHAPES[name], device=device)
    ways = [setting(name, bfloat16, device) for bfloat16 in (False, True)]
    with FlopCounterMode(display=False) as counter:
        predict(ways[0], x[:1])
    n_params = sum(p.numel() for p in ways[0].network.parameters())
    macs = counter.get_total_flops() / 2e6
    print(f"{name}: {n_params:,} parameters, {macs:,.1f} M multiply-adds a clip, batch {batch}")
    for label, step in (("forward", predict), ("training step", train)):
        times = [[seconds(step, how, x) for how in ways] for _ in range(repeats + 1)][1:]
        plain, fast = (batch / median(column) for column in zip(*times, strict=True))
        print(
            f"  {label:14} float32 {plain:10,.1f}   bfloat16 channels_last {fast:10,.1f} clips/s"
            f"   x {fast / plain:.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--network", choices=[*NETWORKS], help="one network instead of all")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in [options.network] if options.network else NETWORKS:
        measure(name, options.batch, options.repeats, options.device)


if __name__ == "__main__":
    main()
