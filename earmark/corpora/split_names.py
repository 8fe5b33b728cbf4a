"""What the columns fold_<name> of data/folds.parquet say of a training clip."""

TRAIN, VALIDATION, UNUSED = "train", "validation", ""
DROPPED = "dropped"  # by the user: only predicted, in the folds that would validate it
