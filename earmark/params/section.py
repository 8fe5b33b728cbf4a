"""The base of every section of params.yaml.

Defaults are in params.yaml alone: a missing key is an error, unless it is optional; then it means
that nothing is given.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise ValueError("a name must be of a-z, 0-9 and _ alone")
    return name


Name = Annotated[str, AfterValidator(_plain_name)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Bounds = Annotated[list[Positive], Field(min_length=2, max_length=2)]


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
