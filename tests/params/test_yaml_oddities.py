"""Files that no editor of params.yaml means to write end in one line, and in bounded time."""

import time
from pathlib import Path

import pytest

from earmark.errors import UserError
from earmark.params.reading import MAX_BYTES, load_params, read_yaml
from tests.source_graph import ROOT

SOUND = (ROOT / "params.yaml").read_bytes()
# Each alias stands for ten of the one before: 10^10 values.
LAUGHS = b"a0: &a0 [x, x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 11)
)


def with_seed(seed: bytes) -> bytes:
    return SOUND.replace(b"seed: 20181119", b"seed: " + seed, 1)


def problem_of(tmp_path: Path, content: bytes) -> str:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    start = time.process_time()
    with pytest.raises(UserError) as caught:
        load_params(path)
    assert time.process_time() - start < 10
    (problem,) = caught.value.problems
    assert problem.isprintable()
    assert "params.yaml: " in problem
    return problem


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (SOUND + b"seed: 1\n", ['column 1: found duplicate key "seed"']),
        (SOUND.replace(b"  threads", b"\tthreads"), ["line 6, column 1", "cannot start any token"]),
        (SOUND.decode().encode("utf-16"), ["no UTF-8; save the file as UTF-8"]),
        (SOUND + b"x: \xe9\n", ["no UTF-8; save the file as UTF-8"]),
        (with_seed(b"" + b"9" * 5000 + b" "), ["digits"]),
        (with_seed(b"0x" + b"f" * 5000 + b" "), ["300 digits"]),
        (with_seed(b"2020-13-45 "), ["not valid YAML: month must be in 1..12"]),
        (with_seed(b"2020-01-01 "), ["seed: Input should be a valid integer"]),
        (with_seed(b"1:30 "), ["seed: Input should be a valid integer", "'1:30'"]),
        (with_seed(b"!!int abc "), ["not valid YAML", "'abc'"]),
        (with_seed(b"!!python/none x "), ["not valid YAML: line 3, column 7"]),
        (SOUND + LAUGHS, ["more than 100,000 values"]),
        (SOUND.replace(b"width: 0.25", b"width: &a [*a]", 1), ["nested more than 30 levels deep"]),
        (SOUND + b"x: " + b"[" * 20_000 + b"]" * 20_000, ["nested more than 30 levels deep"]),
        (SOUND + b"x: " + b"{a: " * 40 + b"1" + b"}" * 40, ["nested more than 30 levels deep"]),
        (SOUND + b"#" * MAX_BYTES, ["bytes, more than 1,000,000; is it the right file?"]),
        (SOUND + b"1: 3\n", ["params.yaml: 1: the key 1 is no text; put it in quotes"]),
        (SOUND + b"? [1, 2]\n: 3\n", ["the key (1, 2) is no text"]),
        (SOUND + b"'a\\nb': 3\n", ["unknown key"]),
        (SOUND.replace(b"folds: [0, 1, 2]", b"folds: 5"), ["folds: Input should be a valid list"]),
    ],
    ids=range(20),
)
def test_an_odd_file_is_one_line_with_the_place(tmp_path, content, words):
    problem = problem_of(tmp_path, content)
    assert [word for word in words if word not in problem] == [], problem


@pytest.mark.parametrize(
    "content",
    [b"\xef\xbb\xbf" + SOUND, SOUND.replace(b"\n", b"\r\n"), b"&top\n" + SOUND],
    ids=["byte order mark", "CRLF", "anchor"],
)
def test_what_editors_write_is_read_as_it_is_meant(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    assert load_params(path) == load_params(ROOT / "params.yaml")


def test_a_folder_in_place_of_the_file_is_one_line(tmp_path):
    (tmp_path / "params.yaml").mkdir()
    with pytest.raises(UserError, match="is a folder; move it away"):
        read_yaml(tmp_path / "params.yaml")
