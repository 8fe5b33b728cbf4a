"""Published corpora and weights: what there is, and how it comes to the disk whole."""
