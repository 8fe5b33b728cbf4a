"""Published corpora and weights: a list of them, and their download."""
