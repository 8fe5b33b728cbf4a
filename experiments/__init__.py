"""Experiments that are run in one go: `python -m experiments list`, then `run TABLE`.

The papers' tables are data (`tables.py`, `papers.py`); one runner queues their experiments with
DVC, waits for them, and sets the paper's figures beside ours. `run recipes` measures the levers of
the training recipe (`levers.py`, `recipes.py`) in the same way.
"""
