"""The synthetic corpus of the demo, and its sounds."""
