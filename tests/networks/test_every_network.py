"""What holds for every network of the registry."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from earmark.networks import NETWORKS, build, find
from earmark.published.download.published import PUBLISHED
from tests.networks.small_networks import N_TAGS, SMALL, random_input, small, split_clips

KERAS = {"bn_epsilon": 0.001, "bn_momentum": 0.01}
FEATURE_TYPES = {"logmel", "mfcc", "waveform", "patches", "embedding", "fusion"}
FEATURE_TYPES |= {"mn_logmel", "ced_logmel", "panns_logmel", "yamnet_logmel"}


def test_every_network_is_tested_here() -> None:
    assert SMALL.keys() == NETWORKS.keys()


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_clips_by_tags(name: str) -> None:
    network, shape = small(name)
    assert network(random_input(3, shape=shape)).shape == (3, N_TAGS)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_names_the_types_of_features_that_it_reads(name: str) -> None:
    assert find(name).feature_types
    assert find(name).feature_types <= FEATURE_TYPES


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_the_head_on_the_features(name: str) -> None:
    network, shape = small(name)
    network.eval()
    x = random_input(3, shape=shape)
    features = network.forward_features(x)
    assert features.shape[0] == 3
    assert torch.equal(network.forward_head(features), network(x))
    assert "forward" not in vars(find(name)), "the base class puts features and head together"


@pytest.mark.parametrize("name", NETWORKS)
def test_feature_dim_is_the_size_of_feature_vectors(name: str) -> None:
    network, shape = small(name)
    features = network.forward_features(random_input(3, shape=shape))
    assert network.feature_dim == (features.shape[1] if features.ndim == 2 else None)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_number_of_tags_shapes_exactly_the_tag_tensors_and_they_are_in_the_head(
    name: str,
) -> None:
    two, three = (build(name, n_tags, SMALL[name][0]) for n_tags in (2, 3))
    shapes = {key: value.shape for key, value in three.state_dict().items()}
    changed = {key for key, value in two.state_dict().items() if value.shape != shapes[key]}
    assert two.tag_tensors() == three.tag_tensors() == changed
    assert all(key.startswith("head.") for key in changed)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_new_head_has_other_tags_on_the_same_features(name: str) -> None:
    network, shape = small(name)
    other = build(name, N_TAGS + 2, SMALL[name][0])
    state = {k: v for k, v in network.state_dict().items() if not k.startswith("head.")}
    missing, unexpected = other.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(key.startswith("head.") for key in missing)
    x = random_input(3, shape=shape)
    assert torch.equal(other.eval().forward_features(x), network.eval().forward_features(x))
    assert other(x).shape == (3, N_TAGS + 2)


@pytest.mark.parametrize("name", NETWORKS)
def test_attention_is_over_time_and_per_tag_or_refused_by_name(name: str) -> None:
    network, shape = small(name)
    network.eval()
    x = random_input(3, shape=shape)
    if not network.attention_levels:
        with pytest.raises(ValueError, match=f"{find(name).__name__} has no attention over time"):
            network.attention(x)
        return
    weights = network.attention(x)
    n_levels, n_steps = len(network.attention_levels), weights.shape[2]
    assert weights.shape == (n_levels, 3, n_steps, N_TAGS)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.sum(2), torch.ones(n_levels, 3, N_TAGS))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_trainable_parameter_gets_a_gradient(name: str) -> None:
    network, shape = small(name)
    (network(random_input(4, shape=shape)) * torch.randn(4, N_TAGS)).sum().backward()
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
    network(random_input(4, shape=shape))  # moves the running statistics off their start
    other = build(name, N_TAGS, SMALL[name][0])
    other.load_state_dict(network.state_dict())
    x = random_input(2, shape=shape)
    torch.testing.assert_close(other.eval()(x), network.eval()(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_too_short_input_names_the_needed_length(name: str) -> None:
    network, _ = small(name)
    _, _, short, needed = SMALL[name]
    with pytest.raises(ValueError, match=needed):
        network(random_input(2, shape=short))
    with pytest.raises(ValueError, match="expected"):
        network(random_input(shape=short))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_clip_is_tagged_the_same_alone_and_in_a_batch(name: str) -> None:
    network, shape = small(name)
    network.eval()
    x = random_input(4, shape=shape)
    one_by_one, expected = torch.cat([network(clip) for clip in split_clips(x)]), network(x)
    # relative to the largest, which is in the hundreds where ten blocks add up untrained
    atol = 1e-5 * max(1.0, expected.abs().max().item())
    torch.testing.assert_close(one_by_one, expected, rtol=1e-4, atol=atol)


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_autocast_is_close_and_its_logits_are_float32(name: str) -> None:
    network, shape = small(name)
    network.eval()
    x = random_input(4, shape=shape)
    expected = network(x)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(x)
    assert logits.dtype == torch.float32
    assert (logits - expected).abs().max() < 0.04 * expected.abs().max()
    took_hold = not torch.equal(logits, expected)
    assert took_hold == (name != "linear")  # all of it is sums over time, and logits


@pytest.mark.parametrize("name", NETWORKS)
def test_channels_last_changes_the_layout_and_not_the_logits(name: str) -> None:
    network, shape = small(name)
    network.eval()
    x = random_input(4, shape=shape)
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
    assert is_channels_last or "embedding" in network.feature_types
    atol = 1e-5 * max(1.0, expected.abs().max().item())
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=atol)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_eight_clips_can_be_learnt_by_heart(name: str) -> None:
    network, shape = small(name)
    x, tags = random_input(8, shape=shape), torch.arange(8) % N_TAGS
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for step in range(300):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(x), tags).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step % 20 == 19 and loss_without_dropout(network, x, tags) < 0.1:
            break
    assert loss_without_dropout(network, x, tags) < 0.1


def loss_without_dropout(network: nn.Module, x: Any, tags: Tensor) -> float:
    dropouts = [module for module in network.modules() if isinstance(module, nn.Dropout)]
    for dropout in dropouts:
        dropout.eval()
    with torch.no_grad():
        loss = nn.functional.cross_entropy(network(x), tags).item()
    for dropout in dropouts:
        dropout.train()
    return loss


@pytest.mark.parametrize("name", ["densenet", "cnn2d", "resnet1d", "resnet2d"])
def test_batch_norms_of_shan_and_rens_networks_can_be_those_of_keras(name: str) -> None:
    for options, expected in (({}, (1e-5, 0.1)), (KERAS, (1e-3, 0.01))):
        network, _ = small(name, **options)
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
        assert norms
        assert {(norm.eps, norm.momentum) for norm in norms} == {expected}


@pytest.mark.parametrize("name", NETWORKS)
def test_published_layers_are_there_and_their_weights_can_be_fetched(name: str) -> None:
    network, _ = small(name)
    published = network.published
    assert bool(published) == (name in ("vggish", "soundnet", "cbir"))
    if published:
        assert PUBLISHED[published.name].kind == "weights"
        for layer in published.layers:
            assert any(key.startswith(layer) for key in network.published_parameters())
