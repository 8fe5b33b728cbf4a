"""Training: the loop, batches, schedules, losses, and checkpoints that survive a kill."""
