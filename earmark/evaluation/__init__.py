"""What a tagger is worth: point values, intervals, tags apart, calibration, pairs of taggers."""
