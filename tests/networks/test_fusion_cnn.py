"""cnn-audio and cnn-spec against explicit computations, and their fusion."""

import torch
from torch import nn

from tests.networks.small_networks import N_TAGS, batch_norm, conv1d, random_input, small


def test_cnn_audio_normalises_once_a_group_after_pooling() -> None:
    network, (n_samples,) = small("cnn_audio")
    waveform = torch.randn(2, n_samples)
    network(waveform)  # moves the running statistics off their start
    network.eval()
    x = waveform[:, None]
    for group, pool in zip(network.features, (16, 8, 8, 8), strict=True):
        conv1, conv2 = (layer for layer in group if isinstance(layer, nn.Conv2d))
        x = conv1d(conv2, conv1d(conv1, x).relu()).relu()
        x = batch_norm(group[-1], nn.functional.max_pool1d(x, pool))
    x = x.flatten(1)
    torch.testing.assert_close(network.forward_features(waveform), x, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network(waveform), network.head(x), rtol=1e-4, atol=1e-4)


def test_cnn_spec_normalises_once_a_group_after_pooling() -> None:
    network, shape = small("cnn_spec")
    frames = random_input(3, shape=shape)
    network(frames)  # moves the running statistics off their start
    network.eval()
    x = frames[:, None]
    for group in network.features:
        for conv in (layer for layer in group if isinstance(layer, nn.Conv2d)):
            x = nn.functional.conv2d(x, conv.weight, conv.bias, padding=1).relu()
        x = batch_norm(group[-1], nn.functional.max_pool2d(x, 2))
    torch.testing.assert_close(network.forward_features(frames), x.flatten(1), rtol=1e-4, atol=1e-5)
    assert network.forward_features(frames).shape == (3, network.feature_dim)


def test_the_fusion_network_trains_its_head_alone_on_backbones_that_do_not_move() -> None:
    network, shape = small("cnn_comb")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(3):
        network.train()
        optimiser.zero_grad()
        network(random_input(4, shape=shape)).square().sum().backward()
        optimiser.step()
    after = network.state_dict()
    moved = {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert moved == {"head"}, "batch norm of the backbones included"


def test_the_fusion_network_reads_the_pooled_maps_of_both_backbones() -> None:
    network, shape = small("cnn_comb")
    network.eval()
    waveform, frames = random_input(2, shape=shape)
    maps = [network.audio.forward_features(waveform), network.spec.forward_features(frames)]
    features = torch.cat(maps, 1)
    assert torch.equal(network.forward_features((waveform, frames)), features)
    torch.testing.assert_close(network((waveform, frames)), network.head(features))
    sizes = [layer.out_features for layer in network.head if isinstance(layer, nn.Linear)]
    assert sizes == [512, 256, 256, 128, N_TAGS]
