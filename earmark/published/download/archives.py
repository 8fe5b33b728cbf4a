"""Unpack archives from the network: no file outside the folder, and no links.

zip (also cut into parts .001, .002, ...), tar, tar.gz, tar.bz2 and tar.xz. A bad archive is
refused as a whole: the caller unpacks into a temporary folder and renames it at the end.
"""

import bz2
import gzip
import io
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path
from typing import IO, Any, BinaryIO, NoReturn, cast

from tqdm import tqdm

from earmark.errors import UserError

MAX_MEMBERS = 1_000_000
_CHUNK_BYTES = 1 << 18
_TAR_END_BYTES = 1024  # two blocks of zeros
_PART = re.compile(r"(?P<archive>.+\.zip)\.(?P<number>\d{3})")
_TAR = re.compile(r".+\.(tar|tar\.gz|tgz|tar\.bz2|tbz2?|tar\.xz|txz)", re.IGNORECASE)
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    OverflowError,
    NotImplementedError,  # a compression that zipfile does not know
    ValueError,
)


class DamagedArchiveError(UserError):
    """An archive that cannot be unpacked, since it is not what its maker packed."""


class Joined(io.RawIOBase):
    """Several files read as one, as `cat a.zip.001 a.zip.002 ...` would give them.

    part      [---- 001 ----)[---- 002 ----)[-- 003 --)
    _starts   0              s1             s2        n_bytes
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._stack = ExitStack()
        self._files = [self._stack.enter_context(path.open("rb")) for path in paths]
        sizes = [path.stat().st_size for path in paths]
        *self._starts, self._n_bytes = accumulate(sizes, initial=0)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._n_bytes}[whence]
        if origin + offset < 0:
            raise OSError("it is too short")  # zipfile takes it for an answer, as that of a file
        self._at = origin + offset
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        if self._at >= self._n_bytes:
            return 0
        index = bisect_right(self._starts, self._at) - 1
        file = self._files[index]
        file.seek(self._at - self._starts[index])
        view = memoryview(buffer).cast("B")
        chunk = file.read(len(view))  # less at the end of a part
        view[: len(chunk)] = chunk
        self._at += len(chunk)
        return len(chunk)

    def close(self) -> None:
        self._stack.close()
        super().close()


class _Allowance:
    """How much has been unpacked, with limits."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes, self._bytes, self._members = limit_bytes, 0, 0

    def take(self, n_bytes: int, name: str) -> None:
        self._bytes += n_bytes
        if self._bytes > self.limit_bytes:
            limit = f"{self.limit_bytes} bytes, far more than expected from its size"
            raise UserError(
                f"{name}: unpacks to more than {limit}; do not use it, it may be a bomb"
            )

    def take_member(self, name: str) -> None:
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise UserError(
                f"{name}: has more than {MAX_MEMBERS} members; do not use it, it may be a bomb"
            )


class _Metered(io.RawIOBase):
    """A decompressed stream that counts its bytes, so that headers are limited too."""

    def __init__(self, source: IO[bytes], allowance: _Allowance, name: str) -> None:
        self._source, self._allowance, self._name = source, allowance, name
        self.tail = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(_CHUNK_BYTES if size < 0 else size)
        self._allowance.take(len(data), self._name)
        self.tail = (self.tail + data)[-_TAR_END_BYTES:]
        return data


def is_archive(name: str) -> bool:
    """Whether `unpack` knows what to do with a file of this name."""
    is_zip = name.lower().endswith(".zip") or _PART.fullmatch(name) is not None
    return is_zip or _TAR.fullmatch(name) is not None


def grouped(names: Iterable[str]) -> dict[str, list[str]]:
    """Archive -> its files in order: itself, or its parts."""
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        match = _PART.fullmatch(name)
        groups.setdefault(match["archive"] if match else name, []).append(name)
    return groups


def unpack(paths: Sequence[Path], folder: Path, *, limit_bytes: int) -> None:
    """Unpack one archive, which may be cut into several files, into `folder`.

    Members keep their relative names, but not their permissions and times.

    Raises:
        DamagedArchiveError: it is empty, cut short, changed, or no archive at all.
        UserError: a member leads out of the folder, is a link or a device, or comes twice;
            the archive is encrypted, or unpacks to more than `limit_bytes`.
    """
    name = paths[0].name if len(paths) == 1 else f"{paths[0].stem} in {len(paths)} parts"
    allowance = _Allowance(limit_bytes)
    fix = "delete it and download it again"
    if not any(path.stat().st_size for path in paths):
        raise DamagedArchiveError(f"{name}: is damaged (it is empty); {fix}")
    try:
        with ExitStack() as stack:
            raw = stack.enter_context(io.BufferedReader(Joined(paths)))
            if _TAR.fullmatch(paths[0].name):
                _unpack_tar(raw, folder, name, allowance)
            else:
                _unpack_zip(raw, folder, name, allowance)
    except _DAMAGED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DamagedArchiveError(f"{name}: is damaged ({reason}); {fix}") from None
    except OSError as error:
        if error.errno is None:  # bz2 and gzip report damaged data like this
            raise DamagedArchiveError(f"{name}: is damaged ({error}); {fix}") from None
        raise


def safe_path(name: str, archive: str) -> Path:
    """The relative path of a member; `.` is the folder itself.

    Raises:
        UserError: it could lead out of the folder on this or another system.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/"):
        _refuse(archive, name, "an absolute path")
    if re.match(r"[A-Za-z]:", name):
        _refuse(archive, name, "a drive letter")
    if "\\" in name or "\0" in name:
        _refuse(archive, name, "a backslash or a zero byte")
    if ".." in parts:
        _refuse(archive, name, "`..`, which leads out of the folder")
    return Path(*parts)


def _refuse(archive: str, member: str, reason: str) -> NoReturn:
    raise UserError(
        f"{archive}: member {member!r} refused, {reason}; nothing was unpacked; do not use it"
    )


def _unpack_zip(raw: BinaryIO, folder: Path, name: str, allowance: _Allowance) -> None:
    with zipfile.ZipFile(raw) as archive:
        members = archive.infolist()
        for member in members:  # check all members before writing any
            _check_zip_member(member, name)
            allowance.take_member(name)
        allowance.take(sum(member.file_size for member in members), name)
        for member in tqdm(members, desc=name, unit="file", disable=None):
            path = folder / safe_path(member.orig_filename, name)
            if member.is_dir():
                _make_folder(path, name, member.filename)
                continue
            with archive.open(member) as content:  # yields at most file_size bytes
                _write(content, path, name, member.filename)


def _check_zip_member(member: zipfile.ZipInfo, name: str) -> None:
    safe_path(member.orig_filename, name)
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        is_link = kind == stat.S_IFLNK
        _refuse(name, member.filename, "a symbolic link" if is_link else "not a regular file")
    if member.flag_bits & 0x1:
        _refuse(name, member.filename, "it is encrypted")


def _unpack_tar(raw: BinaryIO, folder: Path, name: str, allowance: _Allowance) -> None:
    with ExitStack() as stack:
        plain = _Metered(stack.enter_context(_decompressed(raw)), allowance, name)
        archive = stack.enter_context(tarfile.open(fileobj=plain, mode="r|"))
        for member in tqdm(archive, desc=name, unit="file", disable=None):
            allowance.take_member(name)
            path = folder / safe_path(member.name, name)
            if member.isdir():
                _make_folder(path, name, member.name)
            elif not member.isreg() or member.issparse():
                _refuse(name, member.name, _kind(member))
            else:
                content = archive.extractfile(member)
                assert content is not None
                _write(content, path, name, member.name)
        while plain.read(_CHUNK_BYTES):  # to the end, where the checksum is
            pass
        if plain.tail.strip(b"\0"):  # tarfile takes a tar that ends between two members as whole
            raise tarfile.ReadError("it has no end mark")


def _decompressed(raw: BinaryIO) -> IO[bytes]:
    """The decompressed stream, by the first bytes of the file, since its name may be wrong."""
    magic = raw.read(6)
    raw.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(raw))
    if magic.startswith(b"BZh"):
        return bz2.open(raw)
    if magic == b"\xfd7zXZ\x00":
        return lzma.open(raw)
    return raw


def _kind(member: tarfile.TarInfo) -> str:
    kinds = {
        tarfile.SYMTYPE: "a symbolic link",
        tarfile.LNKTYPE: "a hard link",
        tarfile.CHRTYPE: "a device",
        tarfile.BLKTYPE: "a device",
        tarfile.FIFOTYPE: "a pipe",
    }
    return kinds.get(member.type, "not a regular file")


def _make_folder(path: Path, name: str, member: str) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        _refuse(name, member, "another member of that name is a file")


def _write(content: IO[bytes], path: Path, name: str, member: str) -> None:
    _make_folder(path.parent, name, member)
    try:
        file = path.open("xb")
    except (FileExistsError, IsADirectoryError):
        _refuse(name, member, "another member has the same name")
    with file:
        while chunk := content.read(_CHUNK_BYTES):
            file.write(chunk)
