"""Batch norms folded into the convolutions before them, for a network that only answers."""

from copy import deepcopy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from earmark.networks.base import Network


def folded(network: Network, dtype: torch.dtype) -> Network:
    """A copy in evaluation mode, with fewer layers; what it computes is the same up to rounding.

    In each `nn.Sequential` a batch norm that follows a convolution becomes part of its kernels and
    bias, which are then kept in the type that they are computed in.
    """
    network = deepcopy(network).eval()
    for layers in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for index in range(len(layers) - 1):
            conv, norm = layers[index], layers[index + 1]
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                layers[index] = fuse_conv_bn_eval(conv, norm).to(dtype)
                layers[index + 1] = nn.Identity()  # so that all others keep their numbers
    return network
