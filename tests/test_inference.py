"""Kept models, their inputs and their crops."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from earmark.errors import UserError
from earmark.inference import Device, Input, Tagger, load_weights
from earmark.networks import build

CPU = Device(name="cpu", precision="float32", channels_last=True)
WAVE = Input(
    kind="wave16k", options={"target_hz": 16_000}, sample_rate=44_100, segment_rows=162,
    rule="mean", silence=[0.0], mean=[0.0], std=[32_768.0],
)  # fmt: skip
OPTIONS = {"n_samples": 162, "width": 0.1}


def crop_starts(input_: Input, n_rows: int, clip: str = "c") -> list[int]:
    return input_.crop_starts(n_rows, n_crops=6, seed=1, clip=clip).tolist()


def test_a_kept_model_says_the_same_after_it_is_loaded(tmp_path: Path) -> None:
    tagger = Tagger.new("samplecnn", OPTIONS, ["Bark", "Cough"], WAVE)
    CPU.place(tagger.network)
    batch = np.random.default_rng(0).integers(-9000, 9000, (3, 162)).astype(np.int16)
    tagger.save(tmp_path / "model", {"fold": "0"})
    loaded = Tagger.load(tmp_path / "model", CPU)
    assert (loaded.tags, loaded.input) == (tagger.tags, tagger.input)
    np.testing.assert_array_equal(
        loaded.probabilities(batch, CPU), tagger.probabilities(batch, CPU)
    )


def test_a_kept_model_holds_no_pickle(tmp_path: Path) -> None:
    Tagger.new("samplecnn", OPTIONS, ["Bark", "Cough"], WAVE).save(tmp_path / "model", {})
    assert {p.name for p in (tmp_path / "model").iterdir()} == {"weights.safetensors", "model.json"}
    assert json.loads((tmp_path / "model" / "model.json").read_text())["network"] == {
        "name": "samplecnn", **OPTIONS,
    }  # fmt: skip


def test_a_model_of_another_format_says_to_train_again(tmp_path: Path) -> None:
    Tagger.new("samplecnn", OPTIONS, ["Bark", "Cough"], WAVE).save(tmp_path / "model", {})
    path = tmp_path / "model" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(UserError, match="train it again"):
        Tagger.load(tmp_path / "model", CPU)


def test_int16_samples_reach_the_network_between_minus_1_and_1() -> None:
    batch = np.array([[-32_768, 0, 16_384]], dtype=np.int16)
    assert WAVE.tensor(batch, CPU).tolist() == [[-1.0, 0.0, 0.5]]


def test_patches_are_stacked_in_time() -> None:
    input_ = Input(
        kind="patches", options={}, sample_rate=44_100, segment_rows=5, rule="mean",
        silence=[-4.6], mean=[0.0], std=[1.0],
    )  # fmt: skip
    batch = np.random.default_rng(0).normal(size=(2, 5, 96, 64)).astype(np.float16)
    x = input_.tensor(batch, CPU)
    assert x.shape == (2, 480, 64)
    torch.testing.assert_close(x[0, 96:192], torch.from_numpy(batch[0, 1]).float())


def test_random_crops_depend_on_the_clip_alone_and_lie_inside() -> None:
    input_ = Input(**{**WAVE.__dict__, "rule": "recrop"})
    starts = crop_starts(input_, 500)
    assert starts == crop_starts(input_, 500)
    assert starts != crop_starts(input_, 500, clip="other")
    assert len(starts) == 6
    assert 0 <= min(starts) <= max(starts) <= 500 - 162


@pytest.mark.parametrize("n_rows", [10, 162])
def test_a_clip_not_longer_than_a_segment_is_predicted_once(n_rows: int) -> None:
    assert crop_starts(Input(**{**WAVE.__dict__, "rule": "recrop"}), n_rows) == [0]


def test_the_mean_rule_covers_the_clip_with_the_last_segment_aligned_to_its_end() -> None:
    assert crop_starts(WAVE, 400) == [0, 162, 400 - 162]


def test_a_bag_is_cut_into_chunks_and_the_last_one_is_filled_from_the_start() -> None:
    bag = Input(**{**WAVE.__dict__, "kind": "embedding", "segment_rows": 4})
    rows = np.arange(6)[:, None] * np.ones((1, 3))
    starts = crop_starts(bag, 6)
    assert starts == [0, 4]
    assert bag.cut(rows, starts[1])[:, 0].tolist() == [4, 5, 0, 1]


def vggish() -> torch.nn.Module:
    return build("vggish", 3, {"width": 0.05, "fc": 64})


def kept_trunk(path: Path) -> str:
    torch.manual_seed(5)
    state = {k: v for k, v in vggish().state_dict().items() if not k.startswith("head")}
    save_file(state, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_pinned_weights_fill_the_trunk_and_leave_the_head_fresh(tmp_path: Path) -> None:
    sha256 = kept_trunk(tmp_path / "trunk.safetensors")
    network = vggish()
    fresh = load_weights(network, tmp_path / "trunk.safetensors", sha256)
    assert all(name.startswith("head") for name in fresh)
    torch.manual_seed(5)
    torch.testing.assert_close(network.state_dict()["features.0.weight"],
                               vggish().state_dict()["features.0.weight"])  # fmt: skip


def test_weights_that_are_not_the_pinned_ones_are_refused(tmp_path: Path) -> None:
    kept_trunk(tmp_path / "trunk.safetensors")
    with pytest.raises(UserError, match="sha256 is"):
        load_weights(vggish(), tmp_path / "trunk.safetensors", "0" * 64)


def test_weights_of_another_width_are_refused_by_name(tmp_path: Path) -> None:
    sha256 = kept_trunk(tmp_path / "trunk.safetensors")
    with pytest.raises(UserError, match=r"trunk\.safetensors: \S+ \([\d, ]+\) does not fit"):
        load_weights(build("vggish", 3, {"width": 0.1, "fc": 64}),
                     tmp_path / "trunk.safetensors", sha256)  # fmt: skip


def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trunk.pth"
    path.write_bytes(b"\x80\x02pickle")
    with pytest.raises(UserError, match="no safetensors file"):
        load_weights(vggish(), path, hashlib.sha256(path.read_bytes()).hexdigest())
