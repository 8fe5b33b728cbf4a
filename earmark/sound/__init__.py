"""Waveforms: decoding, trimming, effects, and mixtures."""
