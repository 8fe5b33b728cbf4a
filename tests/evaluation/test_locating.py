"""Taggers are found by member, folder, git revision or experiment."""

import subprocess
import sys
from pathlib import Path

import pytest

from earmark.errors import UserError
from earmark.evaluation.locating import locate_all, locate_predictions
from earmark.evaluation.predictions import write_predictions
from earmark.layout import Layout
from earmark.records import write_json
from tests.evaluation.letter_taggers import tagger


def write(folder: Path, predicted: str) -> None:
    members = [tagger(predicted, name=name) for name in ("one", "ensemble")]
    write_predictions(
        folder, members, {"members": ["one"], "is_multi_label": False, "tags": members[0].task.tags}
    )


def first_tag(name: str, layout: Layout) -> str:
    """What is predicted for the first clip."""
    predictions = locate_predictions(name, layout)
    return predictions.task.tags[predictions.probabilities[0].argmax()]


def test_members_and_folders_are_read_by_name(tmp_path):
    layout = Layout(tmp_path / "here")
    write(layout.ensemble, "cdocdo")
    write(tmp_path / "there" / "data" / "ensemble", "ddocdo")
    write(tmp_path / "bare", "dcocdo")
    assert first_tag("one", layout) == "cat"
    for name in (str(tmp_path / "there"), f"{tmp_path / 'bare'}:one"):
        assert locate_predictions(name, layout).name == name
        assert first_tag(name, layout) == "dog"
    with pytest.raises(UserError, match="no member two; choose one of one, ensemble"):
        locate_predictions(f"{tmp_path / 'there'}:two", layout)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: no data/ensemble in it"):
        locate_predictions(str(tmp_path / "empty"), layout)
    write_json(tmp_path / "bare" / "ensemble.json", {"members": ["one"]})
    with pytest.raises(UserError, match="bare: made by an older earmark"):
        locate_predictions(str(tmp_path / "bare"), layout)


def test_several_names_stand_between_commas(tmp_path):
    layout = Layout(tmp_path)
    write(layout.ensemble, "cdocdo")
    assert [one.name for one in locate_all("one, ensemble", layout)] == ["one", "ensemble"]
    for names in ("one,", "one,one"):
        with pytest.raises(UserError, match=f"'{names}': name each tagger once"):
            locate_all(names, layout)


@pytest.mark.slow
def test_revisions_and_experiments_come_out_of_dvcs_cache(tmp_path, monkeypatch):
    layout = Layout(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    def shell(*command: str) -> None:
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)

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

    assert first_tag("before", layout) == "cat"
    assert first_tag("ensemble", layout) == first_tag("trial:one", layout) == "dog"
    with pytest.raises(UserError, match=r"nosuch: .* name a member, a folder, or a git"):
        locate_predictions("nosuch", layout)
    shell("rm", "-r", str(tmp_path / ".dvc" / "cache"))
    with pytest.raises(UserError, match="before: its data/ensemble is not available"):
        locate_predictions("before", layout)
