"""The input ablation: removing an unused input changes nothing, and the counts are right."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from earmark.analyses import ablation, commands, drawing
from earmark.analyses.ablation import SYSTEMS, WithoutInput, conclude, score_categories
from earmark.analyses.ablation_figure import ablation_figure
from earmark.errors import UserError
from earmark.layout import Layout
from earmark.records import write_table
from earmark.reports.figures import ACCENT, WARM
from earmark.store import StoreWriter
from earmark.taggers.device import Device
from earmark.taggers.input import FusionInput, Input, Pair
from earmark.taggers.tagger import Tagger

CPU = Device(name="cpu", precision="float32", channels_last=False)
TAGS = ["Bark", "Cough", "Rain"]
HOP, SAMPLES, FRAMES, MELS = 128, 8192, 65, 64
SHARED = {"sample_rate": 44_100, "padding": "tile_gap"}
AUDIO = Input(
    feature="wave44k", type_name="waveform", options={"target_hz": 44_100}, lengths=[SAMPLES],
    silence=[0.0],
    mean=[0.0], std=[32_768.0], **SHARED,
)  # fmt: skip
SPEC = Input(
    feature="logmel", type_name="logmel", options={"hop_length": HOP}, lengths=[FRAMES],
    silence=[-100.0] * MELS,
    mean=[-40.0], std=[20.0], **SHARED,
)  # fmt: skip
FUSION = FusionInput(**SPEC.__dict__, audio=AUDIO, hop_length=HOP)


def fusion() -> Tagger:
    torch.manual_seed(0)
    small = {"n_samples": SAMPLES, "n_frames": FRAMES, "n_mels": MELS}
    widths = {"audio_width": 0.1, "spec_width": 0.1}
    return Tagger.new("cnn_comb", small | widths, tags=TAGS, input_=FUSION)


def backbones() -> dict[str, Tagger]:
    torch.manual_seed(1)
    audio = {"n_samples": SAMPLES, "width": 0.1, "hidden": 8}
    spec = {"n_frames": FRAMES, "n_mels": MELS, "width": 0.1, "hidden": 8}
    return {
        "audio": Tagger.new("cnn_audio", audio, tags=TAGS, input_=AUDIO),
        "spec": Tagger.new("cnn_spec", spec, tags=TAGS, input_=SPEC),
    }


def crops(count: int, seed: int = 0) -> list[Pair]:
    rng = np.random.default_rng(seed)
    return [
        Pair(
            rng.normal(0, 3000, SAMPLES).astype(np.int16),
            rng.normal(-40, 20, (FRAMES, MELS)).astype(np.float16),
        )
        for _ in range(count)
    ]


def ignoring(backbone: str) -> Tagger:
    """A fusion model whose dense layers ignore one backbone's map."""
    tagger = fusion()
    network = tagger.network
    n_audio = network.audio.feature_dim
    ignored = slice(None, n_audio) if backbone == "audio" else slice(n_audio, None)
    with torch.no_grad():
        network.head[0].weight[:, ignored] = 0
    return tagger


@pytest.mark.parametrize("backbone", ["audio", "spec"])
def test_an_ignored_input_changes_nothing_and_the_other_changes_everything(
    backbone: str,
) -> None:
    other = "spec" if backbone == "audio" else "audio"
    probabilities = ablation.probabilities_of(ignoring(backbone), backbones(), crops(6), CPU)
    np.testing.assert_array_equal(probabilities[f"fusion_{backbone}_zero"], probabilities["fusion"])
    constant = probabilities[f"fusion_{other}_zero"]
    np.testing.assert_allclose(constant, np.broadcast_to(constant[0], constant.shape), atol=1e-6)
    assert np.ptp(probabilities["fusion"], axis=0).max() > 1e-4


def test_an_input_set_to_zero_is_the_mean_of_its_features() -> None:
    tagger, two = fusion(), crops(2)
    silent = [Pair(np.zeros_like(c.audio), c.spec) for c in two]
    average = [Pair(c.audio, np.full_like(c.spec, -40)) for c in two]
    for backbone, same in (("audio", silent), ("spec", average)):
        without = replace(tagger, network=WithoutInput(tagger.network, backbone))
        np.testing.assert_array_equal(
            without.clip_probabilities(two, CPU, batch_size=2),
            tagger.clip_probabilities(same, CPU, batch_size=2),
        )


def test_each_backbone_gets_its_own_input_of_the_same_crops() -> None:
    single, pairs = backbones(), crops(3)
    probabilities = ablation.probabilities_of(fusion(), single, pairs, CPU)
    assert list(probabilities) == list(SYSTEMS)
    for backbone in ("audio", "spec"):
        halves = np.stack([getattr(crop, backbone) for crop in pairs])
        np.testing.assert_allclose(
            probabilities[backbone], single[backbone].probabilities(halves, CPU), atol=1e-6
        )


def ranked(*order: int) -> list[float]:
    """Probabilities of four tags, the first named the likeliest."""
    row = [0.0] * 4
    for rank, tag in enumerate(order):
        row[tag] = 0.4 - 0.1 * rank
    return row


def test_categories_score_the_mean_reciprocal_rank_of_their_own_clips() -> None:
    labels = np.array([0, 0, 1])
    one = np.array([ranked(0, 1, 2, 3), ranked(1, 0, 2, 3), ranked(0, 2, 3, 1)])
    table = score_categories(dict.fromkeys(SYSTEMS, one), labels, ["a", "b", "c", "d"])
    assert table["tag"].tolist() == ["a", "b"]  # the others have no clip
    assert table["n_clips"].tolist() == [2, 1]
    for name in SYSTEMS:
        assert table[name].tolist() == [0.75, 0.0]


def test_the_same_ranks_in_another_order_tie() -> None:
    rows = [ranked(0), ranked(1, 0), ranked(1, 2, 0), ranked(1, 2, 3, 0)]
    orders = [rows[i % 4] for i in range(40)], [rows[i // 10] for i in range(40)]
    forward, sorted_ = (np.array(order) for order in orders)
    probabilities = dict.fromkeys(SYSTEMS, forward) | {"spec": sorted_, "fusion": sorted_[::-1]}
    table = score_categories(probabilities, np.zeros(40, np.int64), ["a", "b", "c", "d"])
    assert conclude(table).audio_wins == conclude(table).spec_wins == 0
    assert conclude(table).fusion_ties == 1


def a_table() -> pd.DataFrame:
    rows = [  # tag, clips, audio, spec, fusion, without spec, without audio
        ("a", 4, 0.9, 0.5, 1.0, 0.8, 0.2),  # audio ahead, and so within the fusion model
        ("b", 2, 0.9, 0.5, 0.9, 0.1, 0.2),  # audio ahead, but not within it; fusion ties
        ("c", 2, 0.2, 0.6, 0.5, 0.1, 0.4),  # spec ahead, and so within it; fusion loses
        ("d", 2, 0.2, 0.6, 0.7, 0.3, 0.3),  # spec ahead, equal within it
        ("e", 10, 0.5, 0.5, 0.6, 0.4, 0.3),  # equal
    ]
    return pd.DataFrame(rows, columns=["tag", "n_clips", *SYSTEMS])


def test_the_posters_conclusions_are_counted_without_ties() -> None:
    result = conclude(a_table())
    assert (result.audio_wins, result.audio_agrees) == (2, 1)
    assert (result.spec_wins, result.spec_agrees) == (2, 1)
    assert (result.fusion_wins, result.fusion_ties, result.n_tags) == (3, 1, 5)
    assert result.map_at_3["audio"] == pytest.approx((3.6 + 1.8 + 0.4 + 0.4 + 5) / 20)
    first, *others = result.lines()
    assert first.endswith("; fusion is the best")
    assert others[0].startswith("audio beats spec in 2 of 5 categories; in 1 of them,")
    assert others[2].startswith("fusion beats both backbones in 3 of 5")


def test_rows_are_sorted_by_how_far_audio_is_ahead_and_all_clips_come_last() -> None:
    table = a_table()
    figure = ablation_figure(table, overall=conclude(table).map_at_3, title="t")
    left, right = figure.axes
    names = [label.get_text() for label in left.get_yticklabels()]
    assert names == ["a (4)", "b (2)", "e (10)", "c (2)", "d (2)", "all clips"]
    for axes, pair in (
        (left, ("audio", "spec")),
        (right, ("fusion_spec_zero", "fusion_audio_zero")),
    ):
        by_color = {
            line.get_color(): line.get_xdata() for line in axes.lines if len(line.get_xdata())
        }
        for name, color in zip(pair, (WARM, ACCENT), strict=True):
            expected = table.set_index("tag")[name].loc[list("abecd")]
            np.testing.assert_allclose(by_color[color][:-1], expected)


N_CLIPS = 6


@pytest.fixture
def workspace(tmp_path: Path) -> Layout:
    """Two folds of a fusion model that ignores waveforms, and clips of which each holds half."""
    layout = Layout(tmp_path)
    names = [f"{i}.wav" for i in range(N_CLIPS)]
    pairs = crops(N_CLIPS, seed=5)
    for kind, shape, dtype, key in (
        ("wave44k", (), "int16", "audio"),
        ("logmel", (MELS,), "float16", "spec"),
    ):
        with StoreWriter(layout.features(kind), row_shape=shape, dtype=dtype) as store:
            for name, pair in zip(names, pairs, strict=True):
                store.append(getattr(pair, key), clip=name, variant="", sha256=name)
                store.append(getattr(pair, key), clip=name, variant="pitch", sha256="")
    held = np.array(["validation", "train"] * 3)
    labels = [TAGS[i % 3] for i in range(N_CLIPS)]
    folds = {"clip": names, "label": labels, "split": "train", "fold_0": held, "fold_1": held[::-1]}
    write_table(layout.folds, pd.DataFrame(folds))
    for fold in ("0", "1"):
        ignoring("audio").save(layout.model("comb", fold), {})
        for backbone, tagger in backbones().items():
            tagger.save(layout.model(f"comb_{backbone}", fold), {})
    return layout


PARAMS = SimpleNamespace(
    seed=1,
    inference=SimpleNamespace(n_crops=3, confidence=0.7),
    fusion=SimpleNamespace(audio="wave44k", spec="logmel"),
    models={"fusion": {"comb": SimpleNamespace(prediction=SimpleNamespace(aggregation="mean"))}},
)


def test_the_validation_clips_of_every_fold_are_scored_once(
    workspace: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "DPI", 30)  # small pictures are quick
    with drawing.analysis_folder(workspace, "both") as folder:
        lines = ablation.write(PARAMS, workspace, "comb", None, folder, CPU)  # type: ignore[arg-type]
    kept = workspace.data / "analyses" / "both"
    assert {path.name for path in kept.iterdir()} == {"ablation.png", "ablation.csv"}
    table = pd.read_csv(kept / "ablation.csv")
    assert table["n_clips"].tolist() == [2, 2, 2]
    pd.testing.assert_series_equal(table["fusion"], table["fusion_audio_zero"], check_names=False)
    assert len(lines) == 4


def test_one_fold_scores_its_validation_clips(
    workspace: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "DPI", 30)
    monkeypatch.setattr(commands, "_start", lambda: (workspace, PARAMS, CPU))
    monkeypatch.chdir(workspace.root)
    done = CliRunner().invoke(commands.app, ["ablation", "comb", "--fold", "1"])
    *lines, last = done.output.splitlines()
    assert len(lines) == 4
    assert last == "figures and numbers: data/analyses/ablation-comb-1/"
    table = pd.read_csv(workspace.data / "analyses" / "ablation-comb-1" / "ablation.csv")
    assert table["n_clips"].sum() == N_CLIPS // 2


def test_a_model_of_one_input_or_of_several_tags_per_clip_is_refused(workspace: Layout) -> None:
    with pytest.raises(UserError, match="comb_audio: reads one input, wave44k"):
        ablation.write(PARAMS, workspace, "comb_audio", None, workspace.root, CPU)  # type: ignore[arg-type]
    many = replace(fusion(), activation="sigmoid")
    many.save(workspace.model("many", "0"), {})
    with pytest.raises(UserError, match="many: its clips may have several tags"):
        ablation.write(PARAMS, workspace, "many", None, workspace.root, CPU)  # type: ignore[arg-type]
