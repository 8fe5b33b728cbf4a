"""A body on a node that shares no folder with the machine that runs DVC.

What its stage reads goes to the node, where it is kept for the bodies that follow; what the stage
prints and writes comes back. Of the standard library and `body` alone, since it is sent by value.
"""

import fcntl
import hashlib
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from earmark.engines.body import again, exit_of, start, wait

FOLDER = "EARMARK_NODE_FOLDER"  # in the environment of a node: where its copies are
CHUNK_BYTES = 32 << 20  # of a file that is under way
OUTS = "outs"  # in the mailbox: what the stage wrote, until it is in its place
KEPT_DAYS = 7.0  # after which a copy that no body has read is removed


class File(NamedTuple):
    """A file that the stage reads: its path from the root, and what tells it from others."""

    path: str
    n_bytes: int
    changed_ns: int

    @property
    def key(self) -> str:
        """The name of its copy on a node."""
        return hashlib.sha256(repr(tuple(self)).encode()).hexdigest()[:32]


class Files:
    """The machine that runs DVC, as a node sees it.

    Args:
        root: of the repository.
        mailbox: of the stage that waits.
        reads: files and folders below the root that the stage reads.
        writes: those that it writes.
    """

    def __init__(self, root: str, mailbox: str, reads: list[str], writes: list[str]) -> None:
        self._root, self._mailbox = Path(root), Path(mailbox)
        self._reads, self._writes = reads, writes

    def begin(self, title: str, node: str) -> list[File]:
        """All files that the stage reads; a body that was started before is spoken of."""
        shutil.rmtree(self._mailbox / OUTS, ignore_errors=True)
        started = self._mailbox / "started"
        if started.exists():
            self.tell(again(title, node))
        started.touch()
        paths = [path for name in self._reads for path in _files_in(self._root / name)]
        return [
            File(str(path.relative_to(self._root)), path.stat().st_size, path.stat().st_mtime_ns)
            for path in paths
        ]

    def read(self, path: str, start: int) -> bytes:
        """At most CHUNK_BYTES of a file, from a byte on."""
        with (self._root / path).open("rb") as file:
            file.seek(start)
            return file.read(CHUNK_BYTES)

    def tell(self, lines: bytes) -> bool:
        """Show what the stage printed; whether somebody still waits for it."""
        if not (self._mailbox / "marker").exists():
            return False
        with (self._mailbox / "log").open("ab") as log:
            log.write(lines)
        return True

    def receive(self, path: str, data: bytes) -> None:
        """Take the next bytes of a file that the stage wrote."""
        part = self._mailbox / OUTS / path
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as file:
            file.write(data)

    def outs(self) -> list[str]:
        """The files and folders that the stage writes, which `receive` takes."""
        return self._writes


class _Remote:
    """`Files` that are an actor of Ray: each call waits for its answer."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> Any:
        import ray

        return lambda *arguments: ray.get(getattr(self._actor, name).remote(*arguments))


def run(request: dict[str, Any]) -> dict[str, Any]:
    """As `body.run`, in a copy of what the stage reads.

    Args:
        request: of `body.run`, and `files`, the actor.
    """
    return carried(request, _Remote(request["files"]))


def carried(request: dict[str, Any], files: Any) -> dict[str, Any]:
    """`run` with `Files`, or with whatever answers as they do."""
    host = hashlib.sha256(f"{request['host']}:{request['root']}".encode()).hexdigest()[:12]
    home = Path(os.environ.get(FOLDER) or Path.home() / ".cache" / "earmark" / "nodes") / host
    try:
        with _workspace(home, request, files) as workspace:
            return _run_in(workspace, request, files)
    except ChildProcessError:  # Ray starts it again
        raise
    except OSError as error:
        there = getattr(error, "cause", None)  # Ray tells an error of the other side so
        where = "the machine that runs DVC" if there else f"node {socket.gethostname()}"
        cause = there or error
        return {"problem": f"{where}: {cause.strerror or cause}: {cause.filename or home}"}


def _run_in(workspace: Path, request: dict[str, Any], files: Any) -> dict[str, Any]:
    path = workspace.with_name(f"{workspace.name}.log")
    n_told = 0

    def tell() -> bool:
        nonlocal n_told
        with path.open("rb") as log:
            log.seek(n_told)
            lines = log.read()
        n_told += len(lines)
        return bool(files.tell(lines))

    with path.open("wb", buffering=0) as log:
        code = wait(start(request, workspace, log), tell)
    if code == 0:
        for name in files.outs():
            for file in _files_in(workspace / name):
                _send(file, str(file.relative_to(workspace)), files)
    return exit_of(code)


def _send(source: Path, path: str, files: Any) -> None:
    with source.open("rb") as file:
        files.receive(path, file.read(CHUNK_BYTES))
        while data := file.read(CHUNK_BYTES):
            files.receive(path, data)


@contextmanager
def _workspace(home: Path, request: dict[str, Any], files: Any) -> Iterator[Path]:
    """A folder with what the stage reads, linked to the copies that this node keeps.

    Bodies of one node have one `.earmark`, where a training's work in progress is.
    """
    token = request["token"]
    copies, bodies, state = home / "copies", home / "bodies", home / "state"
    for folder in (copies, bodies, state):
        folder.mkdir(parents=True, exist_ok=True)
    workspace, owner = bodies / token, bodies / f"{token}.owner"
    with ExitStack() as open_files:
        with (home / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # so that no file comes twice
            _remove_dead(bodies)
            fcntl.flock(open_files.enter_context(owner.open("w")), fcntl.LOCK_EX)
            open_files.callback(_remove_body, owner)
            for file in files.begin(request["title"], socket.gethostname()):
                copy = _copy_of(file, copies, files)
                (workspace / file.path).parent.mkdir(parents=True, exist_ok=True)
                (workspace / file.path).hardlink_to(copy)
            _remove_old(copies)
        (workspace / ".earmark").symlink_to(state)
        yield workspace


def _copy_of(file: File, copies: Path, files: Any) -> Path:
    copy = copies / file.key
    if not copy.exists():
        part = copy.with_suffix(".part")
        with part.open("wb") as target:
            while target.tell() < file.n_bytes:
                data = files.read(file.path, target.tell())
                if not data:
                    raise OSError(0, "became shorter while it was read", file.path)
                target.write(data)
            target.flush()
            os.fsync(target.fileno())  # else a power failure may leave its length, and zeros
        part.replace(copy)
    os.utime(copy)
    return copy


def _remove_old(copies: Path) -> None:
    for copy in copies.iterdir():
        if time.time() - copy.stat().st_mtime > KEPT_DAYS * 24 * 3600:
            copy.unlink()


def _remove_dead(bodies: Path) -> None:
    """Remove what killed bodies left. A body owns its folder by a lock."""
    for owner in bodies.glob("*.owner"):
        with suppress(FileNotFoundError, BlockingIOError), owner.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove_body(owner)


def _remove_body(owner: Path) -> None:
    shutil.rmtree(owner.with_suffix(""), ignore_errors=True)
    for path in (owner.with_suffix(".log"), owner):
        path.unlink(missing_ok=True)


def _files_in(path: Path) -> Iterator[Path]:
    """A file, or all files below a folder but what Python compiled."""
    if path.is_file():
        yield path
        return
    for here, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        yield from (Path(here, name) for name in sorted(names))
