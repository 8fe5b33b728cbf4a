"""`python -m earmark repro --jobs N`: what is stale, side by side; DVC alone says what is stale."""
