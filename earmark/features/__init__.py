"""The types of feature by name; each turns a waveform (T,) into rows that are stored and read.

A new type is one file with one class, and one line here.
"""

import difflib
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import Any

from earmark.features.feature_type import FeatureType

__all__ = ["FEATURE_TYPES", "FeatureType", "build", "find", "kind_of"]

# Names alone, so that a type enters the code digest of the features that use it and of no other.
FEATURE_TYPES: dict[str, str] = {
    "logmel": "earmark.features.logmel:LogMel",
    "mfcc": "earmark.features.logmel:Mfcc",
    "waveform": "earmark.features.waveform:Waveform",
    "mn_logmel": "earmark.features.mn:MnLogMel",
    "mn": "earmark.features.mn:Mn",
    "ced_logmel": "earmark.features.ced:CedLogMel",
    "ced": "earmark.features.ced:Ced",
    "panns_logmel": "earmark.features.panns:PannsLogMel",
    "cnn14": "earmark.features.panns:Cnn14",
    "yamnet_logmel": "earmark.features.yamnet:YamnetLogMel",
    "yamnet": "earmark.features.yamnet:Yamnet",
    "patches": "earmark.features.vggish:VggishPatches",
    "embedding": "earmark.features.embedding:Embedding",
}


def find(type_: str) -> type[FeatureType]:
    """The class of a type of feature.

    Raises:
        ValueError: there is no such type.

    Example:
        >>> find("mfcc").segment_key
        'segment_seconds'
    """
    if type_ not in FEATURE_TYPES:
        near = difflib.get_close_matches(type_, FEATURE_TYPES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(FEATURE_TYPES)}"
        raise ValueError(f"type: unknown type of feature {type_!r}; {hint}")
    module, name = FEATURE_TYPES[type_].split(":")
    class_: type[FeatureType] = getattr(import_module(module), name)
    return class_


def kind_of(type_: str) -> str:
    """The type of feature that networks know a type as: a backbone's rows are embeddings.

    Raises:
        ValueError: there is no such type.
    """
    return find(type_).kind or type_


def build(type_: str, options: Mapping[str, Any], *, sample_rate: int) -> FeatureType:
    """Make the extractor of a type of feature.

    Args:
        type_: a key of FEATURE_TYPES.
        options: the constructor's arguments beside `sample_rate`; none has a default.
        sample_rate: of the waveforms that it will be given, in Hz.

    Returns:
        A callable from a float32 waveform (T,) to rows (N, *row_shape).

    Raises:
        ValueError: an unknown type, or an option that is unknown, missing, of a wrong type or out
            of range; the message begins with `type` or the option's name.

    Example:
        >>> import numpy as np
        >>> waveform = build("waveform", {"target_hz": 16_000}, sample_rate=44_100)
        >>> waveform(np.zeros(88_200, np.float32)).shape
        (32000,)
    """
    class_ = find(type_)
    wanted = {f.name: f.type for f in fields(class_) if f.name != "sample_rate"}  # type: ignore[arg-type]
    for name, value in options.items():
        if name not in wanted:
            near = difflib.get_close_matches(name, wanted, n=1)
            known = ", ".join(wanted) or "none"
            hint = f"did you mean {near[0]}?" if near else f"known here: {known}"
            raise ValueError(f"{name}: unknown option; {hint}")
        _check_type(name, value, wanted[name])
    if missing := [name for name in wanted if name not in options]:
        raise ValueError(f"{missing[0]}: missing; add it")
    made: FeatureType = class_(**{"sample_rate": sample_rate, **options})
    return made


def _check_type(name: str, value: Any, wanted: Any) -> None:
    """Refuse what is not of the annotated type; a whole number stands for a float."""
    name_of_type = getattr(wanted, "__name__", wanted)
    valid = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}[name_of_type]
    if type(value) not in valid or value != value:  # NaN differs from itself
        raise ValueError(f"{name}: must be of type {name_of_type}, not {value!r}")
