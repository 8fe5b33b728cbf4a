"""Whether what a run writes is on the disk once or twice, as DVC itself then does it."""

import subprocess
from pathlib import Path

import pytest

import earmark.settings.dvc_cache
from earmark.layout import Layout
from earmark.settings.dvc_cache import cache_shares_files
from tests.source_graph import ROOT

GRAPH = """
stages:
  one:
    cmd: mkdir data && head -c 100000 /dev/urandom > data/a
    outs: [data]
"""


@pytest.mark.slow
@pytest.mark.parametrize("types", ["hardlink,copy", "copy", "reflink,hardlink,copy", "symlink"])
def test_the_answer_is_what_dvc_does(tmp_path: Path, types: str) -> None:
    (tmp_path / "dvc.yaml").write_text(GRAPH)
    commands = ["init -q --no-scm", f"config cache.type {types}", "repro -q"]
    for command in commands:
        subprocess.run(["dvc", *command.split()], cwd=tmp_path, check=True, timeout=120)
    (kept,) = [path for path in (tmp_path / ".dvc" / "cache" / "files").rglob("*") if is_data(path)]
    is_one_file = (tmp_path / "data" / "a").samefile(kept)
    if types.startswith("reflink") and earmark.settings.dvc_cache._has_reflinks(tmp_path):
        is_one_file = True  # two names of the same blocks
    assert cache_shares_files(Layout(tmp_path)) == is_one_file


def is_data(path: Path) -> bool:
    return path.is_file() and path.stat().st_size == 100_000


def test_a_cache_on_another_disk_has_copies(tmp_path: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system")
    (tmp_path / ".dvc").mkdir()
    text = f'[cache]\n    dir = {other}/earmark-test-cache\n    type = "hardlink,copy"\n'
    (tmp_path / ".dvc" / "config").write_text(text)
    assert not cache_shares_files(Layout(tmp_path))


def test_this_repository_keeps_what_it_makes_once() -> None:
    types = [line for line in (ROOT / ".dvc" / "config").read_text().splitlines() if "type" in line]
    assert types == ['    type = "hardlink,reflink,copy"']
