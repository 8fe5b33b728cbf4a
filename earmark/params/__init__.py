"""params.yaml: its sections as typed declarations, and how it is read."""

from earmark.params.params import *  # noqa: F403
