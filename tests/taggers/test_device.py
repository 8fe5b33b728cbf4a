"""The device is the one that params.yaml asks for, with its number of threads."""

from collections.abc import Iterator

import pytest
import torch

from earmark.errors import UserError
from earmark.networks import build
from earmark.params import Runtime
from earmark.taggers.device import Device


def runtime(**changes: object) -> Runtime:
    values = {"threads": 1, "workers": 1, "device": "cpu", "precision": "bfloat16"}
    return Runtime.model_validate(
        {**values, "channels_last": True, "checkpoint_seconds": 60.0, **changes}
    )


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_threads_are_those_of_the_params_whatever_was_set_before(
    n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    torch.set_num_threads(2)
    Device.choose(runtime(threads=n_threads))
    assert torch.get_num_threads() == n_threads


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"runtime\.device: cuda is not available.* auto"):
        Device.choose(runtime(device="cuda"))
    assert Device.choose(runtime(device="auto")).name == "cpu"


def test_a_network_computes_in_the_precision_of_its_device() -> None:
    device = Device.choose(runtime())
    network = device.place(build("cnn2d", 2, {"base_width": 2})).eval()
    with device.autocast():
        assert network.forward_features(torch.zeros(1, 16, 16)).dtype == torch.bfloat16
    with Device.choose(runtime(precision="float32")).autocast():
        assert network.forward_features(torch.zeros(1, 16, 16)).dtype == torch.float32
