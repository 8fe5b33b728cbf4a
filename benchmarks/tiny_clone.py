"""A clone of the last commit with a tiny corpus, which benchmarks run and disturb."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
PROFILE = ROOT / "tests" / "pipeline" / "tiny.yaml"


class Lost(Exception):  # noqa: N818 -- a round is lost
    """What a round did not survive."""


@dataclass
class Clone:
    """The clone that is disturbed, at `folder`/earmark, and a copy of it after a whole run."""

    folder: Path
    finished: Path
    has_own_disk: bool
    stages: list[str] = field(default_factory=list)  # in the order in which they ran
    seconds: float = 0.0  # of a whole run
    sessions: set[int] = field(default_factory=set)  # one for each command; all it starts is in it

    @property
    def root(self) -> Path:
        return self.folder / "earmark"

    @property
    def environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        site_cache = str(self.folder / "site_cache")
        return {**inherited, "PATH": path, "DVC_SITE_CACHE_DIR": site_cache}

    def start(self, *command: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command, cwd=self.root, env=self.environment, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.sessions.add(process.pid)
        return process

    def run(self, *command: str) -> str:
        process = self.start(*command)
        output, _ = process.communicate()
        if process.returncode:
            raise Lost(f"`{' '.join(command)}` failed:\n{output}")
        return output

    def prepare(self, change: Callable[[dict[str, Any]], None], *targets: str) -> None:
        """Clone, choose the tiny profile with changes of its params, and run it undisturbed.

        Args:
            targets: run these stages and what they read from, not all.
        """
        subprocess.run(["git", "clone", "-q", str(ROOT), str(self.root)], check=True)
        shutil.copy(PROFILE, self.root / "profiles" / "tiny.yaml")
        self.run("python", "-m", "earmark", "profile", "use", "tiny")
        yaml = YAML()
        params = yaml.load((self.root / "params.yaml").read_text())
        change(params)
        with (self.root / "params.yaml").open("w") as file:
            yaml.dump(params, file)
        shutil.rmtree(self.root / "metrics")
        (self.root / "dvc.lock").unlink()
        start = time.monotonic()
        output = self.run("dvc", "repro", *targets)
        self.seconds = time.monotonic() - start
        self.stages = re.findall(r"^Running stage '(.*)':$", output, flags=re.MULTILINE)
        self.run("git", "config", "user.name", "benchmark")
        self.run("git", "config", "user.email", "benchmark@example.org")
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", "Run the tiny profile")
        shutil.copytree(self.root, self.finished, symlinks=True)

    def restore(self) -> None:
        shutil.rmtree(self.root)
        shutil.copytree(self.finished, self.root, symlinks=True)

    def forget(self, stages: list[str]) -> None:
        """Drop the results of stages from the workspace and the cache, and DVC's run cache."""
        yaml = YAML()
        lock = yaml.load((self.root / "dvc.lock").read_text())
        for stage in stages:
            for out in lock["stages"].pop(stage)["outs"]:
                md5, path = out["md5"], self.root / out["path"]
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                cached = self.root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
                cached.unlink(missing_ok=True)
        with (self.root / "dvc.lock").open("w") as file:
            yaml.dump(lock, file)
        shutil.rmtree(self.root / ".dvc" / "cache" / "runs")

    def processes(self) -> list[psutil.Process]:
        """All that was started here and has not ended."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                is_ours = os.getsid(process.pid) in self.sessions
                if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def left(self, seconds: float) -> list[psutil.Process]:
        """What has not ended after `seconds`: a killed process takes a while to be gone."""
        deadline = time.monotonic() + seconds
        while (others := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return others

    def target(self, name: str, dvc: int) -> psutil.Process | None:
        """DVC itself, a stage, or a process that a stage started, if there is one now."""
        try:
            if name == "dvc":
                return psutil.Process(dvc)
            for process in psutil.Process(dvc).children(recursive=True):
                if any(word.startswith("stages.") for word in process.cmdline()):
                    workers = process.children(recursive=True)
                    if name == "stage":
                        return process
                    if workers:
                        return workers[len(workers) // 2]
        except psutil.Error:
            pass
        return None
