"""Weight files: only the pinned ones are read, and only where they fit."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from earmark.errors import UserError
from earmark.networks import Network, build
from earmark.weights import load_weights


def vggish() -> Network:
    return build("vggish", 3, {"width": 0.05, "fc": 64})


def saved_backbone(path: Path) -> str:
    torch.manual_seed(5)
    state = {k: v for k, v in vggish().state_dict().items() if not k.startswith("head")}
    save_file(state, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_pinned_weights_load_into_the_backbone_and_leave_the_head_fresh(tmp_path: Path) -> None:
    sha256 = saved_backbone(tmp_path / "backbone.safetensors")
    network = vggish()
    fresh = load_weights(network, tmp_path / "backbone.safetensors", sha256)
    assert all(name.startswith("head") for name in fresh)
    torch.manual_seed(5)
    torch.testing.assert_close(network.state_dict()["features.0.weight"],
                               vggish().state_dict()["features.0.weight"])  # fmt: skip


def test_a_fresh_head_is_not_taken_from_a_file_that_has_one(tmp_path: Path) -> None:
    torch.manual_seed(5)
    save_file(vggish().state_dict(), tmp_path / "model.safetensors")
    sha256 = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    network = vggish()
    before = network.state_dict()["head.2.weight"].clone()
    tag_tensors = network.tag_tensors()
    fresh = load_weights(network, tmp_path / "model.safetensors", sha256, fresh=tag_tensors)
    assert set(fresh) == tag_tensors == {"head.2.weight", "head.2.bias"}
    torch.testing.assert_close(network.state_dict()["head.2.weight"], before)


def test_weights_that_are_not_the_pinned_ones_are_refused(tmp_path: Path) -> None:
    saved_backbone(tmp_path / "backbone.safetensors")
    with pytest.raises(UserError, match=r"sha256 is .*; restore the file"):
        load_weights(vggish(), tmp_path / "backbone.safetensors", "0" * 64)


def test_weights_of_another_width_are_refused_by_name(tmp_path: Path) -> None:
    sha256 = saved_backbone(tmp_path / "backbone.safetensors")
    with pytest.raises(UserError, match=r"backbone\.safetensors: \S+ \([\d, ]+\) does not fit"):
        load_weights(build("vggish", 3, {"width": 0.1, "fc": 64}),
                     tmp_path / "backbone.safetensors", sha256)  # fmt: skip


def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "backbone.pth"
    path.write_bytes(b"\x80\x02pickle")
    with pytest.raises(UserError, match="no safetensors file"):
        load_weights(vggish(), path, hashlib.sha256(path.read_bytes()).hexdigest())
