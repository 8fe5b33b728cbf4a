"""What files of code were found to compute, kept from one command to the next.

To parse what stands behind an evaluation takes an eighth of a second, to see that no byte of it
changed a hundredth. What a file computes follows from its bytes alone, so nothing kept can be old.
"""

import hashlib
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from earmark.code_digests import syntax
from earmark.code_digests.syntax import Source, content_of, parse_source
from earmark.layout import Layout
from earmark.whole_files import whole_file


class KeptSources:
    """The files of code of a workspace, of which only those that changed are parsed.

    Args:
        root: the folder that holds dvc.yaml.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._path = root, Layout(root).home / "sources.json"
        # The parser decides, too, and so does the Python whose grammar it reads by.
        parser = Path(syntax.__file__).read_bytes()
        self._parser = hashlib.blake2b(parser + repr(sys.version_info[:2]).encode()).digest()
        self._kept = self._load()
        self._is_new = False

    def read(self, path: str, *, without: frozenset[str] = frozenset()) -> Source:
        """Read a file below the root; arguments and errors are those of `parse_source`."""
        content = content_of(self._root, path)
        about = self._parser + f"{path}\0{sorted(without)}\0".encode(errors="surrogateescape")
        key = hashlib.blake2b(about + content, digest_size=16).hexdigest()
        with suppress(KeyError, TypeError, ValueError):  # none, or a damaged one
            kept_key, digest, imports, dictionaries = self._kept[path]
            if kept_key == key:
                return Source(str(digest), frozenset(imports), dict(dictionaries))
        source = parse_source(content, path, without)
        self._kept[path] = [key, source.digest, sorted(source.imports), source.dictionaries]
        self._is_new = True
        return source

    def keep(self) -> None:
        """Write what was parsed; a full disk or a closed folder stops nobody."""
        if not self._is_new:
            return
        there = {path: one for path, one in self._kept.items() if (self._root / path).is_file()}
        with suppress(OSError), whole_file(self._path) as part:
            part.write_text(json.dumps(there), encoding="utf-8")

    def _load(self) -> dict[str, Any]:
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}
