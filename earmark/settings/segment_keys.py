"""Whether the segment of a model is given in the unit of its feature."""

from earmark import features
from earmark.params import Model

SEGMENT_KEYS = ("segment_seconds", "segment_samples", "segment_patches")


def segment_key_problems(entry: Model, type_: str, key: str) -> list[str]:
    """Whether the length of a segment is given once, in the unit of the type of feature."""
    wanted = features.find(type_).segment_key
    problems = [
        f"{key}.{other}: a feature of type {type_} needs {wanted}; give that instead"
        for other in SEGMENT_KEYS
        if other != wanted and getattr(entry.input, other) is not None
    ]
    if not problems and getattr(entry.input, wanted) is None:
        problems = [f"{key}.{wanted}: missing; add it"]
    if entry.input.segment_patches == "all" and entry.input.lengths:
        problems.append(f"{key}.lengths: there is one length, that of the clip; delete it")
    return problems
