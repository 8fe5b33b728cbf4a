"""Taggers: saved, loaded and asked for probabilities; their inputs and their crops."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from earmark.errors import UserError
from earmark.params import Crops
from earmark.store import Store, StoreWriter
from earmark.taggers.device import Device
from earmark.taggers.input import FusionInput, FusionStore, Input, Pair, crop_rng, crops_of
from earmark.taggers.tagger import Tagger

CPU = Device(name="cpu", precision="float32", channels_last=True)
WAVE = Input(
    feature="wave16k", type_name="waveform", options={"target_hz": 16_000}, sample_rate=44_100,
    lengths=[162],
    padding="right", silence=[0.0], mean=[0.0], std=[32_768.0],
)  # fmt: skip
OPTIONS = {"n_samples": 162, "width": 0.1}
TAGS = ["Bark", "Cough"]


def segments(input_: Input, rows: Any, crops: Crops, *, n_crops: int = 6, **key: str) -> list[Any]:
    rng = crop_rng(1, **{"member": "m", "fold": "0", "sha256": "c"} | key)
    return input_.prediction_segments(rows, crops=crops, n_crops=n_crops, rng=rng)


def crop_starts(n_rows: int, crops: Crops, **key: str) -> list[int]:
    rows = np.arange(n_rows, dtype=np.int16)
    return [int(crop[0]) for crop in segments(WAVE, rows, crops, **key)]


def new(**changes: Any) -> Tagger:
    return Tagger.new("samplecnn", OPTIONS, **{"tags": TAGS, "input_": WAVE, **changes})


def test_a_loaded_tagger_gives_the_same_probabilities(tmp_path: Path) -> None:
    tagger = new()
    CPU.place(tagger.network)
    batch = np.random.default_rng(0).integers(-9000, 9000, (3, 162)).astype(np.int16)
    tagger.save(tmp_path / "model", {"fold": "0"})
    loaded = Tagger.load(tmp_path / "model", CPU)
    assert (loaded.tags, loaded.input) == (tagger.tags, tagger.input)
    np.testing.assert_array_equal(
        loaded.probabilities(batch, CPU), tagger.probabilities(batch, CPU)
    )


def test_a_saved_tagger_holds_no_pickle(tmp_path: Path) -> None:
    new().save(tmp_path / "model", {})
    assert {p.name for p in (tmp_path / "model").iterdir()} == {"weights.safetensors", "model.json"}
    assert json.loads((tmp_path / "model" / "model.json").read_text())["network"] == {
        "name": "samplecnn", **OPTIONS,
    }  # fmt: skip


@pytest.mark.parametrize(("format_", "age"), [(3, "an older"), (99, "another"), ("x", "another")])
def test_a_model_of_another_format_says_to_train_again(
    tmp_path: Path, format_: object, age: str
) -> None:
    new().save(tmp_path / "model", {})
    path = tmp_path / "model" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": format_}))
    with pytest.raises(UserError, match=f"made by {age} earmark .*; run `dvc repro`"):
        Tagger.load(tmp_path / "model", CPU)


def test_int16_samples_reach_the_network_between_minus_1_and_1() -> None:
    batch = np.array([[-32_768, 0, 16_384]], dtype=np.int16)
    assert WAVE.tensor(batch, "cpu").tolist() == [[-1.0, 0.0, 0.5]]


def test_patches_are_stacked_in_time() -> None:
    input_ = Input(
        feature="patches", type_name="patches", options={}, sample_rate=44_100, lengths=[5],
        padding="tile", silence=[-4.6], mean=[0.0], std=[1.0],
    )  # fmt: skip
    batch = np.random.default_rng(0).normal(size=(2, 5, 96, 64)).astype(np.float16)
    x = input_.tensor(batch, "cpu")
    assert x.shape == (2, 480, 64)
    torch.testing.assert_close(x[0, 96:192], torch.from_numpy(batch[0, 1]).float())


def test_random_crops_depend_on_sound_member_and_fold_and_lie_inside() -> None:
    starts = crop_starts(500, "random")
    assert starts == crop_starts(500, "random")
    for key in ("sha256", "member", "fold"):
        assert starts != crop_starts(500, "random", **{key: "other"})
    assert len(starts) == 6
    assert 0 <= min(starts) <= max(starts) <= 500 - 162


def test_a_mean_is_of_crops_that_cover_the_clip_and_the_best_needs_both() -> None:
    assert crops_of("mean") == ["cover"]
    assert crops_of("confident_crop") == crops_of("mean_of_random_crops") == ["random"]
    assert crops_of("best_out_of_fold") == ["cover", "random"]


@pytest.mark.parametrize("n_rows", [10, 162])
def test_a_clip_not_longer_than_a_segment_is_predicted_once(n_rows: int) -> None:
    assert crop_starts(n_rows, "random") == [0]


def test_the_mean_covers_the_clip_with_the_last_segment_aligned_to_its_end() -> None:
    assert crop_starts(400, "cover") == [0, 162, 400 - 162]


def test_a_bag_is_cut_into_chunks_and_the_last_one_is_tiled_from_the_start() -> None:
    bag = Input(**{**WAVE.__dict__, "type_name": "embedding", "padding": "tile", "lengths": [4]})
    rows = np.arange(6)[:, None] * np.ones((1, 3))
    crops = segments(bag, rows, "cover")
    assert [crop[:, 0].tolist() for crop in crops] == [[0, 1, 2, 3], [4, 5, 0, 1]]


def test_several_lengths_are_tried_in_turn() -> None:
    input_ = Input(**{**WAVE.__dict__, "lengths": [100, 50]})
    crops = segments(input_, np.arange(200), "random", n_crops=2)
    assert [len(crop) for crop in crops] == [100, 50, 100, 50]
    short = segments(input_, np.arange(70), "random", n_crops=2)
    assert [len(crop) for crop in short] == [100, 50, 50], "the longer one is predicted once"


def test_crops_of_several_lengths_have_the_probabilities_that_each_has_alone() -> None:
    input_ = Input(**{**WAVE.__dict__, "type_name": "logmel", "std": [1.0], "lengths": [40, 32]})
    options = {"growth": 4, "stem_channels": 4, "units": 1, "n_blocks": 2}
    tagger = Tagger.new("densenet", options, tags=TAGS, input_=input_)
    rng = np.random.default_rng(0)
    crops = [rng.normal(size=(n, 20)).astype(np.float16) for n in (40, 32, 40, 32, 40)]
    together = tagger.clip_probabilities(crops, CPU, batch_size=2)
    for crop, probabilities in zip(crops, together, strict=True):
        alone = tagger.probabilities(crop[None], CPU)[0]
        np.testing.assert_allclose(probabilities, alone, rtol=1e-4)


def test_a_sigmoid_treats_each_tag_by_itself_and_aux_labels_are_left_out() -> None:
    batch = np.random.default_rng(0).integers(-9000, 9000, (3, 162)).astype(np.int16)
    tagger = new(activation="sigmoid", aux_labels=["Dog", "Cat", "Cow"])
    logits = tagger.network.eval()(WAVE.tensor(batch, "cpu"))
    assert logits.shape == (3, 5)
    expected = logits[:, :2].sigmoid().detach().numpy()
    np.testing.assert_allclose(tagger.probabilities(batch, CPU), expected, rtol=1e-5)
    softmax = new(aux_labels=["Dog"]).probabilities(batch, CPU)
    np.testing.assert_allclose(softmax.sum(axis=1), 1, rtol=1e-5)


FUSION = FusionInput(
    feature="fusion", type_name="logmel", options={}, sample_rate=44_100, lengths=[3],
    padding="tile_gap", silence=[-9.0], mean=[1.0], std=[2.0], audio=WAVE, hop_length=100,
)  # fmt: skip


def test_a_fusion_crop_is_one_moment_of_both_features() -> None:
    audio = Input(**{**WAVE.__dict__, "lengths": [300]})
    fusion = FusionInput(**{**FUSION.__dict__, "audio": audio})
    rows = Pair(np.arange(850, dtype=np.int16), np.arange(9)[:, None] * np.ones((1, 2)))
    for crop in segments(fusion, rows, "random", n_crops=1):
        assert crop.audio.shape == (300,)
        assert crop.audio[0] == 100 * crop.spec[0, 0]
    x, frames = fusion.tensor(fusion.stack([crop, crop]), "cpu")
    assert x.shape == (2, 300)
    assert frames.shape == (2, 3, 2)
    torch.testing.assert_close(frames[0], torch.from_numpy(crop.spec - 1).float() / 2)


def test_a_fusion_tagger_reads_the_same_input_when_saved_and_loaded_twice(tmp_path: Path) -> None:
    options = {"n_samples": 8192, "audio_width": 0.05, "n_frames": 64, "n_mels": 64,
               "spec_width": 0.02}  # fmt: skip
    tagger = Tagger.new("cnn_comb", options, tags=TAGS, input_=FUSION)
    for _ in range(2):
        tagger.save(tmp_path / "model", {})
        tagger = Tagger.load(tmp_path / "model", CPU)
        assert tagger.input == FUSION


def test_unequal_clips_in_two_stores_are_never_paired(tmp_path: Path) -> None:
    stores = []
    for i, clip in enumerate(("a", "b")):
        with StoreWriter(tmp_path / clip, row_shape=(), dtype="int16") as out:
            out.append(np.zeros(i + 1, dtype=np.int16), clip=clip, variant="")
        stores.append(Store.open(tmp_path / clip))
    with pytest.raises(AssertionError, match="same clips"):
        FusionStore(*stores)


@pytest.mark.parametrize("batch_size", [2, 64])
def test_embeddings_are_the_features_of_each_segment(batch_size: int) -> None:
    tagger = new()
    segments = np.random.default_rng(0).integers(-9000, 9000, (5, 162)).astype(np.int16)
    segments.flags.writeable = False  # as in a store that is mapped from its file
    embeddings = tagger.embeddings(segments, CPU, batch_size=batch_size)
    assert (embeddings.dtype, embeddings.shape) == (np.float32, (5, tagger.embedding_dim))
    features = tagger.network.eval().forward_features(WAVE.tensor(segments, "cpu"))
    np.testing.assert_allclose(embeddings, features.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_a_network_without_feature_vectors_embeds_nothing() -> None:
    tagger = Tagger.new("soundnet", {"width": 0.0625}, tags=TAGS, input_=WAVE)
    with pytest.raises(ValueError, match=r"soundnet gives no feature vectors; .*such as vggish"):
        tagger.embeddings(np.zeros((1, 88_200), np.int16), CPU, batch_size=1)


def test_a_clip_too_long_to_be_read_whole_is_refused_in_one_line(monkeypatch) -> None:
    whole = replace(WAVE, lengths=[0])
    monkeypatch.setattr("earmark.taggers.input._LARGEST_WHOLE_BYTES", 4000)
    assert whole.stack([np.zeros(1000), np.zeros(3)]).shape == (2, 1000)
    with pytest.raises(UserError, match=r"a clip has 1001 rows of feature wave16k.* read 1000; "):
        whole.stack([np.zeros(1001), np.zeros(3)])


def test_crops_of_mapped_rows_give_what_those_in_memory_do(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("earmark.taggers.tagger._BATCHES_HELD", 2)
    rows = np.random.default_rng(0).integers(-9000, 9000, 162 * 50).astype(np.int16)
    rows.tofile(tmp_path / "rows")
    mapped = np.asarray(np.memmap(tmp_path / "rows", np.int16, "r"))
    tagger = new()
    released: list[Any] = []
    monkeypatch.setattr("earmark.taggers.input.release", released.append)
    of_both = [
        tagger.clip_probabilities(segments(WAVE, clip, "cover"), CPU, batch_size=4)
        for clip in (rows, mapped)
    ]
    np.testing.assert_array_equal(*of_both)
    assert len(released) == 2 * 6  # every second of 13 batches
