"""From crops to clips, from folds to members, from members to the ensemble."""
