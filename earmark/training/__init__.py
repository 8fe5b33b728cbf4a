"""Training: the loop, batches, schedules, losses, and checkpoints that a kill cannot hurt."""
