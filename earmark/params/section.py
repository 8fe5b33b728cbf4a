"""The base of every section of params.yaml, and the types of its values.

Defaults are in params.yaml alone: a missing key is an error, unless it is optional; then it means
that nothing is given. Every number has a lower and an upper bound. Bounds are wide: beyond them no
run could end, fit in memory or compute anything but infinities.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise ValueError("a name must be of a-z, 0-9 and _ alone")
    if len(name) > 64:
        raise ValueError("a name must be of at most 64 characters (it becomes that of files)")
    return name


def _plain_text(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line without control characters")
    return text


def _sha256(text: str) -> str:
    check_pin("a file", text, "it")
    return text


def _in_order(bounds: list[float]) -> list[float]:
    if bounds[0] > bounds[1]:
        raise ValueError("must be [low, high] with low <= high; swap the two")
    return bounds


Name = Annotated[str, AfterValidator(_plain_name)]
# The longest path that Linux opens has 4,096 characters.
Text = Annotated[str, Field(max_length=4096), AfterValidator(_plain_text)]
FilledText = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_plain_text)]
Sha256 = Annotated[str, AfterValidator(_sha256)]
# 64 bits and a sign, which is what MLflow, JSON readers and torch can all hold.
Seed = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
Share = Annotated[float, Field(ge=0, le=1)]
# Of crops, patches, stages and the like: more of them than a clip or a training can have.
Count = Annotated[int, Field(ge=1, le=10_000)]
CountOrNone = Annotated[int, Field(ge=0, le=10_000)]
Epochs = Annotated[int, Field(ge=1, le=100_000)]
# Of threads and processes: the largest machines have some hundreds of processors.
Processors = Annotated[int, Field(ge=1, le=1024)]
# Of a delay, a crop or a pause: an hour is more than any of them can use.
Seconds = Annotated[float, Field(ge=0, le=3600)]
# Of a segment: a thousandth of a second is shorter than a frame, ten minutes hold any event.
SegmentSeconds = Annotated[float, Field(ge=0.001, le=600)]
# 120 dB and more is a gain of a million; 24 bits of PCM span 144 dB.
Decibel = Annotated[float, Field(ge=0, le=120)]
# Half of 192 kHz, the highest working rate.
Hertz = Annotated[float, Field(ge=1, le=96_000)]
HertzRange = Annotated[list[Hertz], Field(min_length=2, max_length=2), AfterValidator(_in_order)]
# Of an equaliser: from ten octaves wide to a hundredth of its centre.
Quality = Annotated[float, Field(ge=0.01, le=100)]
QualityRange = Annotated[
    list[Quality], Field(min_length=2, max_length=2), AfterValidator(_in_order)
]
# The least leaves every weight as it is: a paper compares with weights that are not fine-tuned.
LearningRate = Annotated[float, Field(ge=1e-30, le=10)]
# Of a term of the loss; a thousand times the others is as if there were no others.
LossWeight = Annotated[float, Field(ge=0, le=1000)]


class Section(BaseModel):
    """A mapping of params.yaml that refuses unknown keys, other types, NaN and infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class OpenSection(Section):
    """A section whose further keys are options; the code that takes them checks them."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, allow_inf_nan=False)


def check_pin(path: str, sha256: str, key: str) -> None:
    """Refuse a weight file without its checksum."""
    if path and not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError(f"{key} must be the 64 hex digits of the weight file's sha256")
