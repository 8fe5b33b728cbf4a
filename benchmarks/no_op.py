"""What `dvc repro` takes where nothing changed, by stages: `python -m benchmarks.no_op`.

Makes a workspace of the last commit with the models of five papers in many folds, whose outputs are
files of a few bytes that DVC takes for results, and asks it again and again: processor seconds, and
in what they go. `import torch`, in turns with it, says how fast the machine is at the moment.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import FrameType

from benchmarks.startup import processor_seconds

ROOT = Path(__file__).resolve().parents[1]
PROFILE = "five_papers"
# Functions of DVC, and what is done in them; none is below another.
PARTS = {
    "ParamsDependency.status": "reading the values of params anew for each stage",
    "FileMixin._load": "reading dvc.yaml and dvc.lock, each twice",
    "DataResolver.resolve_one": "filling in templates, twice for each stage",
    "StageLoader.load_stage": "making stages of them, likewise",
    "rwlock": "locks of deps and outs",
    "Output.status": "comparing deps and outs with their files",
}
SAMPLE_SECONDS = 0.003


def main() -> None:
    """Print the processor seconds of an empty `dvc repro`, and their parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folds", type=int, default=13)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parts", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.parts:
        print_parts()
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "earmark"
        n_stages = make_workspace(root, options.folds)
        repro, torch = ["-m", "dvc", "repro", "--quiet"], ["-c", "import torch"]
        pairs = [
            (processor_seconds(repro, root), processor_seconds(torch, root))
            for _ in range(options.repeats)
        ]
        seconds = statistics.median(ours for ours, _ in pairs)
        ratio = statistics.median(ours / other for ours, other in pairs)
        print(f"{n_stages} stages: {seconds:.1f} s, {ratio:.1f} times `import torch`", flush=True)
        here = os.environ | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "benchmarks.no_op", "--parts"]
        subprocess.run(command, cwd=root, env=here, check=True)


def make_workspace(root: Path, n_folds: int) -> int:
    """Clone the last commit and let DVC take made-up outputs for results; returns the stages."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(root)], check=True)
    profile = root / "profiles" / f"{PROFILE}.yaml"
    text = profile.read_text(encoding="utf-8")
    changed = text.replace("k: 2\n", f"k: {n_folds}\n", 1)
    changed = changed.replace("folds: [0, 1]\n", f"folds: {list(range(n_folds))}\n", 1)
    profile.write_text(changed, encoding="utf-8")
    (root / "dvc.lock").unlink()
    for command in (["earmark", "profile", "use", PROFILE], ["stages.code"]):
        processor_seconds(["-m", *command], root)
    n_stages = make_outputs(root)
    processor_seconds(["-m", "dvc", "commit", "--force", "--quiet"], root)
    return n_stages


def make_outputs(root: Path) -> int:
    """Write what is missing of deps and outs, three small files for each folder."""
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        stages = repo.index.stages
        paths = [Path(out.fs_path) for stage in stages for out in stage.outs]
        paths += [Path(dep.fs_path) for stage in stages for dep in stage.deps]
    for path in paths:
        if path.exists():
            continue
        for name in [path] if path.suffix else [path / name for name in "abc"]:
            name.parent.mkdir(parents=True, exist_ok=True)
            name.write_text(f"{name.relative_to(root)}\n", encoding="utf-8")
    return len(stages)


def print_parts() -> None:
    """Run `dvc repro` in this process, and print what share of its time each part takes."""
    found: Counter[str] = Counter()

    def sample(_: int, frame: FrameType | None) -> None:
        found["all"] += 1
        names = set()
        while frame is not None:
            names.add(frame.f_code.co_qualname)
            frame = frame.f_back
        found.update(names & PARTS.keys())

    signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)
    from dvc.cli import main as dvc

    before = time.process_time()
    if dvc(["repro", "--quiet"]):
        sys.exit("dvc repro failed")
    signal.setitimer(signal.ITIMER_PROF, 0)
    print(f"of {time.process_time() - before:.1f} s:")
    for name, what in PARTS.items():
        print(f"{found[name] / found['all']:6.0%}  {what}")
    rest = 1 - sum(found[name] for name in PARTS) / found["all"]
    print(f"{rest:6.0%}  the rest: imports, the graph, the end")


if __name__ == "__main__":
    main()
