"""The networks: counts of parameters, shapes, gradients, and parity with explicit computations."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from earmark.networks import NETWORKS, Network, build, default_options
from earmark.networks.densenet import DenseUnit
from earmark.networks.samplecnn import pool_sizes

N_TAGS = 5
INPUT_KINDS = {"logmel", "mfcc", "wave44k", "wave16k", "patches", "embedding"}

# Options that make each network small, the shape of one input, one that is too short for it, and
# what the refusal must name. A network without a line here fails the tests.
SMALL: dict[str, tuple[dict[str, Any], tuple[int, ...], tuple[int, ...], str]] = {
    "densenet": ({"growth": 4, "stem_channels": 8, "units": 2}, (33, 20), (15, 20), "16 frames"),
    "samplecnn": ({"n_samples": 486, "width": 0.125}, (486,), (485,), "486"),
    "vggish": ({"width": 0.0625, "fc": 512}, (96, 64), (95, 64), "96 frames"),
    "multilevel_attention": ({"n_units": 24}, (3, 128), (0, 128), "at least 1 patch"),
}


def small(name: str) -> tuple[Network, tuple[int, ...]]:
    torch.manual_seed(0)
    options, shape, _, _ = SMALL[name]
    return build(name, N_TAGS, options), shape


def count(name: str, n_tags: int, **options: Any) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build(name, n_tags, options).parameters())


# What holds for every network of the dictionary


def test_every_network_is_tested_here() -> None:
    assert SMALL.keys() == NETWORKS.keys()


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_clips_by_tags(name: str) -> None:
    network, shape = small(name)
    assert network(torch.randn(3, *shape)).shape == (3, N_TAGS)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_says_what_it_reads(name: str) -> None:
    assert NETWORKS[name].input_kinds
    assert NETWORKS[name].input_kinds <= INPUT_KINDS


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    network, shape = small(name)
    (network(torch.randn(4, *shape)) * torch.randn(4, N_TAGS)).sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        if parameter.ndim > 1:  # a bias before a batch norm has none to speak of
            assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", NETWORKS)
def test_a_state_dict_restores_the_same_logits(name: str) -> None:
    network, shape = small(name)
    network(torch.randn(4, *shape))  # moves the running statistics off their start
    other = build(name, N_TAGS, SMALL[name][0])
    other.load_state_dict(network.state_dict())
    x = torch.randn(2, *shape)
    torch.testing.assert_close(other.eval()(x), network.eval()(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_too_short_input_names_the_needed_length(name: str) -> None:
    network, _ = small(name)
    _, _, short, needed = SMALL[name]
    with pytest.raises(ValueError, match=needed):
        network(torch.zeros(2, *short))
    with pytest.raises(ValueError, match="expected"):
        network(torch.zeros(short))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_clip_is_tagged_the_same_alone_and_in_a_batch(name: str) -> None:
    network, shape = small(name)
    network.eval()
    x = torch.randn(4, *shape)
    alone = torch.cat([network(clip) for clip in x.split(1)])
    torch.testing.assert_close(alone, network(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_autocast_is_close_and_its_logits_are_float32(name: str) -> None:
    network, shape = small(name)
    network.eval()
    x = torch.randn(4, *shape)
    expected = network(x)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(x)
    assert logits.dtype == torch.float32
    assert (logits - expected).abs().max() < 0.04 * expected.abs().max()
    assert not torch.equal(logits, expected)  # autocast took hold


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_last_changes_the_layout_and_not_the_logits(name: str) -> None:
    network, shape = small(name)
    network.eval()
    x = torch.randn(4, *shape)
    expected = network(x)
    is_channels_last: dict[str, bool] = {}

    def record(key: str, out: Tensor) -> None:
        is_channels_last[key] = out.is_contiguous(memory_format=torch.channels_last)

    for key, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.AvgPool2d | nn.MaxPool2d | nn.BatchNorm2d):
            module.register_forward_hook(lambda _module, _in, out, key=key: record(key, out))
    logits = network.channels_last()(x)
    assert all(is_channels_last.values()), is_channels_last
    assert is_channels_last or name == "multilevel_attention"
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_eight_clips_can_be_learnt_by_heart(name: str) -> None:
    network, shape = small(name)
    x, tags = torch.randn(8, *shape), torch.arange(8) % N_TAGS
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(300):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(x), tags).backward()
        optimiser.step()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    assert nn.functional.cross_entropy(network(x), tags) < 0.1


# Building by name


def test_an_unknown_network_names_the_valid_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown network 'resnext'.*densenet, samplecnn"):
        build("resnext", N_TAGS, {})


def test_an_unknown_option_names_the_valid_ones() -> None:
    with pytest.raises(ValueError, match=r"densenet has no option 'grwoth'.*growth, stem_channels"):
        build("densenet", N_TAGS, {"grwoth": 8})


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("densenet", {"growth": 8.0}, "densenet.growth must be of type int"),
        ("densenet", {"growth": True}, "densenet.growth must be of type int"),
        ("densenet", {"transition": "max"}, "pool, conv1, conv3"),
        ("densenet", {"theta": 0.5}, "theta must be 1.0"),
        ("samplecnn", {"width": "0.5"}, "samplecnn.width must be of type float"),
        ("vggish", {"init": "zero"}, "he, vggish"),
        ("vggish", {"embedding_activation": "tanh"}, "relu, none"),
        ("multilevel_attention", {"v_act": "relu"}, "softmax, sigmoid"),
        ("multilevel_attention", {"levels": 4}, "from 1 to 3"),
    ],
)
def test_a_wrong_option_says_what_is_allowed(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, N_TAGS, options)


def test_a_whole_number_will_do_for_a_float() -> None:
    network = build("samplecnn", N_TAGS, {"n_samples": 243, "dropout": 0})
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0]


@pytest.mark.parametrize("name", NETWORKS)
def test_default_options_are_plain_and_complete(name: str) -> None:
    options = default_options(name)
    assert all(type(value) in (int, float, str, bool) for value in options.values())
    assert count(name, 7, **options) == count(name, 7)


# Published counts


@pytest.mark.parametrize(
    ("name", "n_tags", "options", "n_parameters"),
    [
        ("densenet", 41, {}, 2_165_289),
        ("densenet", 41, {"transition": "conv3", "theta": 0.5}, 1_817_869),
        ("densenet", 41, {"transition": "conv1", "theta": 0.5}, 993_293),
        ("densenet", 41, {"transition": "conv1"}, 2_840_105),
        ("densenet", 41, {"transition": "conv3"}, 8_214_057),
        ("samplecnn", 50, {"n_samples": 59_049}, 1_869_874),
        ("samplecnn", 50, {"n_samples": 39_366}, 1_738_802),
        ("samplecnn", 17, {"n_samples": 19_683}, 1_655_569),
        ("samplecnn", 31, {"n_samples": 16_000}, 1_531_679),
        ("vggish", 41, {}, 72_158_225),
        ("multilevel_attention", 41, {}, 955_130),
    ],
)
def test_paper_sizes_have_the_published_counts(
    name: str, n_tags: int, options: dict[str, Any], n_parameters: int
) -> None:
    assert count(name, n_tags, **options) == n_parameters


def test_vggish_trunk_has_the_published_names_and_count() -> None:
    with torch.device("meta"):
        state = build("vggish", 41, {}).state_dict()
    trunk = {key: tuple(v.shape) for key, v in state.items() if not key.startswith("head.")}
    layers = [f"features.{i}" for i in (0, 3, 6, 8, 11, 13)]
    layers += [f"embeddings.{i}" for i in (0, 2, 4)]
    assert list(trunk) == [f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]
    assert trunk["features.11.weight"] == (512, 256, 3, 3)
    assert trunk["embeddings.0.weight"] == (4096, 12_288)
    assert sum(torch.Size(shape).numel() for shape in trunk.values()) == 72_141_184


# DenseNet


@pytest.mark.parametrize("transition", ["pool", "conv1", "conv3"])
def test_densenet_takes_any_length_from_its_shortest_on(transition: str) -> None:
    options = {"n_blocks": 3, "units": 1, "growth": 4, "stem_channels": 4, "transition": transition}
    network = build("densenet", N_TAGS, options)
    for shape in [(4, 4), (5, 9), (31, 4)]:
        assert network(torch.randn(2, *shape)).shape == (2, N_TAGS)
    with pytest.raises(ValueError, match="4 frames and 4 mels"):
        network(torch.zeros(2, 4, 3))


def batch_norm(norm: Any, x: Tensor) -> Tensor:
    """Compute what a batch norm layer does in evaluation."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    shape = (-1, *[1] * (x.ndim - 2))
    return scale.view(shape) * (x - norm.running_mean.view(shape)) + norm.bias.view(shape)


@pytest.mark.parametrize("transition", ["pool", "conv1", "conv3"])
def test_densenet_concatenates_and_pools_by_means(transition: str) -> None:
    options = {"n_blocks": 2, "units": 2, "growth": 4, "stem_channels": 4, "transition": transition}
    network = build("densenet", N_TAGS, options)
    frames = torch.randn(3, 8, 6)
    network(frames)  # moves the running statistics off their start
    network.eval()
    x = nn.functional.conv2d(frames[:, None], network.features[0].weight, padding=1)
    for layer in network.features[1:]:
        modules = list(layer.modules())
        norm = next((m for m in modules if isinstance(m, nn.BatchNorm2d)), None)
        conv = next((m for m in modules if isinstance(m, nn.Conv2d)), None)
        if norm is not None and conv is not None:
            y = conv(batch_norm(norm, x).relu())
            x = torch.cat([x, y], 1) if isinstance(layer, DenseUnit) else y
        if not isinstance(layer, DenseUnit):
            x = x.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).mean((3, 5))
    x = batch_norm(network.norm, x).relu().flatten(2).max(2).values
    torch.testing.assert_close(network(frames), network.head(x), rtol=1e-4, atol=1e-5)


def test_densenet_maps_have_the_tables_sizes() -> None:
    with torch.device("meta"):
        network = build("densenet", 41, {"transition": "conv3", "theta": 0.5})
        features = network.features(torch.empty(2, 1, 173, 80))
    assert features.shape == (2, 252, 10, 5)


# SampleCNN


@pytest.mark.parametrize(
    ("n_samples", "pools"),
    [
        (59_049, [3] * 9),
        (39_366, [3] * 8 + [2]),
        (19_683, [3] * 8),
        (16_000, [3] * 7 + [2]),
        (6_561, [3] * 7),
        (4_374, [3] * 6 + [2]),
    ],
)
def test_samplecnn_ends_at_one_step(n_samples: int, pools: list[int]) -> None:
    assert pool_sizes(n_samples) == pools
    network = build("samplecnn", N_TAGS, {"n_samples": n_samples, "width": 0.02})
    steps = network.blocks(network.conv0(torch.zeros(2, 1, 1, n_samples))).shape[-1]
    assert steps == 1


@pytest.mark.parametrize(
    ("n_samples", "near"),
    [(80, "162 and 243"), (17_000, "13122 and 19683"), (36_000, "19683|39366")],
)
def test_samplecnn_refuses_a_length_that_its_pools_would_waste(n_samples: int, near: str) -> None:
    with pytest.raises(ValueError, match=f"{n_samples} does not reduce to one step.*{near}"):
        pool_sizes(n_samples)


def test_samplecnn_is_a_stack_of_one_dimensional_convolutions() -> None:
    network, _ = small("samplecnn")
    waveform = torch.randn(2, 486)
    network(waveform)  # moves the running statistics off their start
    network.eval()
    x = waveform[:, None]
    for block in [network.conv0, *network.blocks, network.last]:
        conv = next(layer for layer in block if isinstance(layer, nn.Conv2d))
        norm = next(layer for layer in block if isinstance(layer, nn.BatchNorm2d))
        kernel, stride = conv.kernel_size[1], conv.stride[1]
        if stride == 1:  # "same", the odd zero at the right
            x = nn.functional.pad(x, ((kernel - 1) // 2, kernel // 2))
        x = nn.functional.conv1d(x, conv.weight.squeeze(2), conv.bias, stride=stride)
        x = batch_norm(norm, x).relu()
        if stride == 1 and kernel > 1:
            x = nn.functional.max_pool1d(x, kernel)
    torch.testing.assert_close(network(waveform), network.head(x[:, :, 0]), rtol=1e-4, atol=1e-5)


# VGGish


def test_vggish_flattens_time_frequency_channel_as_tensorflow_does() -> None:
    network, _ = small("vggish")
    network.double()
    for parameter in network.parameters():  # also the biases, which start at zero
        nn.init.normal_(parameter, std=0.2)
    patch = torch.randn(96, 64, dtype=torch.float64)
    torch.testing.assert_close(network.embed(patch[None])[0], tensorflow_vggish(network, patch))


def tensorflow_vggish(network: Network, patch: Tensor) -> Tensor:
    """Compute one embedding in TensorFlow's layouts: maps (T, F, C), kernels (T, F, in, out)."""
    state = network.state_dict()
    x = patch[:, :, None]
    for index in (0, 3, 6, 8, 11, 13):
        kernel = state[f"features.{index}.weight"].permute(2, 3, 1, 0)
        padded = nn.functional.pad(x, (0, 0, 1, 1, 1, 1))
        n_frames, n_mels = x.shape[:2]
        x = state[f"features.{index}.bias"] + sum(
            padded[i : i + n_frames, j : j + n_mels] @ kernel[i, j]
            for i in range(3)
            for j in range(3)
        )
        x = x.relu()
        if index not in (6, 11):
            x = x.unflatten(0, (-1, 2)).unflatten(2, (-1, 2)).amax((1, 3))
    x = x.reshape(-1)  # (T, F, C) row by row
    for index in (0, 2, 4):
        x = (x @ state[f"embeddings.{index}.weight"].T + state[f"embeddings.{index}.bias"]).relu()
    return x


def test_vggish_without_its_last_relu_differs_only_below_zero() -> None:
    networks = []
    for activation in ("relu", "none"):
        torch.manual_seed(0)
        options = SMALL["vggish"][0] | {"embedding_activation": activation}
        networks.append(build("vggish", N_TAGS, options).eval())
    relu, none = networks
    patches = torch.randn(3, 96, 64)
    assert none.embed(patches).min() < 0
    torch.testing.assert_close(relu.embed(patches), none.embed(patches).relu())
    torch.testing.assert_close(relu(patches), none(patches))


@pytest.mark.parametrize("init", ["he", "vggish"])
def test_vggish_initialisation_has_its_spread(init: str) -> None:
    torch.manual_seed(0)
    network = build("vggish", N_TAGS, {"width": 0.25, "init": init})
    weight = network.embeddings[0].weight.detach()
    if init == "vggish":
        assert weight.abs().max() <= 0.02
        assert weight.std() == pytest.approx(0.0088, rel=0.01)  # of 0.01 cut at two deviations
    else:
        assert weight.std() == pytest.approx((2 / weight.shape[1]) ** 0.5, rel=0.01)


# Multi-level attention


@pytest.mark.parametrize("v_act", ["softmax", "sigmoid"])
def test_attention_is_positive_and_sums_to_one_over_time(v_act: str) -> None:
    network = build("multilevel_attention", N_TAGS, {"n_units": 24, "v_act": v_act}).eval()
    for bags in (torch.randn(4, 6, 128), 1e4 * torch.randn(4, 6, 128)):  # large: v is saturated
        p = network.attention(bags)
        assert p.shape == (3, 4, 6, N_TAGS)
        assert (p > 0).all()
        torch.testing.assert_close(p.sum(2), torch.ones(3, 4, N_TAGS))


def test_a_bag_of_one_patch_is_pooled_to_exactly_its_classification() -> None:
    network = build("multilevel_attention", N_TAGS, {"n_units": 24}).eval()
    bags = torch.randn(4, 1, 128)
    f, p = network.classify_and_weigh(bags)
    assert torch.equal(p, torch.ones_like(p))
    expected = network.output(torch.cat([level[:, 0] for level in f], dim=1))
    assert torch.equal(network(bags), expected)


def test_attention_squashes_over_tags_before_it_divides_over_time() -> None:
    network = build("multilevel_attention", N_TAGS, {"n_units": 24}).eval()
    bag = torch.randn(3, 128)
    x, pooled = bag, []
    for layer, f_head, v_head in zip(network.trunk, network.f, network.v, strict=True):
        x = layer(x)  # (P, D)
        f, v = f_head(x).softmax(1), v_head(x).softmax(1).clamp(1e-7, 1 - 1e-7)  # (P, K)
        pooled.append(sum(v[n] / sum(v) * f[n] for n in range(3)))
    expected = network.output(torch.cat(pooled)[None])
    torch.testing.assert_close(network(bag[None]), expected)


def test_attention_divides_in_float32_under_autocast() -> None:
    network = build("multilevel_attention", N_TAGS, {"n_units": 24}).eval()
    with torch.autocast("cpu", torch.bfloat16):
        f, p = network.classify_and_weigh(torch.randn(4, 6, 128))
    assert f.dtype == p.dtype == torch.float32
    torch.testing.assert_close(p.sum(2), torch.ones(3, 4, N_TAGS), rtol=1e-6, atol=1e-6)


def test_the_order_of_a_bags_patches_does_not_matter() -> None:
    network = build("multilevel_attention", N_TAGS, {"n_units": 24}).eval()
    bags = torch.randn(2, 5, 128)
    torch.testing.assert_close(network(bags), network(bags.flip(1)))


def test_fewer_levels_are_the_last_ones() -> None:
    network = build("multilevel_attention", N_TAGS, {"n_units": 24, "levels": 1})
    network(torch.randn(4, 3, 128))[:, 0].sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_yus_network_is_a_configuration() -> None:
    options = {"input_bn": True, "head_bn": True, "f_act": "sigmoid", "levels": 2, "n_units": 24}
    network = build("multilevel_attention", N_TAGS, options)
    assert network(torch.randn(4, 3, 128)).shape == (4, N_TAGS)
    assert network.attention(torch.randn(4, 3, 128)).shape == (2, 4, 3, N_TAGS)
    assert sum(isinstance(m, nn.BatchNorm1d) for m in network.modules()) == 1 + 3 + 4 + 1
