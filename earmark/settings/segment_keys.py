"""Whether the segment of a model is given in the unit of its feature."""

from earmark import features
from earmark.networks import find
from earmark.params import Model
from earmark.params.roster import reads_all

UNITS = {"segment_seconds": "seconds", "segment_samples": "samples", "segment_patches": "patches"}


def segment_key_problems(entry: Model, type_: str, key: str) -> list[str]:
    """Whether the length of a segment is given once, in the unit of the type of feature."""
    wanted = features.find(type_).segment_key
    problems = [
        f"{key}.{other}: a feature of type {type_} needs {wanted}; give that instead"
        for other in UNITS
        if other != wanted and getattr(entry.input, other) is not None
    ]
    if not problems and getattr(entry.input, wanted) is None:
        problems = [f"{key}.{wanted}: missing; add it"]
    if reads_all(entry) and entry.input.lengths:
        problems.append(f"{key}.lengths: there is one length, that of the clip; delete it")
    if not problems and reads_all(entry) and not find(entry.network.name).reads_whole_clips:
        fix = f"give a number of {UNITS[wanted]}"
        problems = [f"{key}.{wanted}: {entry.network.name} reads no whole clips; {fix}"]
    return problems
