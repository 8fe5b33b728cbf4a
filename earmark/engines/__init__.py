"""Stages on other machines: Ray or SLURM runs a stage's body, and its command waits.

`EARMARK_ENGINE` chooses; without it nothing of this package is imported. See docs/scaling.md.
"""
