"""Downloads end whole and verified, go on where they stopped, and unpack nothing outside."""

import bz2
import fcntl
import gzip
import hashlib
import io
import itertools
import json
import logging
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from earmark.__main__ import app
from earmark.errors import UserError
from earmark.params.reading import read_yaml
from earmark.published.download import fetch as downloads
from earmark.published.download.archives import Joined, grouped, safe_path, unpack
from earmark.published.download.fetch import (
    MARKER,
    download,
    find,
    is_complete,
    next_commands,
    notice,
    parse_pins,
)
from earmark.published.download.published import PUBLISHED, Published, PublishedFile
from earmark.published.download.transfer import fetch
from tests.source_graph import ROOT

LIMIT = 10**6
AT_ONCE = (0.0, 0.0)


@dataclass
class Server:
    """A web server on this machine, which can be told to misbehave."""

    address: str
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)  # GETs: Range
    sent: list[int] = field(default_factory=list)  # bytes of each GET
    takes_ranges: bool = True
    breaks_after: list[int] = field(default_factory=list)  # of the next answers, in turn
    statuses: list[int] = field(default_factory=list)  # of the next answers, in turn
    tag: str = '"one"'
    says_length: bool = True
    seconds_a_chunk: float = 0
    sends_to: str = ""  # instead of any answer

    def url(self, name: str) -> str:
        return f"{self.address}/{name}?download=1"

    @property
    def ranges(self) -> list[str | None]:
        return [asked for _, _, asked in self.requests]


class Handler(BaseHTTPRequestHandler):
    @property
    def ours(self) -> Server:
        return self.server.ours  # type: ignore[attr-defined, no-any-return]

    def log_message(self, *_: object) -> None:
        pass

    def send_on(self) -> None:
        self.send_response(302)
        self.send_header("Location", self.ours.sends_to)
        self.end_headers()

    def do_HEAD(self) -> None:
        if self.ours.sends_to:
            return self.send_on()
        content = self.ours.files.get(self.path.strip("/").split("?")[0])
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        return self.end_headers()

    def do_GET(self) -> None:
        name, ours = self.path.strip("/").split("?")[0], self.ours
        asked = self.headers.get("Range")
        ours.requests.append((name, self.headers.get("If-Range", ""), asked))
        ours.sent.append(0)
        if ours.sends_to:
            return self.send_on()
        status = ours.statuses.pop(0) if ours.statuses else 200
        if status != 200 or name not in ours.files:
            return self.send_error(404 if status == 200 else status)
        content = ours.files[name]
        is_same = self.headers.get("If-Range", ours.tag) == ours.tag
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if asked and ours.takes_ranges and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            return self.end_headers()
        if not (asked and ours.takes_ranges and is_same):
            start = 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if ours.says_length:
            self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", ours.tag)
        self.end_headers()
        stop = ours.breaks_after.pop(0) if ours.breaks_after else len(content)
        return self.send(content[start : start + stop], len(ours.sent) - 1)

    def send(self, content: bytes, get: int) -> None:
        """Send, and count for this very GET: a client that was killed may still be sent to."""
        for at in range(0, len(content), 4096):
            self.wfile.write(content[at : at + 4096])
            self.wfile.flush()
            self.ours.sent[get] += len(content[at : at + 4096])
            if self.ours.seconds_a_chunk:
                time.sleep(self.ours.seconds_a_chunk)


@pytest.fixture
def server() -> Iterator[Server]:
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    http.ours = Server(f"http://127.0.0.1:{http.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield http.ours  # type: ignore[attr-defined]
    http.shutdown()
    thread.join()
    http.server_close()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def checksum(content: bytes, algorithm: str = "md5") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def noise(n_bytes: int, seed: int = 0) -> bytes:
    """Bytes that no compression shortens."""
    return hashlib.shake_256(bytes([seed])).digest(n_bytes)


def offer(server: Server, contents: dict[str, bytes], *, are_pinned: bool = True) -> Published:
    server.files.update(contents)
    files = tuple(
        PublishedFile(name, server.url(name), checksum(content) if are_pinned else "")
        for name, content in contents.items()
    )
    return Published(name="tiny", description="", licence="CC0", page="", files=files)


def get(
    published: Published, folder: Path, *, keep: bool = False, pins: Mapping[str, str] | None = None
) -> list[str]:
    return download(published, folder, pins=pins or {}, keep_archives=keep, pauses_seconds=AT_ONCE)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MARKER
    }


# The layouts of the corpora


def test_archives_share_a_folder_and_leave_nothing_beside_it(server, tmp_path):
    train, test = {"set.train/a.wav": b"a", "set.train/b.wav": b"b"}, {"set.test/c.wav": b"c"}
    published = offer(server, {"train.zip": zipped(train), "test.zip": zipped(test)})
    assert get(published, tmp_path / "tiny") == [f"{tmp_path / 'tiny'}: 3 files"]
    assert tree(tmp_path / "tiny") == {**train, **test}
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]
    told = json.loads((tmp_path / "tiny" / MARKER).read_text())
    assert told["files"] == {file.name: file.checksum for file in published.files}


def compressed_otherwise(plain: bytes) -> dict[str, bytes]:
    return {
        "a.tar": plain,
        "a.tar.gz": gzip.compress(plain),
        "a.tgz": gzip.compress(plain),
        "a.tar.bz2": bz2.compress(plain),
    }


@pytest.mark.parametrize("name", compressed_otherwise(b""))
def test_a_tar_unpacks_however_it_is_compressed(server, tmp_path, name):
    members = {"yes/a.wav": noise(5000), "no/b.wav": b"", "list.txt": b"yes/a.wav\n"}
    plain = tarred({f"./{member}": content for member, content in members.items()})
    get(offer(server, {name: compressed_otherwise(plain)[name]}), tmp_path / "tiny")
    assert tree(tmp_path / "tiny") == members


def test_a_zip_cut_into_parts_is_joined_and_a_table_beside_it_copied(server, tmp_path):
    members = {"0/a.mp3": noise(3000), "f/b.mp3": noise(2000, 1)}
    whole = zipped(members)
    parts = {
        "mp3.zip.001": whole[:100],
        "mp3.zip.002": whole[100:4000],
        "mp3.zip.003": whole[4000:],
    }
    published = offer(server, {**parts, "annotations.csv": b"clip_id\n1\n"})
    get(published, tmp_path / "tiny")
    assert tree(tmp_path / "tiny") == {**members, "annotations.csv": b"clip_id\n1\n"}


def test_a_folder_around_everything_is_left_out(server, tmp_path):
    members = {"X-master/X-master/a.wav": b"a", "X-master/meta/x.csv": b"x", "X-master/.git": b""}
    get(offer(server, {"x.zip": zipped({**members, "._X-master": b"mac"})}), tmp_path / "tiny")
    assert set(tree(tmp_path / "tiny")) == {"X-master/a.wav", "meta/x.csv", ".git", "._X-master"}


def test_a_lone_file_is_no_folder_to_leave_out(server, tmp_path):
    get(offer(server, {"weights.ckpt": b"w"}), tmp_path / "weights" / "tiny")
    assert tree(tmp_path) == {"weights/tiny/weights.ckpt": b"w"}


def test_files_that_figshare_lists_are_fetched_and_checked(server, tmp_path):
    content = zipped({"Development/Human/a.wav": b"a", "Logsheet.csv": b""})
    item = {"name": "Development data.zip", "download_url": server.url("files/1")}
    listing = {"files": [{**item, "computed_md5": checksum(content).removeprefix("md5:")}]}
    server.files = {"files/1": content, "article": json.dumps(listing).encode()}
    published = Published(
        name="t", description="", licence="", page="", listing=server.url("article")
    )
    get(published, tmp_path / "t")
    assert set(tree(tmp_path / "t")) == {"Development/Human/a.wav", "Logsheet.csv"}
    server.files["files/1"] = zipped({"Development/Human/a.wav": b"forged"})
    with pytest.raises(UserError, match=r"Development data\.zip: md5:\w+ instead of md5:"):
        get(published, tmp_path / "again")


@pytest.mark.parametrize("name", ["../a.zip", "/a.zip", "a/b.zip", ".a", "lock", ""])
def test_a_listed_name_that_is_a_path_is_refused(server, tmp_path, name):
    item = {"name": name, "download_url": server.url("x"), "computed_md5": ""}
    server.files = {"article": json.dumps({"files": [item]}).encode(), "x": b"x"}
    published = Published(
        name="t", description="", licence="", page="", listing=server.url("article")
    )
    with pytest.raises(UserError, match="not a plain name"):
        get(published, tmp_path / "t")
    assert list(tmp_path.iterdir()) == []


# Going on


def test_a_broken_connection_goes_on_from_there_and_fetches_no_byte_twice(server, tmp_path):
    content = noise(300_000)
    server.files["a.bin"], server.breaks_after = content, [100_000, 50_000]
    fetch(server.url("a.bin"), tmp_path / "a.bin", pauses_seconds=AT_ONCE)
    assert (tmp_path / "a.bin").read_bytes() == content
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert server.requests[1][1] == '"one"'
    wait_for(lambda: sum(server.sent) == len(content))
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_progress_renews_the_pauses_and_a_standstill_uses_them_up(server, tmp_path):
    server.files["a.bin"], server.breaks_after = noise(1000), [100] * 9
    fetch(server.url("a.bin"), tmp_path / "a.bin", pauses_seconds=[0])
    server.breaks_after = [100, 0, 0, 0, 0]
    with pytest.raises(UserError, match="the connection broke; 100 bytes are kept"):
        fetch(server.url("a.bin"), tmp_path / "b.bin", pauses_seconds=AT_ONCE)
    assert (tmp_path / "b.bin.part").read_bytes() == noise(1000)[:100]


def test_pauses_grow(server, tmp_path, monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr(
        "earmark.published.download.transfer.time", SimpleNamespace(sleep=slept.append)
    )
    server.statuses = [503] * 99
    with pytest.raises(UserError, match="the server says 503"):
        fetch(server.url("a.bin"), tmp_path / "a.bin")
    assert len(slept) >= 3
    assert all(later >= 2 * earlier for earlier, later in itertools.pairwise(slept))


def test_a_server_without_ranges_starts_over(server, tmp_path):
    server.files["a.bin"], server.takes_ranges = noise(1000), False
    server.breaks_after = [400]
    fetch(server.url("a.bin"), tmp_path / "a.bin", pauses_seconds=AT_ONCE)
    assert (tmp_path / "a.bin").read_bytes() == noise(1000)
    assert server.ranges == [None, "bytes=400-"]
    wait_for(lambda: server.sent == [400, 1000])  # it counts after the last byte has gone


def test_a_file_that_changed_meanwhile_is_not_spliced(server, tmp_path):
    server.files["a.bin"], server.breaks_after = noise(1000), [400, 0]
    with pytest.raises(UserError, match="400 bytes are kept"):
        fetch(server.url("a.bin"), tmp_path / "a.bin", pauses_seconds=[0])
    server.files["a.bin"], server.tag = noise(900, 1), '"two"'
    fetch(server.url("a.bin"), tmp_path / "a.bin", pauses_seconds=[])
    assert (tmp_path / "a.bin").read_bytes() == noise(900, 1)


def test_a_server_without_tags_is_told_by_the_length(server, tmp_path):
    server.files["a.bin"], server.breaks_after, server.tag = noise(1000), [400, 0], 'W/"weak"'
    with pytest.raises(UserError, match="kept"):
        fetch(server.url("a.bin"), tmp_path / "a.bin", pauses_seconds=[0])
    server.files["a.bin"] = noise(900, 1)
    fetch(server.url("a.bin"), tmp_path / "a.bin", pauses_seconds=[0])
    assert (tmp_path / "a.bin").read_bytes() == noise(900, 1)
    assert {condition for _, condition, _ in server.requests} == {""}  # a weak tag may not be sent


def test_a_part_of_another_address_is_not_gone_on_with(server, tmp_path):
    server.files.update({"a.bin": noise(1000), "b.bin": noise(1000, 1)})
    server.breaks_after = [400]
    with pytest.raises(UserError):
        fetch(server.url("a.bin"), tmp_path / "x", pauses_seconds=[])
    fetch(server.url("b.bin"), tmp_path / "x", pauses_seconds=[])
    assert (tmp_path / "x").read_bytes() == noise(1000, 1)


def test_a_part_that_is_whole_already_is_only_renamed(server, tmp_path):
    server.files["a.bin"], server.says_length = noise(1000), False
    about = {"url": server.url("a.bin"), "n_bytes": None, "validator": ""}
    (tmp_path / "a.bin.part").write_bytes(noise(1000))
    (tmp_path / "a.bin.part.json").write_text(json.dumps(about))
    fetch(server.url("a.bin"), tmp_path / "a.bin", pauses_seconds=[])  # the server answers 416
    assert (tmp_path / "a.bin").read_bytes() == noise(1000)
    assert sum(server.sent) == 0


def test_an_empty_file_and_one_of_unknown_length_arrive(server, tmp_path):
    server.files.update({"a.bin": b"", "b.bin": noise(1000)})
    server.says_length = False
    for name in ("a.bin", "b.bin"):
        fetch(server.url(name), tmp_path / name, pauses_seconds=[])
    assert tree(tmp_path) == {"a.bin": b"", "b.bin": noise(1000)}


def test_a_file_that_is_not_there_is_not_asked_for_again(server, tmp_path):
    with pytest.raises(UserError, match=r"a\.zip\?download=1: the server says 404"):
        fetch(server.url("a.zip"), tmp_path / "a.zip", pauses_seconds=AT_ONCE)
    assert len(server.requests) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_named(tmp_path):
    reason = r"no connection \(Failed to establish a new connection: [^<>]*refused\)"
    with pytest.raises(UserError, match=rf"http://127\.0\.0\.1:9/a\.zip: {reason}"):
        fetch("http://127.0.0.1:9/a.zip", tmp_path / "a.zip", pauses_seconds=[0])


GET = """
import logging, signal, sys
from pathlib import Path
from earmark.__main__ import main
from earmark.params.reading import read_yaml
from earmark.published.download.published import PUBLISHED, Published, PublishedFile
name, url, checksum, folder = sys.argv[1:]
file = PublishedFile(name, url, checksum)
PUBLISHED["tiny"] = Published(name="tiny", description="", licence="CC0", page="", files=(file,))
# a shell that starts tests in the background has Ctrl-C ignored, and its children inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["earmark", "download", "tiny", "--yes", "--into", folder]
main()
"""


def start(server: Server, folder: Path, content: bytes) -> "subprocess.Popen[str]":
    server.files["a.zip"] = content
    command = [sys.executable, "-c", GET, "a.zip", server.url("a.zip")]
    root = ROOT
    return subprocess.Popen(
        [*command, checksum(content), str(folder)],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_and_a_kill_leave_a_part_that_goes_on(server, tmp_path, sent):
    content = zipped({"a/x.wav": noise(2_000_000), "b/y.wav": b"y"})
    part = tmp_path / "tiny.download" / "a.zip.part"
    server.seconds_a_chunk = 0.02
    process = start(server, tmp_path / "tiny", content)
    wait_for(lambda: part.exists() and part.stat().st_size > 300_000)
    process.send_signal(sent)
    _, printed = process.communicate(timeout=30)
    assert process.returncode != 0
    assert sent == signal.SIGKILL or "interrupted; what has arrived is kept" in printed
    has = part.stat().st_size
    assert part.read_bytes() == content[:has]
    assert not (tmp_path / "tiny").exists()
    server.seconds_a_chunk = 0
    get(offer(server, {"a.zip": content}), tmp_path / "tiny")
    assert server.ranges == [None, f"bytes={has}-"]
    wait_for(lambda: server.sent[1] == len(content) - has)
    assert set(tree(tmp_path)) == {"tiny/a/x.wav", "tiny/b/y.wav"}


def test_the_second_of_two_downloads_waits_and_fetches_nothing(server, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    content = zipped({"a/x.wav": noise(400_000), "b/y.wav": b"y"})
    published = offer(server, {"a.zip": content})
    server.seconds_a_chunk = 0.003
    printed: list[list[str]] = []
    folder = tmp_path / "tiny"
    threads = [
        threading.Thread(target=lambda: printed.append(get(published, folder))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(printed) == sorted([[f"{folder}: 2 files"], [f"{folder}: already complete"]])
    assert len(server.requests) == 1
    assert "another download is running; waiting for it" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_a_lock_that_another_download_removed_is_not_trusted(server, tmp_path, monkeypatch):
    published = offer(server, {"a.zip": zipped({"a/x": b"", "b/y": b""})})
    work, real, locks = tmp_path / "tiny.download", fcntl.flock, []

    def ended_just_before(descriptor: int, kind: int) -> None:
        locks.append(descriptor)
        if len(locks) == 1:  # the other one removes it after we opened and before we locked it
            (work / "lock").unlink()
        real(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", ended_just_before)
    get(published, tmp_path / "tiny")
    assert len(locks) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


# Checking


def test_a_wrong_checksum_is_named_and_what_came_deleted(server, tmp_path):
    published = offer(server, {"good.zip": zipped({"a/x": b"x"}), "bad.zip": zipped({"b/y": b"y"})})
    good, bad = published.files
    forged = replace(published, files=(good, replace(bad, checksum=f"md5:{'0' * 32}")))
    expected = rf"bad\.zip: {bad.checksum} instead of md5:0{{32}}; it is deleted; run again"
    with pytest.raises(UserError, match=expected):
        get(forged, tmp_path / "tiny")
    assert [path.name for path in (tmp_path / "tiny.download").iterdir()] == ["good.zip"]
    get(published, tmp_path / "tiny")
    assert [name for name, _, _ in server.requests] == ["good.zip", "bad.zip", "bad.zip"]


def test_an_archive_changed_while_it_lay_there_is_not_unpacked(server, tmp_path):
    published = offer(server, {"a.zip": zipped({"a/x": b"x"})})
    (tmp_path / "tiny.download").mkdir()
    (tmp_path / "tiny.download" / "a.zip").write_bytes(zipped({"a/x": b"forged"}))
    with pytest.raises(UserError, match=r"a\.zip: md5:"):
        get(published, tmp_path / "tiny")
    assert not (tmp_path / "tiny").exists()


def test_a_file_without_a_checksum_is_reported_with_a_pin_that_works(server, tmp_path):
    content = zipped({"a/x": b"x"})
    published = offer(server, {"a.zip": content}, are_pinned=False)
    assert "no checksum is published for a.zip" in "\n".join(notice(published, tmp_path))
    printed = get(published, tmp_path / "one")[1]
    pin = re.search(r"not checked.*--sha256 (\S+)$", printed)
    assert pin is not None
    pins = parse_pins([pin[1]])
    assert pins == {"a.zip": checksum(content, "sha256")}
    assert len(get(published, tmp_path / "two", pins=pins)) == 1
    server.files["a.zip"] = zipped({"a/x": b"forged"})
    with pytest.raises(UserError, match="instead of sha256:"):
        get(published, tmp_path / "three", pins=pins)


@pytest.mark.parametrize("option", ["a.zip", "a.zip=12", f"={'0' * 64}", f"a.zip={'g' * 64}"])
def test_a_pin_of_another_form_is_refused(option):
    with pytest.raises(UserError, match="write FILE=HEX"):
        parse_pins([option])


def test_a_pin_of_no_such_file_names_the_files(server, tmp_path):
    published = offer(server, {"a.zip": zipped({"a": b""})})
    with pytest.raises(UserError, match=r"--sha256 b\.zip: no such file; name one of a\.zip$"):
        get(published, tmp_path / "tiny", pins={"b.zip": f"sha256:{'0' * 64}"})


def test_a_second_run_asks_the_server_nothing(server, tmp_path):
    published = offer(server, {"a.zip": zipped({"a/x": b"x", "b/y": b"y"})})
    get(published, tmp_path / "tiny")
    server.requests.clear()
    assert get(published, tmp_path / "tiny") == [f"{tmp_path / 'tiny'}: already complete"]
    assert server.requests == []


def test_lost_files_another_corpus_and_another_pin_are_no_complete_download(server, tmp_path):
    published = offer(server, {"a.zip": zipped({"a/x": b"x", "b/y": b"y"})}, are_pinned=False)
    folder = tmp_path / "tiny"
    get(published, folder)
    (folder / "my own.csv").touch()
    with pytest.raises(UserError, match="holds tiny, not other"):
        is_complete(replace(published, name="other"), folder, {})
    with pytest.raises(UserError, match=r"a\.zip has sha256:\w+, not sha256:0"):
        is_complete(published, folder, {"a.zip": f"sha256:{'0' * 64}"})
    for path in (folder / "a" / "x", folder / "b" / "y"):
        path.unlink()
    with pytest.raises(UserError, match="1 of 2 files are missing"):
        is_complete(published, folder, {})


def test_a_folder_of_ones_own_is_never_touched(server, tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "mine.wav").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"exists, but is not a complete download; .*--into"):
        get(offer(server, {"a.zip": zipped({"a/x": b"x"})}), tmp_path / "tiny")
    assert tree(tmp_path) == {"tiny/mine.wav": b"mine"}
    assert server.requests == []


def test_archives_are_kept_when_asked(server, tmp_path):
    content = zipped({"a/x": b"x", "b/y": b"y"})
    get(offer(server, {"a.zip": content}), tmp_path / "tiny", keep=True)
    assert tree(tmp_path / "tiny.download") == {"a.zip": content}


def test_a_full_disk_is_told_before_anything_is_fetched(server, tmp_path, monkeypatch):
    published = offer(server, {"a.zip": zipped({"a/x": noise(1000)})})
    n_bytes = len(server.files["a.zip"])
    for free, needs_more in ((2 * n_bytes - 1, True), (2 * n_bytes, False)):
        usage = SimpleNamespace(free=free)
        monkeypatch.setattr(shutil, "disk_usage", lambda _, usage=usage: usage)
        if needs_more:
            with pytest.raises(UserError, match=r"KiB needed, .* free; make room"):
                get(published, tmp_path / "tiny")
            assert server.requests == []
        else:
            get(published, tmp_path / "tiny")


# Hostile archives


def refused(server: Server, tmp_path: Path, name: str, content: bytes) -> str:
    """What the refusal says; asserts that nothing of the archive is anywhere."""
    (tmp_path / "outside").mkdir()
    good = zipped({"good/x.wav": b"x"})
    published = offer(server, {"0.zip": good, name: content})
    with pytest.raises(UserError) as caught:
        get(published, tmp_path / "outside" / "tiny")
    (problem,) = caught.value.problems
    assert problem.startswith(f"{name}: ")
    assert list(tree(tmp_path)) == [
        f"outside/tiny.download/{archive}" for archive in sorted(["0.zip", name])
    ]
    return problem


OUTSIDE = ["../evil.txt", "a/../../evil.txt", "/tmp/evil.txt", "C:/evil.txt", "a\\..\\evil.txt"]


@pytest.mark.parametrize("member", OUTSIDE)
def test_a_zip_member_outside_the_folder_is_refused_by_name(server, tmp_path, member):
    content = zipped({"a/fine.wav": b"x", member: b"evil"})
    assert f"member {member!r} refused" in refused(server, tmp_path, "evil.zip", content)


@pytest.mark.parametrize("member", OUTSIDE)
def test_a_tar_member_outside_the_folder_is_refused_by_name(server, tmp_path, member):
    content = gzip.compress(tarred({"a/fine.wav": b"x", member: b"evil"}))
    assert f"member {member!r} refused" in refused(server, tmp_path, "evil.tar.gz", content)


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_a_link_or_device_in_a_zip_is_refused_by_name(server, tmp_path, kind):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/fine.wav", b"x")
        member = zipfile.ZipInfo("a/way")
        member.external_attr = (kind | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    assert "member 'a/way' refused" in refused(server, tmp_path, "evil.zip", buffer.getvalue())


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.BLKTYPE, "a device"),
        (tarfile.FIFOTYPE, "a pipe"),
    ],
)
def test_a_link_or_device_in_a_tar_is_refused_by_name(server, tmp_path, kind, reason):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("a/fine.wav"))
        member = tarfile.TarInfo("a/way")
        member.type, member.linkname = kind, "fine.wav"
        archive.addfile(member)
    problem = refused(server, tmp_path, "evil.tar.gz", buffer.getvalue())
    assert f"member 'a/way' refused, {reason}" in problem


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_file_in_place_of_a_folder_is_refused_by_name(tmp_path, pack):
    archive = tmp_path / ("a.zip" if pack is zipped else "a.tar")
    archive.write_bytes(pack({"a": b"file", "a/b": b"below it"}))
    with pytest.raises(UserError, match="member 'a/b' refused, another member of that name"):
        unpack([archive], tmp_path / "out", limit_bytes=LIMIT)


def test_a_member_that_comes_twice_is_refused_by_name(server, tmp_path):
    content = zipped({"good/x.wav": b"overwritten"})  # as in the first archive
    assert "member 'good/x.wav' refused" in refused(server, tmp_path, "b.zip", content)


def test_an_encrypted_member_is_refused_by_name(server, tmp_path):
    content = bytearray(zipped({"a/x.wav": b"x"}))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags] |= 1
    assert "it is encrypted" in refused(server, tmp_path, "a.zip", bytes(content))


@pytest.mark.parametrize("name", ["bomb.zip", "bomb.tar.gz", "bomb.tar.bz2"])
def test_a_bomb_is_refused(server, tmp_path, name, monkeypatch):
    monkeypatch.setattr(downloads, "_ALWAYS_UNPACKED_BYTES", 10**5)
    zeros = {"zeros.wav": bytes(3_000_000)}
    content = zipped(zeros) if name == "bomb.zip" else compressed_otherwise(tarred(zeros))
    if isinstance(content, dict):
        content = content[name.replace("bomb", "a")]
    assert "it may be a bomb" in refused(server, tmp_path, name, content)


def test_a_zip_that_lies_about_a_size_gives_no_more_than_its_header_says(tmp_path):
    content = bytearray(zipped({"a.wav": bytes(100_000)}))
    at = content.index(b"PK\x01\x02") + 24
    content[at : at + 4] = (10).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.zip: is damaged"):
        unpack([tmp_path / "a.zip"], tmp_path / "out", limit_bytes=1000)
    assert (tmp_path / "out" / "a.wav").stat().st_size <= 10


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("earmark.published.download.archives.MAX_MEMBERS", 3)
    for name, pack in (("a.zip", zipped), ("a.tar", tarred)):
        (tmp_path / name).write_bytes(pack({f"{i}.wav": b"" for i in range(4)}))
        with pytest.raises(UserError, match="more than 3 members"):
            unpack([tmp_path / name], tmp_path / "out" / name, limit_bytes=LIMIT)


def test_a_damaged_archive_says_so_and_leaves_nothing(server, tmp_path):
    content = bytearray(zipped({"a/x.wav": noise(5000)}))
    content[2000] ^= 1
    problem = refused(server, tmp_path, "a.zip", bytes(content))
    assert "is damaged (Bad CRC-32 for file 'a/x.wav')" in problem


@pytest.mark.parametrize("content", [b"<html>try later</html>", b"<html>" * 9, b""])
def test_a_damaged_archive_without_a_checksum_is_deleted_so_that_a_rerun_fetches_it(
    server, tmp_path, content
):
    published = offer(server, {"a.zip": content}, are_pinned=False)
    folder = tmp_path / "tiny"
    with pytest.raises(UserError, match=r"a\.zip: is damaged \(.*; run the same again") as caught:
        get(published, folder)
    assert f"{tmp_path}/tiny.download/a.zip: deleted" in str(caught.value)
    assert "position" not in str(caught.value)
    server.files["a.zip"] = zipped({"a/x": b"x", "b/y": b"y"})
    get(published, folder)
    assert tree(folder) == {"a/x": b"x", "b/y": b"y"}


@pytest.mark.parametrize("to", ["http://[bad", "file:///etc/passwd", "ftp://a/b", "/a.zip"])
def test_a_server_that_sends_to_no_address_of_http_is_refused_in_one_line(server, tmp_path, to):
    published = offer(server, {"a.zip": b""})
    server.sends_to = to
    with pytest.raises(UserError, match=r"a\.zip\?download=1: the server sends .* refused") as info:
        get(published, tmp_path / "tiny")
    assert len(str(info.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar.bz2", "a.tar", "a.zip"])
@pytest.mark.parametrize("share", [0, 0.3, 0.8])
def test_an_archive_cut_short_is_damaged(tmp_path, name, share):
    members = {"a/x.wav": noise(30_000), "a/y.wav": noise(30_000, 1)}
    whole = zipped(members) if name == "a.zip" else compressed_otherwise(tarred(members))[name]
    (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match=rf"{name}: is damaged"):
        unpack([tmp_path / name], tmp_path / "out", limit_bytes=LIMIT)


def test_a_tar_that_ends_between_two_members_is_damaged(tmp_path):
    first, second = (tarred({name: noise(1024)}) for name in ("a.wav", "b.wav"))
    (tmp_path / "a.tar").write_bytes(first[: 512 + 1024] + second[:512])
    with pytest.raises(UserError, match=r"a\.tar: is damaged \(unexpected end of data\)"):
        unpack([tmp_path / "a.tar"], tmp_path / "cut inside", limit_bytes=LIMIT)
    (tmp_path / "a.tar").write_bytes(first[: 512 + 1024])
    with pytest.raises(UserError, match=r"a\.tar: is damaged \(it has no end mark\)"):
        unpack([tmp_path / "a.tar"], tmp_path / "cut between", limit_bytes=LIMIT)


def test_a_wrong_checksum_inside_a_gzip_is_seen(tmp_path):
    content = bytearray(gzip.compress(tarred({"a.wav": noise(5000)})))
    content[-6] ^= 1
    (tmp_path / "a.tar.gz").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.tar\.gz: is damaged \(CRC check failed"):
        unpack([tmp_path / "a.tar.gz"], tmp_path / "out", limit_bytes=LIMIT)


def test_permissions_of_an_archive_are_not_taken_over(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        member = tarfile.TarInfo("run.sh")
        member.mode = 0o6777
        archive.addfile(member)
    unpack([tmp_path / "a.tar"], tmp_path / "out", limit_bytes=LIMIT)
    assert (tmp_path / "out" / "run.sh").stat().st_mode & 0o7111 == 0


@given(st.text(alphabet="./\\:aC\0 ", max_size=12))
def test_no_name_leads_out_of_the_folder(name):
    folder = "/srv/corpus"
    try:
        path = safe_path(name, "a.zip")
    except UserError:
        return
    assert os.path.normpath(f"{folder}/{path}").startswith(folder)
    assert not set(str(path)) & {"\\", "\0"}


@settings(deadline=None)  # files
@given(
    parts=st.lists(st.binary(max_size=6), min_size=1, max_size=4),
    moves=st.lists(st.tuples(st.integers(0, 25), st.integers(0, 8)), max_size=6),
)
def test_joined_parts_read_as_the_whole(tmp_path_factory, parts, moves):
    folder = tmp_path_factory.mktemp("joined")
    paths = [folder / f"{i:03d}" for i in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        path.write_bytes(part)
    whole = b"".join(parts)
    with io.BufferedReader(Joined(paths)) as file:
        assert file.read() == whole
        for at, n_bytes in moves:
            assert file.seek(at) == at
            assert file.read(n_bytes) == whole[at : at + n_bytes]
        assert file.seek(0, io.SEEK_END) == len(whole)
    shutil.rmtree(folder)


def test_parts_are_grouped_in_their_order():
    names = ["b.csv", "mp3.zip.002", "mp3.zip.001", "a.zip", "x.001"]
    parts = ["mp3.zip.001", "mp3.zip.002"]
    assert grouped(names) == {
        **{name: [name] for name in ("a.zip", "b.csv", "x.001")},
        "mp3.zip": parts,
    }


# The table and the command


@pytest.mark.parametrize("published", PUBLISHED.values(), ids=list(PUBLISHED))
def test_an_entry_is_whole(published):
    assert re.fullmatch(r"[a-z0-9_.]+", published.name)
    assert published.licence
    assert published.page.startswith("http")
    ways = [bool(published.files), bool(published.listing), bool(published.steps)]
    assert ways.count(True) == 1
    assert len({file.name for file in published.files}) == len(published.files)
    for file in published.files:
        assert file.url.startswith(("https://", "http://"))
        assert re.fullmatch(r"(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})?", file.checksum)
        # a rerun of torchvggish's naming rule: the hash's beginning in the file's name
        named = re.search(r"-([0-9a-f]{8})\.pth", file.name)
        assert not named or file.checksum.startswith(f"sha256:{named[1]}")


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["download", *arguments])
    problems = (
        "\n".join(result.exception.problems) if isinstance(result.exception, UserError) else ""
    )
    return result.exit_code, result.output + problems


def test_the_list_has_every_name_with_its_licence():
    for arguments in ((), ("--list",)):
        code, printed = run(*arguments)
        assert code == 0
        for name, published in PUBLISHED.items():
            assert name in printed
            assert published.licence in printed


def test_the_licence_is_shown_and_without_a_terminal_yes_is_required(server, tmp_path, monkeypatch):
    published = offer(server, {"a.zip": zipped({"a/x": b"x", "b/y": b"y"})})
    monkeypatch.setitem(PUBLISHED, "tiny", replace(published, licence="CC BY 4.0"))
    folder = tmp_path / "tiny"
    code, printed = run("tiny", "--into", str(folder))
    assert code == 1
    assert "CC BY 4.0" in printed
    assert "pass --yes" in printed
    assert server.requests == []
    code, printed = run("tiny", "--into", str(folder), "--yes")
    assert code == 0
    assert printed.index("CC BY 4.0") < printed.index("2 files")
    commands = [f"python -m earmark profile use tiny --root {folder}", f"dvc add {folder}"]
    assert printed.splitlines()[-2:] == commands
    code, printed = run("tiny", "--into", str(folder))
    assert (code, f"{folder}: already complete" in printed) == (0, True)


def test_weights_without_a_published_checksum_are_kept_in_params_and_checked_from_then_on(
    server, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    before = "seed: 0 # of all draws\n\nweight_checksums: {} # of weights\n\nfolds: [0,   1]\n"
    Path("params.yaml").write_text(before)
    published = offer(server, {"net.pt": b"weights"}, are_pinned=False)
    weights = replace(published, kind="weights", to_convert="net.pt")
    monkeypatch.setitem(PUBLISHED, "tiny", weights)
    code, printed = run("tiny", "--yes")
    assert (code, "net.pt must be these bytes from now on" in printed) == (0, True)
    sha256 = hashlib.sha256(b"weights").hexdigest()
    after = before.replace(": {} # of weights", f': # of weights\n  "net.pt": "{sha256}"')
    assert Path("params.yaml").read_text() == after
    assert "from now on" not in run("tiny", "--yes")[1]
    server.files["net.pt"] = b"forged"
    code, printed = run("tiny", "--yes", "--into", "again")
    assert (code, f"instead of sha256:{sha256}" in printed) == (1, True)
    assert "weight_checksums in params.yaml" in printed
    given = f"net.pt={hashlib.sha256(b'forged').hexdigest()}"
    assert run("tiny", "--yes", "--into", "again", "--sha256", given)[0] == 0
    assert Path("params.yaml").read_text() == after


CORPORA = [entry for entry in PUBLISHED.values() if entry.kind == "corpus" and not entry.steps]


@pytest.mark.parametrize("published", CORPORA, ids=lambda entry: entry.name)
def test_the_next_command_uses_a_profile_that_is_there_and_looks_where_the_files_are(published):
    folder = downloads.default_folder(published)
    use, add = next_commands(published, folder)
    assert add == f"dvc add {folder}"
    match = re.fullmatch(r"python -m earmark profile use (\w+)(?: --root (\S+))?", use)
    assert match is not None
    profile = read_yaml(ROOT / "profiles" / f"{match[1]}.yaml")
    assert (match[2] or profile["corpus"]["root"]) == folder.as_posix()


def test_the_next_command_converts_the_weights_wherever_the_archive_has_them(tmp_path):
    vggish, soundnet = PUBLISHED["vggish"], PUBLISHED["soundnet"]
    assert next_commands(vggish, downloads.default_folder(vggish)) == [
        "python -m earmark convert weights/vggish/vggish_model.ckpt weights/vggish.safetensors",
        "dvc add weights/vggish.safetensors",
    ]
    deep = tmp_path / "soundnet" / "models" / "soundnet8_final.t7"
    deep.parent.mkdir(parents=True)
    deep.touch()
    out = tmp_path / "soundnet.safetensors"
    use, _ = next_commands(soundnet, tmp_path / "soundnet")
    assert use == f"python -m earmark convert {deep} {out}"


@pytest.mark.parametrize("name", ["dcase2017_task4", "vegas"])
def test_what_only_hands_can_fetch_names_its_page_and_layout(name, tmp_path):
    code, printed = run(name, "--yes", "--into", str(tmp_path / "here"))
    assert code == 1
    assert PUBLISHED[name].page in printed
    assert str(tmp_path / "here") in printed
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match=r"no download 'esc51'; choose one of fsdkaggle2018, esc50"):
        find("esc51")
