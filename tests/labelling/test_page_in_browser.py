"""The page in a real browser, from file://: keys, sound, what is chosen, and the csv."""

from pathlib import Path

import pandas as pd
import pytest

from earmark.csv_files import read_csv
from earmark.labelling.excerpts import write_excerpt
from earmark.labelling.page import Card, page
from earmark.labelling.suggestions import COLUMNS
from tests.inference.workspaces import sound

browser = pytest.importorskip("tests.reports.browser")
pytestmark = pytest.mark.skipif(browser.program() is None, reason="no chromium is installed")

TAGS = ["dog", "=cough", "cat", 'a "quoted", tag', *(f"t{i}" for i in range(8))]
SAVE = """(async () => {
  let blob; const make = URL.createObjectURL;
  URL.createObjectURL = (one) => { blob = one; return make(one); };
  document.getElementById("save").click();
  return await blob.text();
})()"""


def written(folder: Path, *, is_multi_label: bool) -> Path:
    cards = []
    for number in range(4):
        path = sound(folder / f"{number}.wav", seconds=1.0, key=number)
        excerpt = write_excerpt(
            path, folder / f"e{number}.wav", sample_rate=16_000, scratch_folder=folder
        )
        likeliest = [(tag, 0.5 / (i + 1)) for i, tag in enumerate(TAGS)]
        cards.append(Card(f"=dir/{number}.wav", f"e{number}.wav", excerpt, likeliest, 0.5))
    out = folder / f"page{is_multi_label}.html"
    html = page(cards, COLUMNS, is_multi_label=is_multi_label, tags=TAGS)
    out.write_text(html, encoding="utf-8")
    return out


def press(one, *keys: str) -> None:
    for key in keys:
        one.run(
            "(document.activeElement ?? document.body).dispatchEvent(new KeyboardEvent("
            f"'keydown', {{key: {key!r}, bubbles: true, cancelable: true}}))"
        )


def choose_other(one, card: int, tag: str) -> None:
    one.run(f"cards[{card}].querySelector('select').value = {tag!r}")
    one.run(f"cards[{card}].querySelector('select').dispatchEvent(new Event('change', "
            "{bubbles: true}))")  # fmt: skip


def saved(one, folder: Path) -> pd.DataFrame:
    path = folder / "labels.csv"
    path.write_text(one.run(SAVE), encoding="utf-8")
    return read_csv(path)


def test_tags_are_chosen_by_keys_and_saved_and_still_there_after_a_reload(tmp_path):
    path = written(tmp_path, is_multi_label=False)
    with browser.browser() as one:
        one.open(path)
        press(one, "2", "4")  # each goes on to the next, and plays it
        one.wait_for("cards[2].querySelector('audio').currentTime > 0")
        assert (
            one.run("[...document.querySelectorAll('audio')].filter((a) => !a.paused).length") <= 1
        )
        choose_other(one, 2, "t7")
        assert "3 of 4 labelled" in one.run("document.body.innerText")
        press(one, "j", "1", "0")
        table = saved(one, tmp_path)
        assert table.columns.tolist() == COLUMNS
        assert table["label"].tolist() == ["=cough", 'a "quoted", tag', "t7", ""]
        assert table["path"].tolist() == [f"=dir/{number}.wav" for number in range(4)]
        one.open(path, width=390, height=844)
        assert saved(one, tmp_path)["label"].tolist() == table["label"].tolist()
        assert one.run("document.documentElement.scrollWidth") <= 390
        choose_other(one, 0, "t6")  # instead of the other, not beside it
        assert saved(one, tmp_path)["label"].tolist()[0] == "t6"
        assert one.problems == []
        assert {url.split(":")[0] for url in one.requests} <= {"file", "data", "blob"}


def test_several_tags_can_be_chosen_where_the_corpus_has_several(tmp_path):
    with browser.browser() as one:
        one.open(written(tmp_path, is_multi_label=True))
        press(one, "1", "2", "3", "2")
        choose_other(one, 0, "t7")
        assert saved(one, tmp_path)["label"].tolist() == ["dog;cat;t7", "", "", ""]
        assert one.problems == []
