"""Checksums of weights whose publisher states none: kept in params.yaml by their first download."""

import re
from collections.abc import Mapping
from pathlib import Path

from earmark.errors import UserError
from earmark.params.reading import read_yaml
from earmark.whole_files import whole_file

KEY = "weight_checksums"


def kept_checksums(params: Path) -> dict[str, str]:
    """File -> sha256, as params.yaml has them; none where there is no such file.

    Raises:
        UserError: the file cannot be read.
    """
    if not params.is_file():
        return {}
    raw = read_yaml(params)
    section = raw.get(KEY) if isinstance(raw, dict) else None
    if section is not None and not isinstance(section, dict):
        raise UserError(f"params.yaml: {KEY}: must be a mapping of files to their sha256")
    return dict(section or {})


def keep_checksums(params: Path, checksums: Mapping[str, str]) -> list[str]:
    """Write those that params.yaml does not have yet; returns one line for each.

    By lines, so that whatever else stands in the file stays as it was written. A file without the
    section is left alone: it may be of another project.
    """
    kept = kept_checksums(params)
    new = {file: sha256 for file, sha256 in checksums.items() if file not in kept}
    text = params.read_bytes().decode() if params.is_file() else ""  # line ends as they are
    section = re.search(rf"^{KEY}:(?: *\{{\}})?(.*(?:\n|\Z))", text, flags=re.MULTILINE)
    if not new or section is None:
        return []
    # Quoted: a checksum of digits alone would be read as a number.
    entries = "".join(f'  "{file}": "{sha256}"\n' for file, sha256 in new.items())
    line = section[1] if section[1].endswith("\n") else f"{section[1]}\n"
    text = f"{text[: section.start()]}{KEY}:{line}{entries}{text[section.end() :]}"
    with whole_file(params) as part:
        part.write_bytes(text.encode())
        if _unreadable_as(part, kept | new):
            lines = ", ".join(entries.split("\n")[:-1]).strip()
            raise UserError(f"params.yaml: {KEY}: cannot be added to; write it into lines: {lines}")
    return [
        f"params.yaml: {KEY}: {file} must be these bytes from now on; commit it" for file in new
    ]


def _unreadable_as(path: Path, expected: Mapping[str, str]) -> bool:
    try:
        return kept_checksums(path) != expected
    except UserError:
        return True
