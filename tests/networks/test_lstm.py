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
