'''Networks of your own: one file each in this folder, and nothing to register.

For example `extensions/my_net.py`:

    """A small CNN on log-mel or MFCC frames.

    Shapes: B clips, N frames, M mel bins, C channels, K tags.
    """

    from torch import Tensor, nn

    from earmark.networks import Network


    class MyNet(Network):
        """Two 3x3 convolutions, the maximum over time and frequency, one linear layer."""

        feature_types = frozenset({"logmel", "mfcc"})

        def __init__(self, n_tags: int, *, channels: int = 32) -> None:
            super().__init__()
            self.layers = nn.Sequential(
                nn.Conv2d(1, channels, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(),
            )
            self.feature_dim = channels
            self.head = nn.Linear(channels, n_tags)

        def forward_features(self, x: Tensor) -> Tensor:
            """Return (B, C) from frames (B, N, M); the base class applies the head to it."""
            return self.layers(x.unsqueeze(1)).amax((2, 3))

and the network of a model's entry in params.yaml, its class and those options that are not to have
their defaults:

    network:
      name: extensions.my_net:MyNet
      channels: 64

Rules, of which `python -m earmark validate` checks all but the last:

- The class derives from `earmark.networks.Network`, whose docstring says what a network offers.
- `feature_types` names what it reads: "logmel", "mfcc", "waveform", "patches", "embedding" or
  "fusion".
- Options are keyword-only, with plain defaults: int, float, str or bool.
- `head` gives the logits, (B, K), and is all that depends on the number of tags.
- It depends on its arguments alone: it reads no file and prints nothing.

A change of the file trains the models that name it again, and no other.
'''
