"""What others published: corpora and weights to download, and their formats."""
