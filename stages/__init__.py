"""The stages of dvc.yaml: one thin module each over the library in `earmark`."""

import argparse
import hashlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import earmark.interrupts  # first, for Ctrl-C while the others are imported # noqa: F401
from earmark.code_digests import check, sources_version
from earmark.errors import UserError, how_it_ended
from earmark.exits import clean_exit
from earmark.layout import Layout
from earmark.params import Params
from earmark.params.reading import checked_params, read_yaml
from earmark.params.roster import EMBEDDING
from earmark.processes import choose_kernels, die_with_parent, duration, set_up_process

choose_kernels()  # here, since the modules of the stages import numpy before they call anything

# What makes a stage take less memory, where that is not the number of its workers.
_MEMORY_KEYS = {"train": "model.batch_size", "finetune": "finetune.batch_size"}


@dataclass(frozen=True)
class Stage:
    """What every stage starts from."""

    params: Params
    layout: Layout
    arguments: dict[str, str]  # of the command line, by name
    code: str  # the digest of the code behind it
    log: logging.Logger


_GROUPS = ("group", "corpus")  # what a title leaves out, or says in another way
_NAMES_OF_CODE = ("model", "extractor", "feature")  # the first that is there has a key of its own


@contextmanager
def stage(name: str, *takes: str) -> Iterator[Stage]:
    """Load and check params and code, and set up the process; say at the end how long it took.

    What is no bug of ours ends in one line, see `earmark.exits`.

    Args:
        name: of the stage, which is its key in code.json.
        takes: what the command line says as `--NAME VALUE`; all must be there, but of an extractor
            beside a group, which models on embeddings alone have.
            Messages begin with the stage and these. A feature, extractor or model has a key of its
            own in code.json, and so has the model that checks labels.

    Raises:
        SystemExit: 1 with the problems on stderr; 130 after Ctrl-C.
    """
    start = time.monotonic()
    with clean_exit(name):
        layout = Layout.here()
        raw = read_yaml(layout.params)
        params = checked_params(raw, layout.params.name)
        arguments = _arguments(params, takes)
        items = [arguments[key] for key in takes if key in arguments and key not in _GROUPS]
        title = f"{name}_{arguments['group']}" if "group" in arguments else name
        title = " ".join([title, "-".join(items)]).strip()
    lower = _MEMORY_KEYS.get(name, "runtime.workers")
    with clean_exit(title, lower=lower):
        set_up_process(threads=params.runtime.threads)
        if "DVC_STAGE" in os.environ:
            die_with_parent()
        if os.environ.get("EARMARK_ENGINE"):
            from earmark.engines.engine import run_elsewhere

            run_elsewhere(name, title, arguments, params, layout)
        version = sources_version(layout.root, params.extensions)
        _check_networks(layout, version)
        named = [arguments[key] for key in _NAMES_OF_CODE if key in arguments][:1]
        if name == "check_labels":
            named = [params.label_rounds.model]
        code = check(layout.root, raw, name, *named) if name != "code" else ""
        if os.environ.get("EARMARK_TRAINER"):
            from earmark.engines.shared import train_together

            request = {"stage": name, "title": title, "arguments": arguments, "code": code}
            train_together(request | {"version": version, "lower": lower})
        log = logging.getLogger(f"earmark.{title}")
        yield Stage(params, layout, arguments, code, log)
        log.info("%s: %s", title, duration(time.monotonic() - start))


_RIGHT_ONES = "`dvc repro STAGE` gives the right ones"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; {_RIGHT_ONES}")


def _arguments(params: Params, takes: tuple[str, ...]) -> dict[str, str]:
    """What the command line says, where params.yaml knows it."""
    parser = _Parser(allow_abbrev=False, add_help=False)
    for name in takes:
        parser.add_argument(f"--{name}", required=name != "extractor" or "group" not in takes)
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    known: dict[str, Iterable[str]] = {
        "corpus": params.demo,
        "extractor": params.extractors,
        "feature": params.features,
        "fold": params.fold_names,
        "group": params.models,
        "round": params.rounds,
        "model": params.models.get(given.get("group", ""), ()),
    }
    for name, value in given.items():
        if value not in known[name]:
            there = f"params.yaml has {', '.join(known[name])}"
            raise UserError(f"--{name} {value}: there is none of that name; {there}")
    if "extractor" in takes and "group" in given:
        has_extractor, needs_one = "extractor" in given, given["group"] == EMBEDDING
        if has_extractor != needs_one:
            problem = "needs --extractor" if needs_one else "takes no --extractor"
            raise UserError(f"--group {given['group']}: {problem}; {_RIGHT_ONES}")
    return given


def _check_networks(layout: Layout, version: str) -> None:
    """Refuse unknown networks and options before any work, once for each version of the params.

    In a process of its own, since it needs torch, which most stages do without.
    """
    both = hashlib.blake2b(layout.params.read_bytes() + version.encode(), digest_size=16)
    mark = layout.home / "checked" / both.hexdigest()
    if mark.exists():
        return
    command = [sys.executable, "-m", "earmark", "validate", "--params-only"]
    checked = subprocess.run(command, cwd=layout.root, capture_output=True, text=True, check=False)
    if checked.returncode < 0:
        ended = how_it_ended(checked.returncode)
        fix = "memory has probably run out: end other programs, then run it again"
        raise UserError(f"the check of params.yaml {ended}; {fix}")
    if checked.returncode:
        raise UserError(*(checked.stderr or checked.stdout).strip().splitlines())
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
