"""onnxruntime for browsers, from npm's registry: fetched once, checked, and kept in .earmark/."""

import base64
import hashlib
import json
import shutil
import tarfile
from pathlib import Path

from earmark.errors import UserError
from earmark.published.download.transfer import fetch
from earmark.whole_files import whole_folder

PACKAGE = "onnxruntime-web"
VERSION = "1.30.0"
URL = f"https://registry.npmjs.org/{PACKAGE}/-/{PACKAGE}-{VERSION}.tgz"
INTEGRITY = (  # as the registry has it: SHA-512 in base64
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)
# WebAssembly alone, of the many builds of the package; without a folder, as the page has them.
FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
_PAUSES_SECONDS = (1.0, 2.0)


def web_runtime(cache: Path, given: Path | None) -> Path:
    """The folder that holds FILES.

    Args:
        cache: a folder for what is fetched.
        given: a package that was unpacked by hand, instead of the registry's.

    Raises:
        UserError: it cannot be fetched, is not what was published, or `given` is no such package.
    """
    if given is not None:
        return _checked(given)
    folder = cache / f"{PACKAGE}-{VERSION}"
    if not all((folder / name).is_file() for name in FILES):
        _fetch(folder)
    return folder


def _checked(given: Path) -> Path:
    """The files of an unpacked package, wherever in it they are."""
    root = given / "package" if (given / "package").is_dir() else given
    try:
        version = json.loads((root / "package.json").read_text())["version"]
    except (OSError, ValueError, KeyError):
        version = None
    missing = [name for name in FILES if not (root / "dist" / name).is_file()]
    if version != VERSION or missing:
        problem = f"is of version {version}" if version else "is no unpacked package"
        raise UserError(f"--runtime {given}: {problem}; unpack {PACKAGE} {VERSION} of npm there")
    return root / "dist"


def _fetch(folder: Path) -> None:
    archive = folder.with_name(f"{folder.name}.tgz")
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        fetch(URL, archive, pauses_seconds=_PAUSES_SECONDS)
    except UserError as error:
        by_hand = f"fetch {URL} elsewhere, unpack it, and pass its folder as --runtime"
        raise UserError(f"{error}; or {by_hand}") from None
    try:
        with archive.open("rb") as file:
            digest = base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()
        if digest != INTEGRITY:
            raise UserError(f"{URL}: is not what was published (its sha512 differs); try again")
        with whole_folder(folder) as part:
            _unpack(archive, part)
    finally:
        archive.unlink(missing_ok=True)


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as package:
        for name in FILES:
            member = package.extractfile(f"package/dist/{name}")
            assert member is not None, name
            with member, (folder / name).open("wb") as file:
                shutil.copyfileobj(member, file)
