"""What a training costs: multiply-adds, which are the same on every machine."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from earmark.features import build as build_feature
from earmark.features.segments import lengths_in_rows
from earmark.networks import build
from earmark.params import Params
from earmark.params.roster import model_of, recipe_of


def training_cost(params: Params, group: str, model: str, *, n_tags: int) -> float | None:
    """Multiply-adds of all forward passes of a training, for each of its clips.

    What a backward pass costs beside is about twice that, whatever the network; augmentation is
    not in it. None for what is fitted at once, or reads clips of any length.

    Args:
        params: with the model, its recipe and its feature.
        group: of the model, whose feature has the same name.
        n_tags: of the corpus.
    """
    entry, feature = model_of(params, group, model), params.features[group]
    built = build_feature(feature.type, feature.options, sample_rate=params.decode.sample_rate)
    rows = lengths_in_rows(entry.input, built)[0]
    network = build(entry.network.name, n_tags, entry.network.options)
    if network.is_fitted_at_once or not rows:
        return None
    network.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, rows, *built.row_shape))
    n_operations = int(counter.get_total_flops())  # a multiply and an add are two
    return n_operations / 2 * recipe_of(params, entry).epochs
