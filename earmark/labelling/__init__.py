"""The labelling round trip: what to label next, a page to listen and choose, and the way back."""
