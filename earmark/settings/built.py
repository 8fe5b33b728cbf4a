"""Features and networks as params.yaml declares them, built for checks and estimates."""

import torch

from earmark import features, networks
from earmark.features import FeatureType
from earmark.params import Extractor, Network, Params
from earmark.params.roster import EMBEDDING


def feature_of(params: Params, name: str) -> FeatureType:
    """A feature of params.yaml at the working rate."""
    feature = params.features[name]
    return features.build(feature.type, feature.options, sample_rate=params.decode.sample_rate)


def embedding_of(params: Params, extractor: Extractor) -> FeatureType:
    """What an extractor makes of patches."""
    dims = extractor.network.options.get("embedding_dim", 128)
    return features.build(EMBEDDING, {"dims": dims}, sample_rate=params.decode.sample_rate)


def without_values(network: Network) -> networks.Network:
    """A network for two tags that has shapes and names, and takes no memory."""
    with torch.device("meta"):
        return networks.build(network.name, 2, network.options)
