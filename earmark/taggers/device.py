"""Where and how exactly networks are computed."""

from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from earmark.errors import UserError
from earmark.networks import Network
from earmark.params import Runtime


@dataclass(frozen=True, kw_only=True)
class Device:
    """The device that networks are computed on, and the precision and layout of the computation.

    Attributes:
        name: of the device as torch has it, "cpu" or "cuda".
        precision: "float32", or "bfloat16" for autocast.
        channels_last: whether kernels are laid out channels last.
    """

    name: str
    precision: str
    channels_last: bool

    @classmethod
    def choose(cls, runtime: Runtime) -> "Device":
        """Return the device that `runtime` asks for, and set torch's number of threads to its own.

        The environment (OMP_NUM_THREADS) does not count, nor who imported torch first: another
        number of threads gives other last bits, so only params.yaml decides it.

        Raises:
            UserError: runtime.device is cuda and there is none.
        """
        torch.set_num_threads(runtime.threads)
        has_cuda = torch.cuda.is_available()
        if runtime.device == "cuda" and not has_cuda:
            raise UserError("runtime.device: cuda is not available here; set it to auto")
        name = "cuda" if has_cuda and runtime.device != "cpu" else "cpu"
        return cls(name=name, precision=runtime.precision, channels_last=runtime.channels_last)

    def place(self, network: Network) -> Network:
        """Move a network to the device, in its layout; returns the same network."""
        network.to(self.name)
        return network.channels_last() if self.channels_last else network

    def autocast(self) -> torch.autocast:
        """Return the context in which a forward pass has the device's precision."""
        enabled = self.precision == "bfloat16"
        return torch.autocast(self.name, dtype=torch.bfloat16, enabled=enabled)


def on_device(values: NDArray[Any], device: str) -> Tensor:
    """Values on a device: on the CPU in the memory of `values`, on a GPU without waiting for it.

    To copy from memory that may be paged out, torch waits until the GPU has done all it was given,
    and it idles until it is given more.
    """
    tensor = torch.from_numpy(values)
    if device == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)
