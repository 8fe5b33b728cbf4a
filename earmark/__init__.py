"""earmark: from a labelled pile of recordings to an audio tagger that says how sure it is."""
