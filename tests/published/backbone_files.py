"""Published networks that learned AudioSet as their files have them: names, axes, small sizes.

Values follow from the number of a tensor, so that a reference package makes the same network.
"""

import math

import numpy as np
import torch
from torch import Tensor

State = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]


def filled(shapes: Shapes) -> State:
    """Random values from the number of each tensor, that keep the scale from layer to layer."""
    state = {}
    for i, (name, shape) in enumerate(shapes.items()):
        values = np.random.default_rng(i).uniform(-1, 1, shape)
        if name.endswith("running_var"):
            values = 1 + values / 2
        elif len(shape) > 1:
            values *= math.sqrt(6 / math.prod(shape[1:]))
        elif name.endswith("weight"):
            values = 1 + values / 4
        state[name] = torch.from_numpy(values).float()
    return state


def _norm(name: str, channels: int) -> Shapes:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in parts}


def _linear(name: str, read: int, made: int) -> Shapes:
    return {f"{name}.weight": (made, read), f"{name}.bias": (made,)}


def cnn14_state(*, width: int = 64, n_tags: int = 5, window: int = 1024) -> State:
    """As panns_inference names it; `width` channels in the first block."""
    shapes: Shapes = {"spectrogram_extractor.stft.conv_real.weight": (window // 2 + 1, 1, window)}
    shapes |= {"logmel_extractor.melW": (window // 2 + 1, 64)} | _norm("bn0", 64)
    read = 1
    for i in range(6):
        made, block = width << i, f"conv_block{i + 1}"
        shapes |= {f"{block}.conv1.weight": (made, read, 3, 3)}
        shapes |= {f"{block}.conv2.weight": (made, made, 3, 3)}
        shapes |= _norm(f"{block}.bn1", made) | _norm(f"{block}.bn2", made)
        read = made
    return filled(shapes | _linear("fc1", read, read) | _linear("fc_audioset", read, n_tags))


def yamnet_state(*, width: int = 32, n_tags: int = 521) -> State:
    """As torch_audioset names it; `width` channels in the first layer."""
    shapes: Shapes = {"layer1.fused.conv.weight": (width, 1, 3, 3)}
    shapes |= _norm("layer1.fused.bn", width)
    read = width
    for i, factor in enumerate((2, 4, 4, 8, 8, *[16] * 6, 32, 32), 2):
        made = factor * width
        shapes |= {f"layer{i}.depthwise_conv.conv.weight": (read, 1, 3, 3)}
        shapes |= _norm(f"layer{i}.depthwise_conv.bn", read)
        shapes |= {f"layer{i}.pointwise_conv.conv.weight": (made, read, 1, 1)}
        shapes |= _norm(f"layer{i}.pointwise_conv.bn", made)
        read = made
    return filled(shapes | _linear("classifier", read, n_tags))


def ced_state(*, dims: int = 192, n_blocks: int = 12, n_tags: int = 5) -> State:
    """As mispeech/ced-tiny on the hub names it."""
    shapes = {f"encoder.{key}": shape for key, shape in _encoder(dims, n_blocks).items()}
    shapes |= {"outputlayer.0.weight": (dims,), "outputlayer.0.bias": (dims,)}
    return filled(shapes | _linear("outputlayer.1", dims, n_tags))


def _encoder(dims: int, n_blocks: int) -> Shapes:
    shapes = _norm("init_bn", 64)
    shapes |= {"patch_embed.proj.weight": (dims, 1, 16, 16), "patch_embed.proj.bias": (dims,)}
    shapes |= {"time_pos_embed": (1, dims, 1, 63), "freq_pos_embed": (1, dims, 4, 1)}
    for i in range(n_blocks):
        block = f"blocks.{i}"
        for norm in ("norm1", "norm2"):
            shapes |= {f"{block}.{norm}.weight": (dims,), f"{block}.{norm}.bias": (dims,)}
        shapes |= _linear(f"{block}.attn.qkv", dims, 3 * dims)
        shapes |= _linear(f"{block}.attn.proj", dims, dims)
        shapes |= _linear(f"{block}.mlp.fc1", dims, 4 * dims)
        shapes |= _linear(f"{block}.mlp.fc2", 4 * dims, dims)
    return shapes | {"norm.weight": (dims,), "norm.bias": (dims,)}


def mobilenet_state(network_state: State, *, n_hidden: int, n_tags: int = 5) -> State:
    """As EfficientAT names it, with the `features` of one of our networks, whose names are
    theirs."""
    features = {k: tuple(v.shape) for k, v in network_state.items() if k.startswith("features.")}
    dims = features["features.16.0.weight"][0]
    head = _linear("classifier.2", dims, n_hidden) | _linear("classifier.5", n_hidden, n_tags)
    return filled(features | head)
