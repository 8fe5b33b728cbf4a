"""Networks of your own; see docs/architecture.md."""
