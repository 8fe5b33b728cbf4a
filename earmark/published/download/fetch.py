"""Download a published corpus or weights: verify, unpack, and put all into a folder at once.

The archives are kept in `FOLDER.download` meanwhile, so that a killed download can continue.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path

from earmark.errors import DamagedError, UserError
from earmark.published.download.archives import DamagedArchiveError, grouped, is_archive, unpack
from earmark.published.download.locking import LOCK, only_one
from earmark.published.download.published import PUBLISHED, Published, PublishedFile
from earmark.published.download.transfer import PAUSES_SECONDS, fetch, n_bytes_at, read_json_at
from earmark.records import read_json, write_json
from earmark.whole_files import whole_folder

MARKER = ".downloaded.json"
# Recordings shrink to a third at most, silence and tables to a twentieth; a zip bomb to a
# thousandth.
_MOST_UNPACKED_RATIO = 50
_ALWAYS_UNPACKED_BYTES = 64 * 2**20


def table() -> list[str]:
    """What can be downloaded: name, size, description and licence of each."""
    sizes = {name: _size(published.n_bytes) for name, published in PUBLISHED.items()}
    return [
        f"{name:22} {sizes[name]:10} {published.description}\n{'':34}{published.licence}"
        for name, published in PUBLISHED.items()
    ]


def find(name: str) -> Published:
    """The entry of that name.

    Raises:
        UserError: there is none.
    """
    if name not in PUBLISHED:
        raise UserError(f"no download {name!r}; choose one of {', '.join(PUBLISHED)}")
    return PUBLISHED[name]


def default_folder(published: Published) -> Path:
    return Path("corpora" if published.kind == "corpus" else "weights") / published.name


def refuse_by_hand(published: Published, folder: Path) -> None:
    """Raise UserError, with the page and the steps, if no command can download it."""
    if published.files or published.listing:
        return
    steps = [step.replace("{folder}", str(folder)) for step in published.steps]
    lines = [f"{published.name}: cannot be downloaded by a command; its page is {published.page}"]
    raise UserError(*lines, f"  licence: {published.licence}", *(f"  {step}" for step in steps))


def notice(published: Published, folder: Path) -> list[str]:
    """What to know before the download: licence, size, folder, and what is not checked."""
    lines = [
        f"{published.name}: {published.description}",
        f"  page     {published.page}",
        f"  licence  {published.licence}",
        f"  size     {_size(published.n_bytes)}",
        f"  into     {folder}",
    ]
    if published.note:
        lines.append(f"  note     {published.note}")
    unchecked = [file.name for file in published.files if not file.checksum]
    if unchecked:
        lines.append(f"  no checksum is published for {', '.join(unchecked)}")
    return lines


def parse_pins(options: Sequence[str]) -> dict[str, str]:
    """Read `FILE=HEX` into file -> sha256.

    Raises:
        UserError: an option is not of this form.
    """
    pins = {}
    for option in options:
        name, _, digest = option.rpartition("=")
        if not name or not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
            raise UserError(f"--sha256 {option}: write FILE=HEX, with 64 hex digits")
        pins[name] = f"sha256:{digest.lower()}"
    return pins


def download(
    published: Published,
    folder: Path,
    *,
    pins: Mapping[str, str],
    keep_archives: bool,
    pauses_seconds: Sequence[float] = PAUSES_SECONDS,
) -> list[str]:
    """Download, verify and unpack everything into `folder`.

    A complete download is left as it is. Several archives are unpacked into the same folder. Where
    they hold a single folder around everything, that folder is left out.

    Args:
        pins: file -> `sha256:...`; they replace the published checksums.
        keep_archives: leave the archives in `FOLDER.download`.

    Returns:
        The lines to print.

    Raises:
        UserError: the server, a checksum, an archive, the disk or the folder does not allow it.
    """
    refuse_by_hand(published, folder)
    if is_complete(published, folder, pins):
        return [f"{folder}: already complete"]
    work = folder.with_name(f"{folder.name}.download")
    with only_one(work):
        if is_complete(published, folder, pins):  # another download ended while this one waited
            return [f"{folder}: already complete"]
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            fix = "move it, or name another folder with --into"
            raise UserError(f"{folder}: exists, but is not a complete download; {fix}")
        files = _with_pins(published, pins)
        _check_disk(published, files, work)
        checksums = {file.name: _fetch_checked(file, work, pauses_seconds) for file in files}
        unchecked = {file.name for file in files if not file.checksum}
        n_files = _unpack_all(published, checksums, work, folder, unchecked=unchecked)
        lines = [f"{folder}: {n_files} files"]
        for file in files:
            if not file.checksum:
                pin = f"--sha256 {file.name}={checksums[file.name].partition(':')[2]}"
                lines.append(
                    f"{file.name}: not checked, since no checksum is published; to pin it: {pin}"
                )
        if keep_archives:
            lines.append(f"{work}: the archives are kept")
        else:
            for file in files:
                (work / file.name).unlink()
    return lines


def is_complete(published: Published, folder: Path, pins: Mapping[str, str]) -> bool:
    """Whether `folder` holds a complete download, of which no file was deleted since.

    Raises:
        UserError: something else was downloaded into it, or files are missing.
    """
    marker = folder / MARKER
    if not marker.exists():
        return False
    again = f"move {folder} away and download again"
    try:
        record = read_json(marker)
        there, files, n_files = record["name"], record["files"], record["n_files"]
    except DamagedError as error:
        raise UserError(f"{marker}: damaged ({error.reason}); {again}") from None
    if there != published.name:
        raise UserError(f"{folder}: holds {there}, not {published.name}; {again}")
    for name, pin in pins.items():
        known = files.get(name)
        if known is None or (known != pin and known.startswith("sha256:")):
            raise UserError(f"{folder}: {name} has {known or 'no checksum'}, not {pin}; {again}")
    n_missing = n_files - _count(folder)
    if n_missing > 0:
        raise UserError(f"{folder}: {n_missing} of {n_files} files are missing; {again}")
    return True


def kept_pins(published: Published, kept: Mapping[str, str]) -> dict[str, str]:
    """Of checksums, file -> sha256, those that its files must have, as `parse_pins` gives them."""
    return {file.name: f"sha256:{kept[file.name]}" for file in published.files if file.name in kept}


def unpublished_checksums(published: Published, folder: Path) -> dict[str, str]:
    """Of complete weights: file -> sha256, of those for which nobody publishes a checksum.

    Of a corpus none: `dvc add` pins it.
    """
    if published.kind != "weights":
        return {}
    files = read_json(folder / MARKER)["files"]
    names = [file.name for file in published.files if not file.checksum]
    return {name: files[name].removeprefix("sha256:") for name in names}


def next_commands(published: Published, folder: Path) -> list[str]:
    """The commands to run next."""
    if published.kind == "weights":
        source = next(folder.rglob(published.to_convert), folder / published.to_convert)
        out = folder.with_name(f"{folder.name}.safetensors")
        return [f"python -m earmark convert {source} {out}", f"dvc add {out}"]
    profile = published.profile or published.name
    root = "" if folder == Path("corpora") / profile else f" --root {folder}"
    return [f"python -m earmark profile use {profile}{root}", f"dvc add {folder}"]


def _with_pins(published: Published, pins: Mapping[str, str]) -> list[PublishedFile]:
    files = [*published.files, *(_listed(published.listing) if published.listing else [])]
    unknown = sorted(pins.keys() - {file.name for file in files})
    if unknown:
        known = ", ".join(file.name for file in files)
        raise UserError(f"--sha256 {unknown[0]}: no such file; name one of {known}")
    return [replace(file, checksum=pins.get(file.name, file.checksum)) for file in files]


def _listed(listing: str) -> list[PublishedFile]:
    """The files of a figshare article, from its API."""
    answer = read_json_at(listing)
    try:
        keys = ("name", "download_url", "computed_md5")
        files = [[str(item[key]) for key in keys] for item in answer["files"]]
    except (KeyError, TypeError):
        raise UserError(f"{listing}: lists no files; check whether the page has moved") from None
    for name, _, _ in files:
        if not re.fullmatch(r"\w[\w .()&+-]*", name) or name == LOCK:
            raise UserError(
                f"{listing}: lists a file {name!r}, which is not a plain name; check the page"
            )
    return [PublishedFile(name, url, f"md5:{md5}" if md5 else "") for name, url, md5 in files]


def _check_disk(published: Published, files: Sequence[PublishedFile], work: Path) -> None:
    """Require room for the archives, and the same again for their contents."""
    sizes = [n_bytes_at(file.url) for file in files if not (work / file.name).exists()]
    there = sum((work / file.name).stat().st_size for file in files if (work / file.name).exists())
    n_bytes = max(there + sum(size or 0 for size in sizes), published.n_bytes or 0)
    arrived = sum(path.stat().st_size for path in work.iterdir())
    needed, free = 2 * n_bytes - arrived, shutil.disk_usage(work).free
    if needed > free:
        fix = "make room, or name another disk with --into"
        raise UserError(f"{work.parent}: {_size(needed)} needed, {_size(free)} free; {fix}")


def _fetch_checked(file: PublishedFile, work: Path, pauses_seconds: Sequence[float]) -> str:
    """Fetch one file unless it exists; return its checksum, which is the expected one if given."""
    path = work / file.name
    if not path.exists():
        fetch(file.url, path, pauses_seconds=pauses_seconds)
    algorithm = file.checksum.partition(":")[0] or "sha256"
    with path.open("rb") as content:
        got = f"{algorithm}:{hashlib.file_digest(content, algorithm).hexdigest()}"
    if file.checksum and got != file.checksum:
        path.unlink()
        fix = (
            "it is deleted; run again; if that fails too, look for a new version on the page, and "
            "correct a checksum of --sha256 or of weight_checksums in params.yaml"
        )
        raise UserError(f"{file.name}: {got} instead of {file.checksum}; {fix}")
    return got


def _unpack_all(
    published: Published,
    checksums: Mapping[str, str],
    work: Path,
    folder: Path,
    *,
    unchecked: Set[str],
) -> int:
    """Unpack or copy every file into `folder`, which appears whole; returns the number of files.

    Of a damaged archive the `unchecked` files are deleted, since a further try would take them.
    """
    n_packed = sum((work / name).stat().st_size for name in checksums)
    free = shutil.disk_usage(work).free
    limit = min(free, max(_ALWAYS_UNPACKED_BYTES, _MOST_UNPACKED_RATIO * n_packed))
    with whole_folder(folder) as part:
        for group in grouped(checksums).values():
            if is_archive(group[0]):
                paths = [work / name for name in group]
                try:
                    unpack(paths, part, limit_bytes=limit)
                except DamagedArchiveError as error:
                    if not (bad := [path for path in paths if path.name in unchecked]):
                        raise
                    for path in bad:
                        path.unlink()
                    damage = error.problems[0].rpartition("; ")[0]
                    deleted = ", ".join(map(str, bad))
                    raise UserError(f"{damage}; {deleted}: deleted; run the same again") from None
            else:
                shutil.copyfile(work / group[0], part / group[0])
        _lift_single_folder(part)
        n_files = _count(part)
        marker = {"name": published.name, "files": dict(checksums), "n_files": n_files}
        write_json(part / MARKER, marker)
    return n_files


def _lift_single_folder(folder: Path) -> None:
    """Remove a folder around everything, such as ESC-50-master; hidden files beside it stay."""
    visible = [path for path in folder.iterdir() if path.name[0] != "." and path.name != "__MACOSX"]
    if len(visible) != 1 or not visible[0].is_dir():
        return
    around = visible[0].rename(folder / f".{visible[0].name}.around")
    for path in around.iterdir():
        if not (folder / path.name).exists():  # a .DS_Store may be at both levels
            path.rename(folder / path.name)
    shutil.rmtree(around)


def _count(folder: Path) -> int:
    names = (name for _, _, files in os.walk(folder) for name in files)
    return sum(name != MARKER for name in names)


def _size(n_bytes: int | None) -> str:
    if n_bytes is None:
        return "not known"
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.1f} {unit}"
    return f"{n_bytes} bytes"
