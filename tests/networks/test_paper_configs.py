"""What the networks hold and compute as their papers configure them; nothing is allocated."""

from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from earmark.__main__ import app
from earmark.networks import NETWORKS, build
from earmark.networks.paper_configs import PAPER_CONFIGS, PaperConfig, cost


def empty(name: str, n_tags: int, **options: Any) -> Any:
    with torch.device("meta"):
        return build(name, n_tags, options)


def count(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "n_tags", "options", "n_parameters"),
    [
        ("densenet", 41, {}, 2_165_289),
        ("densenet", 41, {"transition": "conv3", "theta": 0.5}, 1_817_869),
        ("densenet", 41, {"transition": "conv1", "theta": 0.5}, 993_293),
        ("densenet", 41, {"transition": "conv1"}, 2_840_105),
        ("densenet", 41, {"transition": "conv3"}, 8_214_057),
        ("cnn2d", 41, {}, 4_734_665),
        ("resnet2d", 41, {}, 11_200_041),
        ("resnet1d", 41, {}, 3_900_681),
        ("resnet1d", 41, {"base_width": 16}, 983_193),
        ("resnet1d", 41, {"base_width": 64}, 15_538_665),
        ("soundnet", 41, {}, 2_874_320 + 167_977),
        ("soundnet", 41, {"head": "max"}, 2_874_320 + 42_025),
        ("samplecnn", 50, {"n_samples": 59_049}, 1_869_874),
        ("samplecnn", 50, {"n_samples": 39_366}, 1_738_802),
        ("samplecnn", 17, {"n_samples": 19_683}, 1_655_569),
        ("samplecnn", 31, {"n_samples": 16_000}, 1_531_679),
        ("rese2multi", 50, {"n_samples": 39_366}, 26_586_930),
        ("rese2multi", 50, {"n_samples": 39_366, "alpha": 0.125}, 4_702_290),
        ("rese2multi", 50, {"n_samples": 39_366, "alpha": 0.0625}, 4_616_130),
        ("rese2multi", 17, {"n_samples": 19_683}, 24_450_065),
        ("rese2multi", 17, {"n_samples": 19_683, "alpha": 0.125}, 4_650_257),
        ("rese2multi", 17, {"n_samples": 19_683, "alpha": 0.0625}, 4_572_305),
        ("rese2multi", 31, {"n_samples": 16_000}, 24_071_199),
        ("rese2multi", 31, {"n_samples": 16_000, "alpha": 0.125}, 4_271_391),
        ("rese2multi", 31, {"n_samples": 16_000, "alpha": 0.0625}, 4_193_439),
        ("rese2multi", 50, {"n_samples": 59_049}, 26_980_146),
        ("rese2multi", 50, {"n_samples": 59_049, "alpha": 0.125}, 5_095_506),
        ("rese2multi", 50, {"n_samples": 59_049, "alpha": 0.0625}, 5_009_346),
        ("vggish", 41, {}, 72_158_225),
        ("segment_dnn", 41, {}, 881_207),
        ("lstm", 41, {}, 1_776_641),
        ("multilevel_attention", 41, {}, 955_130),
        ("cbir", 5, {}, 21_678_021),
        ("cbir", 5 + 91, {}, 21_678_021 + 46_683),
        ("cnn_comb", 41, {"n_samples": 44_100, "n_frames": 87}, 9_869_632 + 1_417_769),
        ("cnn_comb", 41, {}, 9_869_632 + 2_597_417),
        ("cnn_comb", 41, {"n_samples": 132_300, "n_frames": 259}, 9_869_632 + 4_432_425),
    ],
)
def test_paper_sizes_have_the_published_counts(
    name: str, n_tags: int, options: dict[str, Any], n_parameters: int
) -> None:
    assert count(empty(name, n_tags, **options)) == n_parameters


def test_vggish_backbone_has_the_published_names_and_count() -> None:
    state = empty("vggish", 41).state_dict()
    backbone = {key: tuple(v.shape) for key, v in state.items() if not key.startswith("head.")}
    layers = [f"features.{i}" for i in (0, 3, 6, 8, 11, 13)]
    layers += [f"embeddings.{i}" for i in (0, 2, 4)]
    assert list(backbone) == [f"{layer}.{part}" for layer in layers for part in ("weight", "bias")]
    assert backbone["features.11.weight"] == (512, 256, 3, 3)
    assert backbone["embeddings.0.weight"] == (4096, 12_288)
    assert sum(torch.Size(shape).numel() for shape in backbone.values()) == 72_141_184


@pytest.mark.parametrize(
    ("n_samples", "n_frames", "feature_dim", "heads"),
    [
        (44_100, 87, (1280, 1024), (677_929, 546_857)),
        (88_200, 173, (2560, 2048), (1_333_289, 1_071_145)),
        (132_300, 259, (4096, 4096), (2_119_721, 2_119_721)),
    ],
)
def test_the_backbones_of_the_fusion_have_the_tables_sizes(
    n_samples: int, n_frames: int, feature_dim: tuple[int, int], heads: tuple[int, int]
) -> None:
    audio = empty("cnn_audio", 41, n_samples=n_samples)
    spec = empty("cnn_spec", 41, n_frames=n_frames)
    assert (count(audio.features), count(spec.features)) == (435_360, 9_434_272)
    assert (count(audio.head), count(spec.head)) == heads
    assert (audio.feature_dim, spec.feature_dim) == feature_dim
    with torch.device("meta"):
        assert audio.forward_features(torch.empty(2, n_samples)).shape == (2, feature_dim[0])
        assert spec.forward_features(torch.empty(2, n_frames, 128)).shape == (2, feature_dim[1])


def test_cbir_has_the_tables_parts() -> None:
    network = empty("cbir", 5)
    assert count(network.features) == count(network.random) == 9_219_328
    assert sum(p.numel() for p in network.parameters() if not p.requires_grad) == 4_499_712
    assert count(network.adapters) == 611_776
    assert [count(pool) for pool in network.pools] == [1_049_600] * 2
    assert count(network.head[-1]) == 2_565
    with torch.device("meta"):
        p, r = network.steps(torch.empty(2, 480, 64))
    assert p.shape == r.shape == (2, 15, 1024)  # 15 x 2 positions of 512 channels


@pytest.mark.parametrize(("options", "n_inputs"), [({}, 512), ({"attention": False}, 15_360)])
def test_cbir_of_one_branch_is_vggish_with_a_head(options: dict[str, Any], n_inputs: int) -> None:
    network = empty("cbir", 5, branches=1, **options)
    assert network.head[0].in_features == n_inputs
    assert count(network.features, network.pools, network.head) == count(network)


# The table of `python -m earmark networks`


# steps x kernel x channels in x channels out of each convolution, and the head
SOUNDNET = 44_101 * 64 * 16 + 2757 * 32 * 16 * 32 + 173 * 16 * 32 * 64 + 87 * 8 * 64 * 128
SOUNDNET += 44 * 4 * 128 * 256 + 6 * 4 * 256 * 512 + 4 * 4 * 512 * 1024 + 4 * 1024 * 41


def test_every_network_has_a_papers_configuration() -> None:
    # Heads that any paper on embeddings has in its own way, and a network of earmark's own.
    without_paper = {"linear", "mlp", "compact_cnn"}
    assert {config.network for config in PAPER_CONFIGS} == NETWORKS.keys() - without_paper


@pytest.mark.parametrize(
    ("network", "shape", "n_multiply_adds"),
    [
        ("segment_dnn", (3, 128), 3 * (128 * 600 + 2 * 600 * 600 + 3 * 600 * 41 + 123 * 41)),
        ("lstm", (7, 128), 7 * 4 * 600 * (128 + 600) + 600 * 41),
        ("soundnet", (88_200,), SOUNDNET),
    ],
)
def test_multiply_adds_are_those_of_the_layers(
    network: str, shape: tuple[int, ...], n_multiply_adds: int
) -> None:
    assert cost(PaperConfig("", network, 41, shape)).n_multiply_adds == n_multiply_adds


@pytest.mark.parametrize(
    ("network", "options", "shape", "millions"),
    # as the READMEs of EfficientAT (10 s) and YAMNet (a patch) have them
    [
        ("mobilenet", {}, (1000, 128), 110),
        ("mobilenet", {"width": 1.0}, (1000, 128), 540),
        ("yamnet", {}, (96, 64), 69.2),
    ],
)
def test_networks_of_audioset_cost_what_their_authors_say(
    network: str, options: dict[str, Any], shape: tuple[int, ...], millions: float
) -> None:
    n_multiply_adds = cost(PaperConfig("", network, 527, shape, options)).n_multiply_adds
    assert n_multiply_adds / 1e6 == pytest.approx(millions, rel=0.01)


@pytest.mark.slow
def test_the_command_prints_one_aligned_line_per_configuration() -> None:
    done = CliRunner().invoke(app, ["networks"])
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert len(lines) == 1 + len(PAPER_CONFIGS)
    assert len({len(line) for line in lines}) == 1
    for config, line in zip(PAPER_CONFIGS, lines[1:], strict=True):
        assert line.startswith(f"{config.name} ")
        assert f" {count(empty(config.network, config.n_tags, **config.options)):,} " in line
