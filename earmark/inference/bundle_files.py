"""The files of an exported tagger, checked before anything reads them; see `bundle`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from earmark.checksums import sha256_of
from earmark.errors import UserError
from earmark.params import Runtime

FORMAT = 1
TAGGER = "tagger.json"
_ENTRIES = {"rules", "runtime", "published", "files", "digest"}  # that reading it needs
_FETCH_AGAIN = "copy the whole bundle again, or export it again"


def is_bundle(path: Path) -> bool:
    return (path / TAGGER).is_file()


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files are as they were written."""

    folder: Path
    content: dict[str, Any]  # of tagger.json

    @property
    def runtime(self) -> Runtime:
        return Runtime(**self.content["runtime"])


def open_bundle(folder: Path) -> Bundle:
    """Read and check a bundle, every byte of it.

    Raises:
        UserError: there is none, a newer earmark wrote it, or a file of it is missing or another
            one than was written.
    """
    path = folder / TAGGER
    if not path.is_file():
        fix = "make one with `earmark export -o FOLDER`"
        raise UserError(f"{folder}: no tagger in it ({TAGGER} is missing); {fix}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        written = content["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: cannot be read ({error!r}); {_FETCH_AGAIN}") from None
    if written != FORMAT or isinstance(written, bool):
        is_newer = isinstance(written, int) and written > FORMAT
        fix = "install a newer earmark" if is_newer else "export it again"
        raise UserError(f"{folder}: a bundle of format {written}, not {FORMAT}; {fix}")
    if not content.keys() >= _ENTRIES or content["digest"] != digest_of(content):
        raise UserError(f"{path}: not as it was written; {_FETCH_AGAIN}")
    for name, expected in content["files"].items():
        file = folder / name
        if not file.is_file():
            raise UserError(f"{file}: is missing; {_FETCH_AGAIN}")
        if sha256_of(file) != expected:
            raise UserError(f"{file}: not the file that was written; {_FETCH_AGAIN}")
    return Bundle(folder.absolute(), content)


def digest_of(content: Mapping[str, Any]) -> str:
    """Of all that tagger.json holds but this."""
    others = {key: value for key, value in content.items() if key != "digest"}
    text = json.dumps(others, sort_keys=True, ensure_ascii=True)
    return sha256(text.encode()).hexdigest()
