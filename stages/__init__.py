"""The stages of dvc.yaml: one thin module each over the library in `earmark`."""

import hashlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from earmark.code_digests import check
from earmark.errors import UserError
from earmark.exits import clean_exit
from earmark.layout import Layout
from earmark.params import Params
from earmark.params.reading import load_params, read_yaml
from earmark.processes import die_with_parent, duration, set_up_process


@dataclass(frozen=True)
class Stage:
    """What every stage starts from."""

    params: Params
    layout: Layout
    code: str  # the digest of the code behind it
    log: logging.Logger


@contextmanager
def stage(name: str, item: str | None = None, *, title: str = "") -> Iterator[Stage]:
    """Load and check params and code, and set up the process; say at the end how long it took.

    What is no bug of ours ends in one line, see `earmark.exits`.

    Args:
        name: of the stage, which is its key in code.json.
        item: the model, feature, extractor or corpus that it works on, where there are several.
        title: what messages begin with, if not the name.

    Raises:
        SystemExit: 1 with the problems on stderr; 130 after Ctrl-C.
    """
    title, start = title or name, time.monotonic()
    with clean_exit(title):
        layout = Layout.here()
        params = load_params(layout.params)
        set_up_process(threads=params.runtime.threads)
        if "DVC_STAGE" in os.environ:
            die_with_parent()
        _check_networks(layout, params.extensions)
        code = ""
        if name != "code":
            code = check(layout.root, read_yaml(layout.params), name, item or "")
        log = logging.getLogger(f"earmark.{title}")
        yield Stage(params, layout, code, log)
        log.info("%s: %s", title, duration(time.monotonic() - start))


def _check_networks(layout: Layout, extensions: str) -> None:
    """Refuse unknown networks and options before any work, once for each version of the params.

    In a process of its own, since it needs torch, which most stages do without.
    """
    version = hashlib.blake2b(layout.params.read_bytes(), digest_size=16)
    for folder in ("earmark", extensions):
        for path in sorted((layout.root / folder).rglob("*.py")):
            version.update(path.read_bytes())
    mark = layout.home / "checked" / version.hexdigest()
    if mark.exists():
        return
    command = [sys.executable, "-m", "earmark", "validate", "--params-only"]
    checked = subprocess.run(command, cwd=layout.root, capture_output=True, text=True, check=False)
    if checked.returncode:
        raise UserError(*(checked.stderr or checked.stdout).strip().splitlines())
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
