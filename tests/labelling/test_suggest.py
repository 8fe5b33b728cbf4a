"""`suggest` as a user types it, and the page that it writes."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from earmark.inference.recording_tagger import RecordingTagger
from earmark.labelling.excerpts import Excerpt, loudest_part, write_excerpt
from earmark.labelling.page import Card, page
from earmark.labelling.suggestions import COLUMNS
from tests.inference.conftest import exported  # noqa: F401 -- a fixture
from tests.inference.test_commands import run
from tests.inference.workspaces import TAGS, make_workspace, sound


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for number in range(6):
        sound(Path(f"in/{number}.wav"), key=number, seconds=1.0)
    Path("in/broken.wav").write_text("no sound")
    return tmp_path


def data_of(html: str):
    (text,) = re.findall(r"const data = (.*);\n", html)
    return json.loads(text)


@pytest.mark.usefixtures("folder")
def test_where_no_recording_can_be_used_the_same_command_says_again_why(
    exported,  # noqa: F811
    monkeypatch,
    capfd,
):
    for _ in range(2):
        assert run(monkeypatch, "suggest", exported, "in/broken.wav", "-o", "s") == 1
        error = capfd.readouterr().err
        assert "in/broken.wav: unreadable: is a text" in error
        assert "none of the recordings could be used" in error
    assert [path.name for path in Path().iterdir()] == ["in"]


@pytest.mark.usefixtures("folder")
def test_suggestions_come_with_excerpts_a_table_and_a_page(exported, monkeypatch, capfd):  # noqa: F811
    assert run(monkeypatch, "suggest", exported, "in", "-o", "s", "--count", 4) == 3
    table = pd.read_csv("s/suggestions.csv", keep_default_na=False)
    assert table.columns.tolist() == COLUMNS
    assert table["rank"].tolist() == [1, 2, 3, 4]
    assert set(table["label"]) == {""}
    assert table["path"].nunique() == 4
    assert all(Path(path).is_file() for path in table["path"])
    assert set(table["suggested"]) <= {*TAGS, "'=cough"}
    assert pd.read_csv("s/errors.csv")["file"].tolist() == ["in/broken.wav"]
    html = Path("s/index.html").read_text()
    for rank, path in enumerate(table["path"], start=1):
        played, _ = soundfile.read(f"s/audio/{rank:04d}.wav")
        recorded, _ = soundfile.read(path)
        np.testing.assert_allclose(played, recorded, atol=1e-4)
        assert f'src="audio/{rank:04d}.wav"' in html
    assert [row["path"] for row in data_of(html)["rows"]] == table["path"].tolist()
    assert not re.search(r"https?://", html), "the page needs no network"
    assert "label add labels.csv" in capfd.readouterr().out
    assert sorted(path.name for path in Path().iterdir()) == ["in", "s"]
    assert run(monkeypatch, "suggest", exported, "in", "-o", "s") == 2
    assert run(monkeypatch, "suggest", exported, "in", "-o", "in") == 2
    assert run(monkeypatch, "suggest", exported, "in", "-o", "t", "--count", 4) == 3
    assert Path("t/suggestions.csv").read_text() == Path("s/suggestions.csv").read_text()


@pytest.mark.usefixtures("folder")
def test_it_goes_on_after_a_break_and_chooses_the_same(exported, monkeypatch):  # noqa: F811
    assert run(monkeypatch, "suggest", exported, "in", "-o", "s", "--count", 4) == 3
    tag = RecordingTagger.tag
    asked: list[Path] = []

    def interrupted(self, path):
        if len(asked) == 3:
            raise KeyboardInterrupt
        asked.append(path)
        return tag(self, path)

    monkeypatch.setattr(RecordingTagger, "tag", interrupted)
    assert run(monkeypatch, "suggest", exported, "in", "-o", "t", "--count", 4) == 130
    first, asked[:] = list(asked), []
    assert run(monkeypatch, "suggest", exported, "in", "-o", "t", "--count", 4) == 130
    monkeypatch.setattr(RecordingTagger, "tag", tag)
    assert not set(first) & set(asked)
    assert run(monkeypatch, "suggest", exported, "in", "-o", "t", "--count", 4) == 3
    assert Path("t/suggestions.csv").read_text() == Path("s/suggestions.csv").read_text()


def test_labelled_recordings_and_test_clips_of_the_corpus_are_left_out(folder, monkeypatch, capfd):
    layout = make_workspace(folder / "work")
    Path("in/clips.csv").write_text(
        "path,label,split\n0.wav,bark,train\n1.wav,bell,train\n2.wav,,test\n"
    )
    text = layout.params.read_text()
    text = re.sub(r"(?m)^  adapter: \w+", "  adapter: folder", text, count=1)
    text = re.sub(r"(?m)^  root: \S+", "  root: ../in", text, count=1)
    layout.params.write_text(re.sub(r"(?m)^  table: \S+", "  table: clips.csv", text, count=1))
    monkeypatch.chdir(layout.root)
    Path("../in/broken.wav").unlink()
    assert run(monkeypatch, "suggest", "../in", "-o", "s") == 0
    assert "3 recordings are labelled, or test clips: left out" in capfd.readouterr().err
    paths = pd.read_csv("s/suggestions.csv")["path"]
    assert sorted(paths) == ["3.wav", "4.wav", "5.wav"]
    filled = pd.read_csv("s/suggestions.csv").assign(label=["bell", "", "bark"])
    filled.to_csv("labels.csv", index=False)
    before = Path("../in/clips.csv").read_text()
    assert run(monkeypatch, "label", "add", "labels.csv") == 0
    assert Path("../in/clips.csv").read_text() == (before + f"{paths[0]},bell,\n{paths[2]},bark,\n")
    assert run(monkeypatch, "suggest", "../in", "-o", "s", "--overwrite") == 0
    assert pd.read_csv("s/suggestions.csv")["path"].tolist() == [paths[1]]


CARD = Card(
    "=1</script><b>.wav",
    "audio/0001.wav",
    Excerpt(2.0, 12.0, 60.0),
    [("=cough", 0.7), *((f"t{i}", 0.02) for i in range(10))],
    0.4,
)


def test_hostile_names_stay_text_on_the_page_and_in_its_csv():
    tags = [tag for tag, _ in CARD.likeliest]
    html = page([CARD], COLUMNS, is_multi_label=False, tags=tags)
    assert html.count("</script>") == 1
    assert "<b>" not in html
    data = data_of(html)
    assert data["rows"][0]["path"] == "'=1</script><b>.wav"
    assert data["cells"]["=cough"] == "'=cough"
    assert "2.0 to 12.0 s of 60.0 s, its loudest part" in html
    assert html.count('type="radio"') == 9
    assert '<option value="t9">' in html
    assert 'type="checkbox"' in page([CARD], COLUMNS, is_multi_label=True, tags=tags)


def test_what_was_chosen_on_another_page_is_not_shown_on_this():
    tags = [tag for tag, _ in CARD.likeliest]
    pages = [page([CARD] * n, COLUMNS, is_multi_label=False, tags=tags) for n in (1, 2)]
    assert data_of(pages[0])["id"] != data_of(pages[1])["id"]


def test_the_loudest_part_is_played(tmp_path):
    waveform = np.zeros(100, np.int16)
    waveform[60:70] = 1000
    start = loudest_part(waveform, 20, 5)
    assert start <= 60
    assert start + 20 >= 70
    assert loudest_part(waveform[:20], 20, 5) == 0
    waveform[-5:] = 20_000
    assert loudest_part(waveform, 20, 5) == 80
    quiet = np.random.default_rng(0).normal(0, 0.01, 25 * 8000)
    quiet[17 * 8000 : 18 * 8000] *= 50
    soundfile.write(tmp_path / "a.wav", quiet, 8000)
    part = write_excerpt(
        tmp_path / "a.wav", tmp_path / "x.wav", sample_rate=8000, scratch_folder=tmp_path
    )
    assert part.start <= 17
    assert part.end == part.start + 10 >= 18
    assert part.seconds == 25
    assert soundfile.info(tmp_path / "x.wav").duration == 10
