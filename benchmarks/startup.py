"""What stages and commands spend before their work begins: processor seconds of imports.

Run it in a checkout, `python -m benchmarks.startup [--repeats 3]`; `--json FILE` keeps the table.
Of every stage it takes what its module loads, of those that load their work when they are set up
that too, and of a finished run what `python -m earmark validate` and `dvc repro` take where nothing
changed. It is processor time, so that other programs on the machine count little.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

# What a stage loads within its `run`, before the first clip.
LATER = {
    "check_labels": ["earmark.training.label_checks"],
    "embed": ["earmark.taggers.tagger"],
    "features": ["earmark.features.logmel"],
    "finetune": ["earmark.training.run", "mlflow.entities"],
    "predict": ["earmark.taggers.tagger"],
    "student": ["earmark.training.student", "mlflow.entities"],
    "timeline": ["earmark.ensemble.segment_tuning", "earmark.taggers.tagger"],
    "train": ["earmark.training.run", "mlflow.entities"],
}
# As `stages.stage` has it: within `clean_exit`, which lets Python search less for garbage.
CODE = """
import pathlib, stages.{stage}
from earmark.exits import clean_exit
with clean_exit():
    from earmark.code_digests import Code, check
    from earmark.params.reading import checked_params, read_yaml
    raw, root = read_yaml(pathlib.Path('params.yaml')), pathlib.Path.cwd()
    checked_params(raw, 'params.yaml')
    names = [key.name for key in Code(root, raw).keys if key.stage == {stage!r}]
    [check(root, raw, {stage!r}, name) for name in names[:1]]
    for module in {later!r}:
        __import__(module)
"""
COMMANDS = {
    "earmark --help": ["-m", "earmark", "--help"],
    "earmark validate": ["-m", "earmark", "validate"],
    "dvc repro, nothing to do": ["-m", "dvc", "repro", "--quiet"],
}


def processor_seconds(arguments: list[str], folder: Path) -> float:
    """User and system time of one Python process and of those that it waits for.

    Raises:
        SystemExit: it failed; with its messages.
    """
    before = getrusage(RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}: {done.stderr.strip()}")
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def median_seconds(arguments: list[str], folder: Path, repeats: int) -> float:
    """The median of several calls, after one that fills caches."""
    processor_seconds(arguments, folder)
    return statistics.median(processor_seconds(arguments, folder) for _ in range(repeats))


def code_of(stage: str) -> str:
    """What a stage runs before its work: its imports, the check of params, the digest of code."""
    return CODE.format(stage=stage, later=LATER.get(stage, []))


def main() -> None:
    """Print a table of stage or command and seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], help="Names of stages and commands.")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    here = Path.cwd()
    stages = [path.stem for path in sorted(here.glob("stages/*.py")) if path.stem != "__init__"]
    calls = {"python, torch alone": ["-c", "import torch"]}
    calls |= {name: ["-c", code_of(name)] for name in stages} | COMMANDS
    if not (here / "dvc.lock").exists() or not (here / "data" / "clips.parquet").exists():
        del calls["dvc repro, nothing to do"]  # which here would do all
    table = {}
    for name, arguments in calls.items():
        if options.only and name not in options.only:
            continue
        table[name] = round(median_seconds(arguments, here, options.repeats), 2)
        has_torch = name in LATER
        print(f"{name:28} {table[name]:6.2f} s  {'with torch' if has_torch else ''}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
