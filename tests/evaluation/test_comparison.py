"""Two runs, wherever they are, compared on what both have."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from earmark.errors import UserError
from earmark.evaluation.comparison import compare
from earmark.evaluation.runs import Run, read_run
from earmark.layout import Layout
from earmark.store import write_json, write_table

TAGS = ["cat", "dog", "owl"]
HOW = {"metric": "accuracy", "label_groups": {}, "on": "validation", "seed": 0, "n_resamples": 50}


def run(
    answers: str, labels: str = "cdocdo", name: str = "a", clips: str = "pqrstu", tags=TAGS
) -> Run:
    """Clips p, q, ... of tags by first letter, each answered by one of them."""
    index_of = {tag[0]: i for i, tag in enumerate(tags)}
    rows = pd.DataFrame(
        {
            "clip": list(clips),
            "role": "validation",
            "part": "",
            "label": [TAGS[[t[0] for t in TAGS].index(letter)] for letter in labels],
            "source": "",
        }
    )
    sure = np.full((len(clips), len(tags)), 0.1)
    sure[np.arange(len(clips)), [index_of[letter] for letter in answers]] = 0.8
    return Run(name, rows, pd.DataFrame(sure, columns=list(tags)), False)


def test_the_difference_is_on_the_clips_that_both_have():
    first = run("cdocoo", name="old")
    second = run("ddocd", "cdocd", clips="pqrsx", name="new")
    found = compare(first, second, **HOW)
    assert found.gain.n_clips == 4
    assert (found.gain.first, found.gain.second) == (1.0, 0.75)
    assert (found.changes.n_mended, found.changes.n_spoilt) == (0, 1)
    assert found.left_out == [
        "left out: 2 clips that only old has",
        "left out: 1 clips that only new has",
    ]
    assert found.lines()[-2:] == found.left_out


def test_the_order_of_clips_and_of_tags_does_not_matter():
    first, second = run("cdoooo"), run("ddocdo", name="b")
    back = np.arange(6)[::-1]
    turned = Run("b", second.rows.iloc[back], second.table.iloc[back][TAGS[::-1]], False)
    one, other = compare(first, second, **HOW), compare(first, turned, **HOW)
    assert (one.gain.first, one.gain.second) == (other.gain.first, other.gain.second)
    assert one.changes == other.changes


def test_tags_of_one_run_alone_are_left_out_with_their_clips():
    first = run("cdcd", "cdcd", clips="pqst", tags=["cat", "dog"], name="two")
    found = compare(first, run("ccocdo", name="three"), **HOW)
    assert found.gain.n_clips == 4
    assert found.gain.second == 0.75
    assert "left out: tags that only three has: owl" in found.left_out
    assert list(found.by_tag["tag"]) == ["cat", "dog"] or list(found.by_tag["tag"]) == [
        "dog",
        "cat",
    ]


def test_a_clip_of_a_tag_that_one_run_lacks_is_not_judged():
    first = run("cdcd", "cdod", clips="pqrs", tags=["cat", "dog"], name="two")
    found = compare(first, run("cdod", "cdod", clips="pqrs", name="three"), **HOW)
    assert found.gain.n_clips == 3
    assert "left out: 1 clips without a tag that both have" in found.left_out


def test_relabelled_clips_are_judged_by_the_second_runs_labels():
    found = compare(run("cdocdo", name="old"), run("cdocdo", "ddocdo", name="new"), **HOW)
    assert found.gain.first == found.gain.second == 5 / 6
    assert found.left_out == ["1 clips have another label in old; new's is used"]


def test_a_clip_that_several_folds_held_out_counts_once_with_its_mean_opinion():
    twice = run("dcd", "ccd", clips="ppq")
    twice.table.iloc[0] = [0.3, 0.6, 0.1]  # the other fold is surer of cat
    found = compare(twice, run("cd", "cd", clips="pq", name="b"), **HOW)
    assert found.gain.n_clips == 2
    assert found.gain.first == 1.0


def test_merged_tags_are_compared_as_one():
    pets = {"pet": ["cat", "dog"]}
    found = compare(run("cdocdo"), run("dcocdo", name="b"), **HOW | {"label_groups": pets})
    assert found.gain.difference.value == 0
    assert found.changes.n_changed == 0


def test_test_clips_are_compared_apart():
    both = [run("cdocdo", name="a"), run("ddocdo", name="b")]
    for one in both:
        one.rows["role"] = ["validation"] * 3 + ["test"] * 3
    assert compare(*both, **HOW).gain.second == pytest.approx(2 / 3)
    assert compare(*both, **HOW | {"on": "test"}).gain.second == 1.0


def test_a_comparison_becomes_plain_json():
    found = compare(run("cdocdo"), run("ddocdo", name="b"), **HOW).to_json()
    assert json.loads(json.dumps(found)) == found
    assert found["names"] == ["a", "b"]
    assert found["gain"]["difference"]["value"] == pytest.approx(-1 / 6)
    assert found["answers"]["n_spoilt"] == 1


def test_what_cannot_be_compared_says_why():
    many = run("cdocdo", name="many")
    several = Run("several", many.rows, many.table, True)
    with pytest.raises(UserError, match="many has one tag a clip, several several: not comparable"):
        compare(several, many, **HOW)
    with pytest.raises(UserError, match="a and b share 0 clips and 3 tags; too little"):
        compare(run("cdo", "cdo", clips="pqr"), run("cdo", "cdo", clips="xyz", name="b"), **HOW)
    with pytest.raises(UserError, match=r"evaluate\.metric: roc_auc is not"):
        compare(many, many, **HOW | {"metric": "roc_auc"})


def write(folder: Path, answers: str) -> None:
    made = run(answers)
    write_table(folder / "clips.parquet", made.rows.assign(fold="0"))
    for name in ("one", "ensemble"):
        write_table(folder / f"{name}.parquet", made.table)
    write_json(folder / "ensemble.json", {"members": ["one"], "is_multi_label": False})


def test_members_and_folders_are_read_by_name(tmp_path):
    layout = Layout(tmp_path / "here")
    write(layout.ensemble, "cdocdo")
    write(tmp_path / "there" / "data" / "ensemble", "ddocdo")
    write(tmp_path / "bare", "dcocdo")
    assert read_run("one", layout).table.idxmax(axis=1)[0] == "cat"
    for place in (str(tmp_path / "there"), f"{tmp_path / 'bare'}:one"):
        found = read_run(place, layout)
        assert (found.name, found.table.idxmax(axis=1)[0]) == (place, "dog")
    with pytest.raises(UserError, match="no member two; there are one, ensemble"):
        read_run(f"{tmp_path / 'there'}:two", layout)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: no data/ensemble in it"):
        read_run(str(tmp_path / "empty"), layout)
    write_json(tmp_path / "bare" / "ensemble.json", {"members": ["one"]})
    with pytest.raises(UserError, match="bare: made by an older earmark"):
        read_run(str(tmp_path / "bare"), layout)


@pytest.mark.slow
def test_revisions_and_experiments_come_out_of_dvcs_cache(tmp_path, monkeypatch):
    layout = Layout(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    def shell(*command: str) -> None:
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    def dvc(*command: str) -> None:
        shell(sys.executable, "-m", "dvc", *command)

    def commit(message: str) -> None:
        shell("git", "add", "-A")
        shell("git", "commit", "-q", "-m", message)

    shell("git", "init", "-q")
    shell("git", "config", "user.name", "n")
    shell("git", "config", "user.email", "e@x")
    dvc("init", "-q")
    write(layout.ensemble, "cdocdo")
    dvc("add", "-q", "data/ensemble")
    commit("one")
    shell("git", "tag", "before")
    shell("rm", "-r", str(layout.ensemble))
    write(layout.ensemble, "ddocdo")
    dvc("add", "-q", "data/ensemble")
    dvc("exp", "save", "-q", "-n", "trial")
    commit("two")

    found = compare(read_run("before", layout), read_run("ensemble", layout), **HOW)
    assert (found.gain.first, found.gain.second) == (1.0, 5 / 6)
    assert read_run("trial:one", layout).table.idxmax(axis=1)[0] == "dog"
    with pytest.raises(UserError, match=r"nosuch: .* name a member, a folder, or a git"):
        read_run("nosuch", layout)
    shell("rm", "-r", str(tmp_path / ".dvc" / "cache"))
    with pytest.raises(UserError, match="before: its data/ensemble is not to be had"):
        read_run("before", layout)
