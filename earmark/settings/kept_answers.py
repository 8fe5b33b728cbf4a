"""What `validate` last answered, kept as long as nothing that it looked at has changed.

To build every network, time a few steps and read headers takes seconds; to see that nothing changed
takes none. An answer is kept where all was sound. It is found again under a digest of all that is
read whole: params.yaml, DVC's files, the code, the versions of libraries, and what the machine is.
What is large is compared by what the file system says of it: recordings and weights.
"""

import hashlib
import json
import logging
import os
import platform
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import earmark
from earmark.code_digests.versions import sox_path
from earmark.layout import Layout
from earmark.whole_files import whole_file

N_KEPT = 20  # answers; the oldest go first
# A file that changed just before may change again within the tick of its file system's clock, of up
# to two seconds, and look the same.
RECENT_SECONDS = 2.0
# What is read whole. Those of the second line say nothing about params alone.
_PARAMS_FILES = ("params.yaml", "dvc.yaml")
_WORKSPACE_FILES = (
    *("dvc.lock", ".dvc/config", ".dvc/config.local", ".dvc/tmp/rwlock"),
    *("code.json", "metrics/decode.json"),
)
_DVC_SETTINGS = (".config/dvc/config", "Library/Application Support/dvc/config")  # of the user
_ENVIRONMENT = ("CUDA_VISIBLE", "NVIDIA_VISIBLE", "EARMARK", "LD_LIBRARY_PATH")


class Line(NamedTuple):
    """A line of an answer, and whether it went to stderr."""

    text: str
    is_error: bool


class Answer(logging.Handler):
    """The lines that a look prints, kept while it prints them."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[Line] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note a line of the log; other handlers print it."""
        self.lines.append(Line(record.getMessage(), is_error=True))

    def say(self, text: str, *, is_error: bool = False) -> None:
        """Print a line, and note it."""
        self.lines.append(Line(text, is_error))
        print(text, file=sys.stderr if is_error else sys.stdout)

    def __enter__(self) -> "Answer":
        for handler in logging.getLogger().handlers:
            self.filters += handler.filters
        logging.getLogger().addHandler(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        logging.getLogger().removeHandler(self)


class Question:
    """One call of `validate`, and all that its answer can depend on.

    Args:
        params_only: whether the corpus is left alone.
    """

    def __init__(self, layout: Layout, *, params_only: bool) -> None:
        self._layout, self._params_only = layout, params_only
        self._about = [str(layout.root), params_only, _machine(), _libraries()]
        self._key = self._digest()
        self._watched: list[str] | None = None
        self._state = ""

    def answer(self) -> list[Line] | None:
        """The lines printed before, if they would be the same now."""
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            watched, state, lines = kept["watched"], kept["state"], kept["lines"]
            if self._state_of(watched)[0] != state:
                return None
            return [Line(text, is_error) for text, is_error in lines]
        except (OSError, ValueError, KeyError, TypeError):  # none, or a damaged one
            return None

    def watch(self, params: Any, roots: Sequence[str], extensions: str) -> None:
        """Note how recordings, weights and other files that params name are before the look.

        Args:
            params: the plain mapping; every text in it may be a path.
            roots: `corpus.root`, and folders of other recordings, of which all is watched.
            extensions: the folder of networks of the user's own, likewise.
        """
        folders = [extensions] if self._params_only else [extensions, *roots]
        names = sorted(set(_texts(params)))
        # A table is named as it is found from the root of the corpus.
        names += [] if self._params_only else [os.path.join(roots[0], name) for name in names]  # noqa: PTH118
        self._watched = [f"{folder}/" for folder in folders] + names
        self._state, _ = self._state_of(self._watched)

    def keep(self, lines: Iterable[Line]) -> None:
        """Keep the answer, unless something has changed since the look began, or just before."""
        if self._watched is None or self._digest() != self._key:
            return
        watched = self._watched + sorted(_foreign_modules(self._layout.root))
        state, newest = self._state_of(self._watched)
        if state != self._state or time.time() - newest < RECENT_SECONDS:
            return
        state, _ = self._state_of(watched)
        content = {"watched": watched, "state": state, "lines": list(lines)}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self._path) as part:
                part.write_text(json.dumps(content), encoding="utf-8")
            kept = sorted(self._path.parent.glob("*.json"), key=lambda path: path.stat().st_mtime)
            for path in kept[:-N_KEPT]:
                path.unlink(missing_ok=True)
        except OSError:  # it is a convenience: a full disk or a closed folder stops no check
            logging.getLogger(__name__).debug("%s: not kept", self._path)

    @property
    def _path(self) -> Path:
        return self._layout.home / "answers" / f"{self._key}.json"

    def _digest(self) -> str:
        """Of all that is read whole."""
        root, digest = self._layout.root, hashlib.blake2b(digest_size=16)
        files = _PARAMS_FILES + (() if self._params_only else _WORKSPACE_FILES)
        for path in [*(root / name for name in files), *_code_files(Path(earmark.__file__).parent)]:
            try:
                content = path.read_bytes()
            except OSError as error:
                content = f"{error.errno}".encode()
            digest.update(f"{path}\0{len(content)}\0".encode() + content)
        digest.update(json.dumps(self._about, sort_keys=True).encode())
        return digest.hexdigest()

    def _state_of(self, watched: Iterable[str]) -> tuple[str, float]:
        """A digest of what the file system says of paths, and when the last of them changed."""
        digest, newest = hashlib.blake2b(digest_size=16), 0.0
        for name in watched:
            path = os.path.join(self._layout.root, name)  # noqa: PTH118 -- of a corpus, thousands
            for one in _tree(path) if name.endswith("/") else [path]:
                text, changed = _stamp(one)
                newest = max(newest, changed)
                digest.update(f"{one}\0{text}\0".encode(errors="surrogateescape"))
        return digest.hexdigest(), newest


@contextmanager
def answering(question: Question) -> Iterator[Answer]:
    """Collect the lines of a look, and keep them if it found nothing wrong."""
    with Answer() as answer:
        yield answer
    question.keep(answer.lines)


def _stamp(path: str) -> tuple[str, float]:
    """What tells that a file changed, and when it did; of a link also what the link is.

    Of a folder who may read it: what is in it has stamps of its own where it counts.
    """
    try:
        link, found = os.lstat(path), os.stat(path)  # noqa: PTH116
    except (OSError, ValueError) as error:
        return f"{getattr(error, 'errno', None)}", 0.0
    if stat.S_ISDIR(found.st_mode):
        return f"{link.st_mode} {found.st_mode} {os.path.realpath(path)}", 0.0
    own = [(s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for s in (link, found)]
    return f"{own}", max(link.st_ctime, found.st_ctime)


def _tree(folder: str) -> Iterator[str]:
    """A folder and all below it, also behind links, each folder once."""
    yield folder
    seen: set[tuple[int, int]] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        try:
            here = os.stat(parent)  # noqa: PTH116
        except OSError:  # it went in this moment
            continue
        if (here.st_dev, here.st_ino) in seen:
            folders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        yield from (os.path.join(parent, name) for name in sorted([*folders, *files]))  # noqa: PTH118


def _texts(value: Any) -> Iterator[str]:
    """All texts in nested values of params.yaml."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _code_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            yield path


def _machine() -> list[Any]:
    """What a network's fit, the time of its steps and the choice of a device depend on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        models = sorted({line for line in lines if line.startswith("model name")})
    except OSError:
        models = [platform.processor()]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    driver = Path("/proc/driver/nvidia/version")
    devices = sorted(map(str, Path("/dev").glob("nvidia*")))
    about_gpu = [devices, driver.read_text() if driver.exists() else ""]
    environment = {k: v for k, v in os.environ.items() if k.startswith(_ENVIRONMENT)}
    user = [os.geteuid(), [_stamp(str(Path.home() / name))[0] for name in _DVC_SETTINGS]]
    sox = sox_path()
    program = [sox, _stamp(os.path.realpath(sox))[0]]
    return [platform.node(), models, os.cpu_count(), memory, about_gpu, environment, user, program]


def _libraries() -> list[Any]:
    """Python, and what is installed: the names of these folders have versions in them."""
    installed = []
    for folder in sys.path:
        if os.path.isdir(folder):  # noqa: PTH112
            names = os.listdir(folder)  # noqa: PTH208
            installed += [n for n in names if n.endswith((".dist-info", ".egg-info", ".pth"))]
    return [sys.version, sys.prefix, sys.path, sorted(installed)]


def _foreign_modules(root: Path) -> Iterator[str]:
    """Files of modules that are neither installed with a version nor in this workspace."""
    known = (sys.prefix, sys.base_prefix, sys.exec_prefix, str(Path(earmark.__file__).parent))
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None) or ""
        if path and not path.startswith((*known, str(root))) and "-packages/" not in path:
            yield path
