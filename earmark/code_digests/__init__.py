"""Exact digests of the code behind each output: what code.json holds and stages depend on."""

from earmark.code_digests.changes import (
    check,
    committed,
    explain,
    refuse_absent,
    version_problems,
)
from earmark.code_digests.keys import CODE_JSON, EXCLUDED, REGISTRIES, Code, Key, code_keys
from earmark.code_digests.versions import sources_version

__all__ = [
    "CODE_JSON",
    "EXCLUDED",
    "REGISTRIES",
    "Code",
    "Key",
    "check",
    "code_keys",
    "committed",
    "explain",
    "refuse_absent",
    "sources_version",
    "version_problems",
]
