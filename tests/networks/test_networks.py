"""The networks: what holds for all of them, and parity with explicit computations.

Those that read waveforms have their parity in test_networks_waveform.py.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from earmark.networks import NETWORKS, Network, build, default_options
from earmark.networks.densenet import DenseUnit

N_TAGS = 5
INPUT_KINDS = {"logmel", "mfcc", "wave44k", "wave16k", "patches", "embedding", "fusion"}
Shape = tuple[Any, ...]  # of one input, or of each of a pair

# Options that make each network small, the shape of one input, one that is too short for it, and
# what the refusal must name. A network without a line here fails the tests.
SMALL: dict[str, tuple[dict[str, Any], Shape, Shape, str]] = {
    "densenet": ({"growth": 4, "stem_channels": 8, "units": 2}, (33, 20), (15, 20), "16 frames"),
    "cnn2d": ({"base_width": 4}, (33, 20), (15, 20), "16 frames"),
    "resnet2d": ({"base_width": 4}, (33, 20), (15, 20), "16 frames"),
    "resnet1d": ({"base_width": 4}, (200,), (15,), "16 samples"),
    "soundnet": ({"head": "max", "width": 0.125}, (4600,), (4573,), "4574 samples"),
    "cnn_audio": ({"n_samples": 8192, "width": 0.125, "hidden": 16}, (8192,), (8191,), "8192"),
    "cnn_spec": (
        {"n_frames": 67, "n_mels": 64, "width": 0.125, "hidden": 16},
        (67, 64),
        (66, 64),
        "67 frames, 64 mels",
    ),
    "cnn_comb": (
        {
            "n_samples": 8192,
            "audio_width": 0.125,
            "n_frames": 64,
            "n_mels": 64,
            "spec_width": 0.125,
        },
        ((8192,), (64, 64)),
        ((8192,), (63, 64)),
        "64 frames, 64 mels",
    ),
    "vggish": ({"width": 0.0625, "fc": 512}, (96, 64), (95, 64), "96 frames"),
    "segment_dnn": ({"n_units": 24}, (3, 128), (0, 128), "at least 1 patch"),
    "lstm": ({"n_units": 24}, (3, 128), (0, 128), "at least 1 patch"),
    "multilevel_attention": ({"n_units": 24}, (3, 128), (0, 128), "at least 1 patch"),
    "cbir": ({"width": 0.0625, "hidden": 16}, (96, 64), (31, 64), "at least 32 frames"),
    "samplecnn": ({"n_samples": 486, "width": 0.125}, (486,), (485,), "486"),
    "rese2multi": ({"n_samples": 486, "width": 0.125}, (486,), (485,), "486"),
}


def drawn(*batch: int, shape: Shape) -> Any:
    """Random inputs of a shape, or a pair of them."""
    if isinstance(shape[0], tuple):
        return tuple(torch.randn(*batch, *part) for part in shape)
    return torch.randn(*batch, *shape)


def alone(x: Any) -> list[Any]:
    """Each input of a batch as a batch of its own."""
    if isinstance(x, tuple):
        return list(zip(*(part.split(1) for part in x), strict=True))
    return list(x.split(1))


def small(name: str) -> tuple[Network, Shape]:
    torch.manual_seed(0)
    options, shape, _, _ = SMALL[name]
    return build(name, N_TAGS, options), shape


# What holds for every network of the dictionary


def test_every_network_is_tested_here() -> None:
    assert SMALL.keys() == NETWORKS.keys()


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_clips_by_tags(name: str) -> None:
    network, shape = small(name)
    assert network(drawn(3, shape=shape)).shape == (3, N_TAGS)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_says_what_it_reads(name: str) -> None:
    assert NETWORKS[name].input_kinds
    assert NETWORKS[name].input_kinds <= INPUT_KINDS


@pytest.mark.parametrize("name", NETWORKS)
def test_every_trainable_parameter_gets_a_gradient(name: str) -> None:
    network, shape = small(name)
    (network(drawn(4, shape=shape)) * torch.randn(4, N_TAGS)).sum().backward()
    for key, parameter in network.named_parameters():
        if not parameter.requires_grad:
            assert name in ("cbir", "cnn_comb"), key
            continue
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        if parameter.ndim > 1:  # a bias before a batch norm has none to speak of
            assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", NETWORKS)
def test_a_state_dict_restores_the_same_logits(name: str) -> None:
    network, shape = small(name)
    network(drawn(4, shape=shape))  # moves the running statistics off their start
    other = build(name, N_TAGS, SMALL[name][0])
    other.load_state_dict(network.state_dict())
    x = drawn(2, shape=shape)
    torch.testing.assert_close(other.eval()(x), network.eval()(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_too_short_input_names_the_needed_length(name: str) -> None:
    network, _ = small(name)
    _, _, short, needed = SMALL[name]
    with pytest.raises(ValueError, match=needed):
        network(drawn(2, shape=short))
    with pytest.raises(ValueError, match="expected"):
        network(drawn(shape=short))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_clip_is_tagged_the_same_alone_and_in_a_batch(name: str) -> None:
    network, shape = small(name)
    network.eval()
    x = drawn(4, shape=shape)
    one_by_one, expected = torch.cat([network(clip) for clip in alone(x)]), network(x)
    # relative to the largest, which is in the hundreds where ten blocks add up untrained
    atol = 1e-5 * max(1.0, expected.abs().max().item())
    torch.testing.assert_close(one_by_one, expected, rtol=1e-4, atol=atol)


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_autocast_is_close_and_its_logits_are_float32(name: str) -> None:
    network, shape = small(name)
    network.eval()
    x = drawn(4, shape=shape)
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
    x = drawn(4, shape=shape)
    expected = network(x)
    is_channels_last: dict[str, bool] = {}

    def record(key: str, out: Tensor) -> None:
        is_channels_last[key] = out.is_contiguous(memory_format=torch.channels_last)

    for key, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and module.weight[0].numel() == 1:
            continue  # a single number has no layout that the convolution could take over
        if isinstance(module, nn.Conv2d | nn.AvgPool2d | nn.MaxPool2d | nn.BatchNorm2d):
            module.register_forward_hook(lambda _module, _in, out, key=key: record(key, out))
    logits = network.channels_last()(x)
    assert all(is_channels_last.values()), is_channels_last
    assert is_channels_last or "embedding" in network.input_kinds
    atol = 1e-5 * max(1.0, expected.abs().max().item())
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=atol)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_eight_clips_can_be_learnt_by_heart(name: str) -> None:
    network, shape = small(name)
    x, tags = drawn(8, shape=shape), torch.arange(8) % N_TAGS
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
    with pytest.raises(ValueError, match=r"unknown network 'resnext'.*densenet, cnn2d"):
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
        ("resnet1d", {"blocks_per_stage": 3}, "must divide 10"),
        ("soundnet", {"head": "mean"}, "conv, max"),
        ("cnn_audio", {"n_samples": 8191}, "at least 8192"),
        ("cnn_spec", {"n_mels": 63}, "at least 64, got 173 and 63"),
        ("cbir", {"branches": 3}, "1 or 2"),
        ("cbir", {"adapters": "first"}, "all, last, none"),
        ("rese2multi", {"n_samples": 17_000}, "13122 and 19683"),
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
    with torch.device("meta"):
        networks = [build(name, 7, given).state_dict() for given in ({}, options)]
    shapes = [{key: value.shape for key, value in state.items()} for state in networks]
    assert shapes[0] == shapes[1]


# DenseNet


@pytest.mark.parametrize("transition", ["pool", "conv1", "conv3"])
def test_densenet_takes_any_length_from_its_shortest_on(transition: str) -> None:
    options = {"n_blocks": 3, "units": 1, "growth": 4, "stem_channels": 4, "transition": transition}
    network = build("densenet", N_TAGS, options)
    for shape in [(4, 4), (5, 9), (31, 4)]:
        assert network(drawn(2, shape=shape)).shape == (2, N_TAGS)
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
    for layer, f_head, v_head in zip(network.backbone, network.f, network.v, strict=True):
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


# One segment at a time, and the LSTM


def test_a_bags_probabilities_are_the_mean_of_its_segments() -> None:
    network, _ = small("segment_dnn")
    network.eval()
    bags = torch.randn(4, 3, 128)
    alone = torch.stack([network(bags[:, n : n + 1]).softmax(1) for n in range(3)])
    logits = network(bags)
    torch.testing.assert_close(logits.exp(), alone.mean(0))
    torch.testing.assert_close(logits.softmax(1), alone.mean(0))


def test_a_segment_is_classified_at_three_levels() -> None:
    network, _ = small("segment_dnn")
    network.eval()
    x = segment = torch.randn(1, 128)
    classes = []
    for layer, level in zip(network.backbone, network.levels, strict=True):
        x = layer(x)
        classes.append(level(x).softmax(1))
    expected = network.output(torch.cat(classes, 1)).log_softmax(1)
    torch.testing.assert_close(network(segment[None]), expected)


def test_the_mean_over_segments_bears_a_tag_that_is_all_but_impossible() -> None:
    network, _ = small("segment_dnn")
    network.eval()
    nn.init.constant_(network.output[0].bias, 0.0)
    with torch.no_grad():
        network.output[0].bias[0] = 1e4
    logits = network(torch.randn(2, 3, 128))
    assert logits.isfinite().all()
    torch.testing.assert_close(logits[:, 1:], torch.full((2, N_TAGS - 1), -1e4), rtol=1e-3, atol=0)


def test_the_lstms_last_step_is_tagged() -> None:
    network, _ = small("lstm")
    bags = torch.randn(4, 5, 128)
    cell = nn.LSTMCell(128, 24)
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in network.lstm.state_dict().items()})
    state = None
    for n in range(5):
        state = cell(bags[:, n], state)
    assert state is not None
    torch.testing.assert_close(network(bags), network.head(state[0]))


# CBIR


def test_branch_p_takes_vggishs_weights_and_keeps_them() -> None:
    vggish = build("vggish", N_TAGS, {"width": 0.0625, "fc": 512}).state_dict()
    network, shape = small("cbir")
    missing, unexpected = network.load_state_dict(
        {key: value for key, value in vggish.items() if not key.startswith("head.")}, strict=False
    )
    assert {key.split(".")[0] for key in unexpected} == {"embeddings"}
    assert {key for key in missing if key.startswith("features.")} == {
        f"features.{layer}.{kind}" for layer in (16, 18) for kind in ("weight", "bias")
    }
    optimiser = torch.optim.Adam(network.parameters(), 0.1, weight_decay=0.1)
    network(drawn(4, shape=shape)).sum().backward()
    optimiser.step()
    for key in missing:
        if key.endswith("weight"):
            assert network.get_parameter(key).requires_grad, key
    for key, value in network.state_dict().items():
        if key in vggish and key.startswith("features."):
            assert torch.equal(value, vggish[key]), key


def test_branch_p_is_trained_if_it_is_not_frozen() -> None:
    network = build("cbir", N_TAGS, SMALL["cbir"][0] | {"frozen": False})
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(("adapters", "first"), [("all", 0), ("last", 4), ("none", 5)])
def test_adapters_add_what_p_says_to_the_random_branch(adapters: str, first: int) -> None:
    options = SMALL["cbir"][0] | {"adapters": adapters}
    network = build("cbir", N_TAGS, options).eval()
    p = r = patches = torch.randn(2, 1, 96, 64)
    ends = (0, 3, 6, 11, 16, 21)
    for block in range(5):
        p, r = network.features[ends[block] : ends[block + 1]](p), network.random[block](r)
        if block >= first:
            r = r + network.adapters[block - first](p)
    steps = network.steps(patches[:, 0])
    assert len(network.adapters) == 5 - first
    for found, x in zip(steps, (p, r), strict=True):
        assert found.shape == (2, 3, 64)
        torch.testing.assert_close(found[:, 1], x[:, :, 1].transpose(1, 2).flatten(1))


def test_cbirs_attention_is_positive_and_sums_to_one_over_time() -> None:
    network, shape = small("cbir")
    weights = network.attention(drawn(2, shape=shape))
    assert weights.shape == (2, 2, 3, 32)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(2), torch.ones(2, 2, 32))


def test_cbir_without_attention_reads_one_length_alone() -> None:
    options = SMALL["cbir"][0] | {"branches": 1, "attention": False, "n_patches": 2}
    network = build("cbir", N_TAGS, options)
    assert network(torch.randn(2, 192, 64)).shape == (2, N_TAGS)
    with pytest.raises(ValueError, match="192 frames"):
        network(torch.randn(2, 480, 64))


def test_cbirs_random_branch_may_have_batch_norm() -> None:
    network = build("cbir", N_TAGS, SMALL["cbir"][0] | {"branch_bn": True})
    assert sum(isinstance(m, nn.BatchNorm2d) for m in network.random.modules()) == 8
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.features.modules())
    assert network(torch.randn(2, 96, 64)).shape == (2, N_TAGS)


# The 2-D networks of stages and groups


@pytest.mark.parametrize(("name", "n_convolutions"), [("cnn2d", 10), ("resnet2d", 20)])
def test_the_plain_2d_networks_pool_where_the_densenet_does(name: str, n_convolutions: int) -> None:
    with torch.device("meta"):
        network = build(name, 41, {})
        assert network.features(torch.empty(2, 1, 173, 80)).shape == (2, 512, 10, 5)
    kernels = [m.kernel_size for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert kernels.count((3, 3)) == n_convolutions


def test_cnn_spec_normalises_once_a_group_after_pooling() -> None:
    network, shape = small("cnn_spec")
    frames = drawn(3, shape=shape)
    network(frames)  # moves the running statistics off their start
    network.eval()
    x = frames[:, None]
    for group in network.features:
        for conv in (layer for layer in group if isinstance(layer, nn.Conv2d)):
            x = nn.functional.conv2d(x, conv.weight, conv.bias, padding=1).relu()
        x = batch_norm(group[-1], nn.functional.max_pool2d(x, 2))
    torch.testing.assert_close(network.pooled(frames), x.flatten(1), rtol=1e-4, atol=1e-5)
    assert network.pooled(frames).shape == (3, network.n_pooled)


def test_the_joint_network_trains_its_head_alone_on_backbones_that_do_not_move() -> None:
    network, shape = small("cnn_comb")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(3):
        network.train()
        optimiser.zero_grad()
        network(drawn(4, shape=shape)).square().sum().backward()
        optimiser.step()
    after = network.state_dict()
    moved = {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert moved == {"head"}, "batch norm of the backbones included"


def test_the_joint_network_reads_the_pooled_maps_of_both_backbones() -> None:
    network, shape = small("cnn_comb")
    network.eval()
    waveform, frames = drawn(2, shape=shape)
    maps = torch.cat([network.audio.pooled(waveform), network.spec.pooled(frames)], 1)
    torch.testing.assert_close(network((waveform, frames)), network.head(maps))
    sizes = [layer.out_features for layer in network.head if isinstance(layer, nn.Linear)]
    assert sizes == [512, 256, 256, 128, N_TAGS]
