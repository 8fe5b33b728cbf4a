"""A trained network with all that it takes to use it."""
