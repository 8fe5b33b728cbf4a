"""Download a file by HTTP, and continue after a broken connection, Ctrl-C or a kill.

What has arrived is in `NAME.part`. Beside it, `NAME.part.json` records which version of the file it
is, so that two versions are never mixed. pooch.retrieve is no alternative: it deletes its
temporary file on failure.
"""

import json
import logging
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import requests
import urllib3
from tqdm import tqdm

from earmark.errors import UserError
from earmark.records import write_json
from earmark.whole_files import move_into_place

logger = logging.getLogger(__name__)

PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0)
_TIMEOUT_SECONDS = 60
_CHUNK_BYTES = 1 << 18
_PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
# Otherwise a server may compress the file, and its bytes would not fit the checksum.
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "earmark"}


class _Broken(Exception):  # noqa: N818 -- the name says what happened
    """The transfer failed in a way that another try may fix."""


@dataclass(frozen=True)
class _Whole:
    """The file that a part belongs to; None or "" where the server does not say."""

    url: str
    n_bytes: int | None
    validator: str


@dataclass(frozen=True)
class _Part:
    """What has arrived of one file."""

    path: Path

    @property
    def metadata(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def n_bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def whole(self, url: str) -> _Whole:
        """The file that the part belongs to; a part of any other file than `url` is deleted."""
        try:
            whole = _Whole(**json.loads(self.metadata.read_text()))
        except (OSError, ValueError, TypeError):
            whole = None
        if whole is None or whole.url != url:
            self.discard()
            whole = _Whole(url, None, "")
        return whole

    def start(self, whole: _Whole) -> None:
        self.discard()
        write_json(self.metadata, asdict(whole))

    def discard(self) -> None:
        # The data go first: after a kill in between, nothing is left that looks like a part.
        self.path.unlink(missing_ok=True)
        self.metadata.unlink(missing_ok=True)


def fetch(url: str, path: Path, *, pauses_seconds: Sequence[float] = PAUSES_SECONDS) -> None:
    """Download `url` to `path`, which appears once it is whole; its content is not checked here.

    After a broken connection it tries again after each pause in turn; whenever more has arrived,
    it starts with the first pause again.

    Raises:
        UserError: the server refuses, or the last try failed.
    """
    part = _Part(path.with_name(f"{path.name}.part"))
    pauses, most = iter(pauses_seconds), part.n_bytes
    while True:
        try:
            with _errors_named(url):
                _transfer(url, part)
            break
        except _Broken as error:
            if part.n_bytes > most:
                pauses, most = iter(pauses_seconds), part.n_bytes
            pause = next(pauses, None)
            if pause is None:
                kept = f"{part.n_bytes} bytes are kept; run the command again to continue"
                raise UserError(f"{url}: {error}; {kept}") from None
            logger.info("%s: %s; trying again in %g s", path.name, error, pause)
            time.sleep(pause)
    move_into_place(part.path, path)
    part.metadata.unlink(missing_ok=True)


def n_bytes_at(url: str) -> int | None:
    """The length in bytes that the server promises; None where it does not answer or say."""
    try:
        response = requests.head(url, headers=_HEADERS, timeout=10, allow_redirects=True)
    except (requests.RequestException, ValueError):  # the last: sent to what is no address
        return None
    return _length(response.headers.get("Content-Length")) if response.ok else None


def read_json_at(url: str) -> Any:
    """The json that a web service returns.

    Raises:
        UserError: it does not answer, or not with json.
    """
    try:
        response = requests.get(url, headers=_HEADERS, timeout=_TIMEOUT_SECONDS)
        response.raise_for_status()
        return response.json()
    except (requests.RequestException, ValueError) as error:
        raise UserError(f"{url}: {_plain(error)}; try again later") from None


@contextmanager
def _errors_named(url: str) -> Iterator[None]:
    try:
        yield
    except urllib3.exceptions.HTTPError:  # while the content came
        raise _Broken("the connection broke") from None
    except (requests.ConnectionError, requests.Timeout) as error:
        raise _Broken(_plain(error)) from None
    except (requests.RequestException, ValueError) as error:
        raise UserError(f"{url}: {_plain(error)}") from None


def _plain(error: Exception) -> str:
    # What urllib3 gave up for says no more than that; before it stands the connection as an object.
    reason = getattr(error.args[0], "reason", None) if error.args else None
    text = " ".join(str(reason or error).split())
    text = re.sub(r"^HTTPS?Connection\(.*?\): ", "", text)
    if isinstance(error, requests.TooManyRedirects):
        return f"the server sends from address to address without an end, refused ({text})"
    if isinstance(error, ValueError) and not isinstance(error, requests.JSONDecodeError):
        return f"the server sends to an address that is refused, for it is none of http ({text})"
    return f"no connection ({text})" if text else "no connection"


def _transfer(url: str, part: _Part) -> None:
    """Ask for what is missing and add it to the part.

    bytes of the file  0            has                  total
    in the part        [------------)
    Range: bytes=has-               [---------------------)
    """
    whole, has = part.whole(url), part.n_bytes
    if has and has == whole.n_bytes:  # killed before the part was renamed
        return
    headers = dict(_HEADERS)
    if has:
        headers["Range"] = f"bytes={has}-"
        if whole.validator:  # the server sends the whole file if it has changed
            headers["If-Range"] = whole.validator
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS) as response:
        if response.status_code == requests.codes.partial:
            total = _continues(response, part, whole)
        elif response.status_code == requests.codes.ok:
            if has:
                logger.info("%s: the server starts again from the beginning", part.path.name)
            total = _length(response.headers.get("Content-Length"))
            part.start(_Whole(url, total, _validator(response)))
        else:
            _refused(response, part)
            return
        _write(response, part, total)


def _continues(response: requests.Response, part: _Part, whole: _Whole) -> int | None:
    """The length of the whole file, if the answer begins where the part ends."""
    content_range = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range.strip())
    total = _length(match[2]) if match else None
    is_other = whole.n_bytes is not None and total is not None and total != whole.n_bytes
    if not match or int(match[1]) != part.n_bytes or is_other:
        part.discard()
        problem = content_range or "no Content-Range"
        raise _Broken(f"the part does not fit the file on the server ({problem})")
    return total if total is not None else whole.n_bytes


def _refused(response: requests.Response, part: _Part) -> None:
    """Return if the part is the whole file already.

    Raises:
        _Broken: another try may help.
        UserError: it will not.
    """
    status = f"{response.status_code} {response.reason}"
    if response.status_code == requests.codes.requested_range_not_satisfiable:
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
        if _length(total) == part.n_bytes:
            return
        part.discard()
        raise _Broken("the file on the server is shorter than what has arrived")
    if response.status_code in _PASSING_STATUSES:
        raise _Broken(f"the server says {status}")
    raise UserError(f"{response.url}: the server says {status}; check whether the file has moved")


def _write(response: requests.Response, part: _Part, total: int | None) -> None:
    bar = tqdm(
        desc=part.path.name.removesuffix(".part"),
        total=total,
        initial=part.n_bytes,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        disable=None,
    )
    with part.path.open("ab") as file, bar:
        # raw: requests would unpack a .tar.gz that the server labels as compressed on the way
        for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=False):
            file.write(chunk)
            bar.update(len(chunk))
    if total is not None and part.n_bytes < total:
        raise _Broken(f"the connection broke after {part.n_bytes} of {total} bytes")
    if total is not None and part.n_bytes > total:
        part.discard()
        raise _Broken(f"more than the {total} bytes came that the server promised")


def _validator(response: requests.Response) -> str:
    """What If-Range may carry: a strong entity tag, or a date."""
    tag: str = response.headers.get("ETag", "")
    date: str = response.headers.get("Last-Modified", "")
    return tag if tag.startswith('"') else date


def _length(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
