"""The LSTM against its cell."""

import torch
from torch import nn

from tests.networks.small_networks import small


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


def test_a_bag_is_tagged_at_its_own_last_patch_whatever_its_batch() -> None:
    network, _ = small("lstm")
    bags = torch.randn(3, 5, 128)
    bags[0, 2:] = torch.nan
    bags[2, 1:] = torch.nan
    together = network(bags)
    for logits, bag, n_patches in zip(together, bags, (2, 5, 1), strict=True):
        torch.testing.assert_close(logits[None], network(bag[None, :n_patches]))
    together.sum().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())
