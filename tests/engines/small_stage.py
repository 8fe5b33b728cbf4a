"""A repository with one stage, which waits for an engine or does what its command line says."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.processes import is_running, wait_until
from tests.source_graph import ROOT

FAKE = Path(__file__).parent / "fake"
SECONDS = 240.0  # on a busy machine Ray takes its time

STAGE = """
import logging, os, sys, time
from pathlib import Path
from types import SimpleNamespace
from earmark.errors import UserError
from earmark.exits import clean_exit
from earmark.layout import Layout

def body(name, *acts):
    logging.info("%s: begins", name)
    for act in acts:
        if act == "error":
            raise UserError("clip 7: too short; leave it out")
        if act.startswith("exit"):
            sys.exit(int(act[4:]))
        if act == "hold":
            from earmark.engines.work_folders import held
            with held(Path.cwd() / "work" / name, keep="run-"):
                Path("work", name, "checkpoint").write_text("1")
                Path("work", name, "run-1").write_text("1")
        if act == "gpu":
            logging.info("gpus %r", os.environ.get("CUDA_VISIBLE_DEVICES"))
        if act.isdigit():  # epochs, of which those done are kept
            Path(f"{name}.on").touch()
            kept = Path(f"{name}.epochs")
            while (done := int(kept.read_text()) if kept.exists() else 0) < int(act):
                Path(f"{name}.pid").write_text(str(os.getpid()))
                time.sleep(0.2)
                kept.with_suffix(f".{os.getpid()}").write_text(str(done + 1))
                kept.with_suffix(f".{os.getpid()}").rename(kept)
                logging.info("%s: epoch %d", name, done + 1)
    Path(f"{name}.on").unlink(missing_ok=True)
    Path(f"{name}.out").write_text(" ".join(acts))

logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
with clean_exit("train"):
    if os.environ.get("EARMARK_ENGINE"):
        from earmark.engines.engine import run_elsewhere
        params = SimpleNamespace(
            runtime=SimpleNamespace(threads=2, workers=2, device="auto"), extensions="extensions",
            label_rounds=SimpleNamespace(feature="", model=""),
            models={}, extractors={}, student={},
        )
        try:
            arguments = {"group": "logmel", "model": "compact", "fold": "0"}
            run_elsewhere("train", "train", arguments, params, Layout.here())
        finally:
            heavy = [name for name in ("torch", "mlflow", "ray", "submitit") if name in sys.modules]
            assert not heavy, heavy
    body(*sys.argv[1:])
"""


def make_repository(root: Path) -> Path:
    (root / "stages").mkdir(parents=True)
    (root / "stages" / "__init__.py").touch()
    (root / "stages" / "train.py").write_text(STAGE)
    (root / ".earmark").mkdir()
    return root


def hear_ctrl_c() -> None:
    """Undo what a shell gives its background jobs, and these to the tests: to ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Waiting:
    """The command of the stage, which waits for its body."""

    def __init__(self, root: Path, *arguments: str, **environment: str) -> None:
        self.root, self.name = root, arguments[0]
        path = os.pathsep.join([str(ROOT), environment.pop("PYTHONPATH", "")])
        environment = {"EARMARK_ENGINE_ENV": "PYTHONPATH", **environment}
        environment.setdefault("EARMARK_ENGINE_MEMORY_GB", "0")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stages.train", *arguments],
            cwd=root,
            env={**os.environ, "PYTHONPATH": path, **environment},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=hear_ctrl_c,
        )

    def end(self) -> tuple[int, str]:
        """Its exit code, and all that it wrote."""
        _, text = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, text

    def body(self) -> int:
        """The process of its body, once that has done an epoch."""
        kept = self.root / f"{self.name}.epochs"
        assert wait_until(kept.exists, seconds=SECONDS), self.end()
        return int((self.root / f"{self.name}.pid").read_text())

    def interrupt(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)


def ends(pid: int) -> bool:
    return wait_until(lambda: not is_running(pid), seconds=SECONDS)


def nothing_is_left(root: Path) -> bool:
    folder = root / ".earmark" / "engine"
    return wait_until(lambda: not list(folder.iterdir()), seconds=SECONDS)
