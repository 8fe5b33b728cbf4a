"""The trained ensemble on recordings of the user's own."""
