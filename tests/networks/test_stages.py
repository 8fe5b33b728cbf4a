"""The stages of a network, from the input to the head: all parameters, as they are computed."""

import pytest
import torch
from torch import nn

from earmark.networks import NETWORKS
from tests.networks.small_networks import random_input, small


def modules_of(names: list[str]) -> set[str]:
    """`features.3` of features.3.block.0.weight, and `head` of head.weight."""
    return {".".join(part for part in name.split(".")[:2] if part != "weight") for name in names}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_is_in_one_stage_and_those_of_the_tags_in_the_last(name: str) -> None:
    network, _ = small(name)
    stages = network.stages()
    assert all(stages)
    names = [key for stage in stages for key in stage]
    assert sorted(names) == sorted(key for key, _ in network.named_parameters())
    assert network.tag_tensors() & set(names) <= set(stages[-1])


@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - {"cbir"}))
def test_stages_stand_in_the_order_in_which_they_are_computed(name: str) -> None:
    """But for cbir, which computes one of its two branches after the other."""
    network, shape = small(name)
    stage_of = {key: i for i, names in enumerate(network.stages()) for key in names}
    computed: list[int] = []

    def record(key: str, module: nn.Module) -> None:
        own = [f"{key}.{parameter}" for parameter, _ in module.named_parameters(recurse=False)]
        module.register_forward_pre_hook(lambda *_: computed.extend(stage_of[k] for k in own))

    for key, module in network.named_modules():
        if key:
            record(key, module)
    with torch.no_grad():
        network(random_input(2, shape=shape))
    assert computed == sorted(computed)
    assert set(computed) == set(range(len(network.stages())))


def test_a_mobilenet_has_its_stem_fifteen_blocks_last_convolution_and_two_dense_layers() -> None:
    network, _ = small("mobilenet")
    expected = [{f"features.{i}"} for i in range(17)] + [{"head.0"}, {"head.3"}]
    assert [modules_of(names) for names in network.stages()] == expected


def test_a_ced_has_its_positions_with_its_patches_and_its_last_norms_with_the_last_block() -> None:
    network, _ = small("ced")
    first, *blocks, tags = network.stages()
    assert first[:2] == ["time_pos_embed", "freq_pos_embed"]
    assert {key.split(".")[0] for key in first[2:]} == {"init_bn", "patch_embed"}
    assert modules_of(blocks[0]) == {"blocks.0"}
    assert modules_of(blocks[1]) == {"blocks.1", "norm", "norm.bias", "head.0"}
    assert modules_of(tags) == {"head.1"}


def test_a_separable_convolution_of_yamnet_is_one_stage() -> None:
    network, _ = small("yamnet")
    pairs = [{f"features.{i}", f"features.{i + 1}"} for i in range(1, 27, 2)]
    expected = [{"features.0"}, *pairs]
    assert [modules_of(names) for names in network.stages()[:-1]] == expected


def test_the_branches_of_cbir_are_side_by_side() -> None:
    network, _ = small("cbir", adapters="last")
    stages = [modules_of(names) for names in network.stages()]
    assert stages[0] == {"features.0", "random.0"}
    assert stages[2] == {"features.6", "features.8", "random.2"}
    assert stages[4] == {"features.16", "features.18", "random.4", "adapters.0"}
    assert stages[5] == {"pools.0", "pools.1"}
    assert [names for names in stages[6:] if "head.4" not in names] == [{"head.0", "head.2"}]
