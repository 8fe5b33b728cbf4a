"""Attention over time sums to one, lies where the sound is, and is drawn for the right tags."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from typer.testing import CliRunner

from earmark.analyses import attention, commands, drawing
from earmark.analyses.attention import Attention, attend, attention_table, most_probable
from earmark.analyses.attention_figure import attention_figure
from earmark.analyses.trained import Trained, load_trained
from earmark.errors import UserError
from earmark.features.logmel import LogMel
from earmark.layout import Layout
from earmark.params import Trim
from earmark.sound.samples import as_int16
from earmark.store import StoreWriter
from earmark.taggers.device import Device
from earmark.taggers.input import Input
from earmark.taggers.tagger import Tagger

CPU = Device(name="cpu", precision="float32", channels_last=False)
RATE = 44_100
TRIM = Trim(top_db=60.0, min_seconds=0.1, normalise=True)
TAGS = ["Bark", "Cough", "Rain"]
PATCHES = Input(
    feature="patches", type_name="patches", options={}, sample_rate=RATE, lengths=[2],
    padding="tile", silence=[-4.6], mean=[-2.0], std=[2.0],
)  # fmt: skip
BAG = Input(
    **{
        **PATCHES.__dict__,
        "feature": "embedding",
        "type_name": "embedding",
        "mean": [0.0],
        "std": [1.0],
    }
)


def loud(seconds: float, *, before: float = 0.0) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)
    return as_int16(np.concatenate([np.zeros(round(before * RATE), np.float32), noise]))


@pytest.fixture(scope="module")
def extractor() -> Tagger:
    torch.manual_seed(0)
    return Tagger.new("vggish", {"width": 0.05, "fc": 32}, tags=TAGS, input_=PATCHES)


def multilevel(**options: int | float | str) -> Tagger:
    torch.manual_seed(1)
    return Tagger.new(
        "multilevel_attention", {"n_inputs": 128, "n_units": 16, **options},
        tags=TAGS, input_=BAG, aux_labels=["indoors", "outdoors"],
    )  # fmt: skip


def cbir(**options: int | str | bool) -> Tagger:
    torch.manual_seed(2)
    small = {"width": 0.03, "hidden": 8, "frozen": True, **options}
    return Tagger.new("cbir", small, tags=TAGS, input_=PATCHES, aux_labels=["indoors"])


def test_levels_attend_to_whole_patches_and_their_weights_sum_to_one(extractor: Tagger) -> None:
    result = attend(loud(5.0), multilevel(levels=2), extractor, CPU, trim_=TRIM)
    assert result.weights.shape == (2, 5, 3)  # of the tags, without the auxiliary labels
    assert result.levels == ["level 2", "level 3"]
    np.testing.assert_allclose(result.weights.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(result.edges_seconds, np.arange(6) * 0.96)
    assert result.probabilities.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("branches", [1, 2])
def test_cbir_attends_to_thirds_of_seconds_and_its_weights_sum_to_one(branches: int) -> None:
    result = attend(loud(3.0), cbir(branches=branches), None, CPU, trim_=TRIM)
    assert result.weights.shape == (branches, 9, 3)
    assert result.levels == ["branch P", "branch R"][:branches]
    np.testing.assert_allclose(result.weights.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.diff(result.edges_seconds), 0.32)


def test_steps_lie_where_the_sound_is_and_not_in_trimmed_silence(extractor: Tagger) -> None:
    result = attend(loud(2.0, before=1.5), multilevel(), extractor, CPU, trim_=TRIM)
    frame = 2048 / RATE
    assert result.edges_seconds[0] == pytest.approx(1.5, abs=frame)
    assert len(result.edges_seconds) == 3
    np.testing.assert_allclose(np.diff(result.edges_seconds), 0.96)


def test_a_clip_shorter_than_a_patch_has_one_step_of_its_own_length(extractor: Tagger) -> None:
    result = attend(loud(0.4), multilevel(), extractor, CPU, trim_=TRIM)
    np.testing.assert_allclose(result.edges_seconds, [0, 0.4], atol=1e-4)
    np.testing.assert_allclose(result.weights, 1)


def test_any_network_with_a_method_attention_will_do() -> None:
    class Mine(torch.nn.Module):
        attention_levels = ("mine",)

        def attention(self, x: torch.Tensor) -> torch.Tensor:
            return torch.full((1, len(x), 4, 3), 0.25)

    tagger = replace(multilevel(), network=Mine())  # type: ignore[arg-type]
    weights, names = attention.attention_weights(tagger, np.zeros((4, 128), np.float32), CPU)
    assert list(names) == ["mine"]
    assert weights.shape == (1, 4, 3)


def test_networks_without_attention_are_refused(extractor: Tagger) -> None:
    for tagger in (extractor, cbir(branches=1, attention=False, n_patches=2)):
        with pytest.raises(UserError, match=f"{tagger.network_name} has no attention over time"):
            attend(loud(1.0), tagger, None, CPU, trim_=TRIM)


def example() -> Attention:
    weights = np.random.default_rng(0).dirichlet(np.ones(4), (2, 3)).transpose(0, 2, 1)
    edges = 0.5 + np.arange(5) * 0.96
    return Attention(weights, np.array([0.2, 0.7, 0.1]), edges, ["level 2", "level 3"])


def test_the_table_has_the_most_probable_tag_first_and_every_drawn_weight() -> None:
    result = example()
    table = attention_table(result, TAGS)
    assert table["tag"].unique().tolist() == ["Cough", "Bark", "Rain"]
    assert len(table) == 2 * 4 * 3
    sums = table.groupby(["tag", "level"])["weight"].sum()
    np.testing.assert_allclose(sums, 1)
    one = table[(table["tag"] == "Rain") & (table["level"] == "level 3")]
    np.testing.assert_allclose(one["weight"], result.weights[1, :, 2])
    np.testing.assert_allclose(one["start_seconds"], result.edges_seconds[:-1])


def test_the_most_probable_come_first_and_equal_ones_in_their_order() -> None:
    assert most_probable(np.array([0.1, 0.4, 0.4, 0.05]), 3) == [1, 2, 0]


def drawn(result: Attention, tags: list[str]) -> Figure:
    return attention_figure(
        np.random.default_rng(0).normal(size=(50, 8)), mel_hz=np.geomspace(100, 8000, 8),
        seconds=5.0, weights=result.weights, edges_seconds=result.edges_seconds,
        levels=result.levels, tags=tags, probabilities=result.probabilities.tolist(), title="a_$b$",
    )  # fmt: skip


def test_the_picture_has_time_in_seconds_and_attention_that_sums_to_one_on_it() -> None:
    result = example()
    figure = drawn(result, TAGS)
    assert all(axes.get_xlim() == (0, 5.0) for axes in figure.axes)
    for column, axes in enumerate(figure.axes[1:]):
        area, *lines = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
        for values, edges, _ in (patch.get_data() for patch in (area, *lines)):
            assert values.sum() == pytest.approx(1)
            np.testing.assert_array_equal(edges, result.edges_seconds)
        np.testing.assert_array_equal(lines[1].get_data()[0], result.weights[1, :, column])
        assert TAGS[column] in [text.get_text() for text in axes.texts]


def test_a_picture_of_other_tags_than_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit 5 edges and 2 tags"):
        drawn(example(), TAGS[:2])


def test_mel_centres_rise_from_the_lowest_to_the_highest_frequency() -> None:
    kind = LogMel(
        sample_rate=RATE, n_fft=2048, hop_length=512, n_mels=64, f_min_hz=40.0, f_max_hz=20_000.0
    )
    centres = attention.mel_centres_hz(kind)
    assert (np.diff(centres) > 0).all()
    assert 40 < centres[0] < 100
    assert 18_000 < centres[-1] < 20_000


def workspace(root: Path, extractor: Tagger) -> Layout:
    layout = Layout(root)
    extractor.save(layout.model("vggish", "0"), {})
    multilevel().save(layout.model("look-vggish", "0"), {"extractor": "vggish"})
    with StoreWriter(layout.decoded, row_shape=(), dtype="int16") as store:
        store.append(loud(0.3), clip="other.wav")
        store.append(loud(1.2), clip="rain.wav")
    return layout


def test_files_and_clips_get_a_figure_and_a_table_each(
    tmp_path: Path, extractor: Tagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "DPI", 30)  # small pictures are quick
    layout = workspace(tmp_path, extractor)
    soundfile.write(tmp_path / "mine.wav", loud(2.5), RATE)
    monkeypatch.setattr(commands, "_start", lambda: (layout, SimpleNamespace(trim=TRIM), CPU))
    monkeypatch.chdir(tmp_path)
    asked = ["attention", "look-vggish", "mine.wav", "rain.wav", "--top", "2"]
    lines = CliRunner().invoke(commands.app, asked).output.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["mine.wav", "rain.wav"]
    kept = tmp_path / "data" / "analyses" / "attention-look-vggish-0"
    names = {path.name for path in kept.iterdir()}
    assert names == {"mine.png", "mine.csv", "rain.png", "rain.csv"}
    assert pd.read_csv(kept / "rain.csv")["end_seconds"].max() == pytest.approx(0.96, abs=0.1)
    assert (
        pd.read_csv(kept / "mine.csv")
        .groupby(["tag", "level"])["weight"]
        .sum()
        .round(5)
        .eq(1)
        .all()
    )


def test_an_unknown_recording_and_two_of_one_name_are_refused(
    tmp_path: Path, extractor: Tagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "DPI", 30)
    layout = workspace(tmp_path, extractor)
    with pytest.raises(UserError, match=r"hail\.wav: neither a file nor a clip"):
        attention.read_recording(layout, "hail.wav", sample_rate=RATE)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    with pytest.raises(UserError, match=r"broken\.wav"):
        attention.read_recording(layout, str(tmp_path / "broken.wav"), sample_rate=RATE)
    trained = Trained("look", "0", multilevel(), extractor)
    how = {"trim_": TRIM, "n_tags": 1}
    attention.write(trained, layout, "rain.wav", tmp_path, CPU, **how)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="another recording is also called rain"):
        attention.write(trained, layout, "rain.wav", tmp_path, CPU, **how)  # type: ignore[arg-type]


def test_a_model_that_is_not_trained_names_those_that_are(
    tmp_path: Path, extractor: Tagger
) -> None:
    with pytest.raises(UserError, match="nothing is trained yet"):
        load_trained(Layout(tmp_path), "look", None, CPU)
    layout = workspace(tmp_path, extractor)
    with pytest.raises(UserError, match="look: not trained; choose one of look-vggish, vggish"):
        load_trained(layout, "look", None, CPU)
    with pytest.raises(UserError, match="fold 7 is not trained; choose one of 0"):
        load_trained(layout, "vggish", "7", CPU)
    trained = load_trained(layout, "look-vggish", None, CPU)
    assert trained.extractor is not None
    assert trained.title == "look-vggish, fold 0"
