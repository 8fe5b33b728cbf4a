"""What the columns fold_<name> of data/folds.parquet say of a training clip."""

TRAIN, VALIDATION, UNUSED = "train", "validation", ""
