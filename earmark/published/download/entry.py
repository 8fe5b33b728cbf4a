"""What a download is: its files, and what to know before it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PublishedFile:
    """One file: `checksum` is `md5:...` or `sha256:...`, or empty where nobody publishes one."""

    name: str
    url: str
    checksum: str = ""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A corpus or a set of weights; without files and listing it must be downloaded by hand."""

    name: str
    description: str
    licence: str
    page: str
    kind: Literal["corpus", "weights"] = "corpus"
    files: tuple[PublishedFile, ...] = ()
    listing: str = ""  # an article of figshare's API, which lists the files with their md5
    n_bytes: int | None = None  # of all files together
    profile: str = ""  # the profile for it, where that has another name
    to_convert: str = ""  # the file of weights that `convert` reads
    note: str = ""
    steps: tuple[str, ...] = ()  # what to do by hand
