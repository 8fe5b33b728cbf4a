"""Profiles, and the checks of params.yaml and corpus before any work."""
