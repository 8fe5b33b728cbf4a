"""Corpora: the clips table, folds, label corrections, and where they come from."""
