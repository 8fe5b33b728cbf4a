"""Report and audit page in a real browser: clicks, sorting, sound, a phone, and nothing loaded."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from earmark.audit.run import audit_corpus
from earmark.layout import Layout
from earmark.reports.audit_files import write_audit
from tests.audit.small_corpus import audit_params, write_corpus, write_ensemble
from tests.reports.browser import Page, browser, program
from tests.reports.small_report import HOSTILE, predictions_of, write_small_report, write_sound

pytestmark = pytest.mark.skipif(program() is None, reason="no chromium is installed")


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser() as one:
        yield one


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("report")
    predictions = predictions_of(90, HOSTILE, n_test=20, skill=1.0)
    clips = predictions["ensemble"].clips
    write_sound(Layout(root), list(clips["clip"])[1:])  # one clip has no sound
    audit = clips[["clip"]].assign(suggested=HOSTILE[0], p_wrong=0.25, is_listed=False)
    audit.loc[5, ["p_wrong", "is_listed"]] = [0.75, True]
    return write_small_report(root, predictions, label_audit=audit)


def opened(page: Page, path: Path, **options) -> Page:
    page.problems.clear()
    page.requests.clear()
    page.open(path, **options)
    page.wait_for("!document.getElementById('clips').hidden")
    return page


def test_a_cell_opens_exactly_its_clips(page, report):
    opened(page, report)
    cells = page.run(
        "[...document.querySelectorAll('.matrix button')].map((b) => [Number(b.textContent),"
        " (b.click(), document.getElementById('chosen').textContent),"
        " document.querySelectorAll('#list .clip').length])"
    )
    assert len(cells) > 20
    for count, chosen, n_drawn in cells:
        assert f" {count} clip" in chosen
        assert n_drawn == min(count, 30)
    assert page.problems == []


def test_the_worst_errors_stand_first_with_all_that_is_known(page, report):
    opened(page, report)
    severity = page.run(
        "EARMARK.rows.filter((r) => r[1] === 0 && r[6] > 0).sort((a, b) => b[6] - a[6])"
        ".slice(0, 30).map((r) => r[0])"
    )
    shown = page.run("[...document.querySelectorAll('#list .path')].map((e) => e.textContent)")
    assert shown == severity
    text = page.run("document.querySelector('#list .clip').textContent")
    for expected in ("ensemble", "one", "two", "Fold ", "erified label.", "Label audit", " %"):
        assert expected in text
    page.run("document.getElementById('show').value = 'issues'")
    page.run("document.getElementById('show').dispatchEvent(new Event('change'))")
    issue = page.run("document.querySelector('#list .issue').textContent")
    assert issue.startswith(f"Label audit: wrong with probability 75 %; suggests {HOSTILE[0]}")
    assert page.run("document.querySelectorAll('#list .clip').length") == 1
    assert page.problems == []


def test_more_clips_are_drawn_when_they_are_asked_for(page, report):
    opened(page, report)
    page.run("document.getElementById('show').value = 'all'")
    page.run("document.getElementById('show').dispatchEvent(new Event('change'))")
    counts = [page.run("document.querySelectorAll('#list .clip').length")]
    page.run("document.getElementById('more').click()")
    counts.append(page.run("document.querySelectorAll('#list .clip').length"))
    assert counts == [30, 60]
    page.run("document.getElementById('search').value = '00000.WAV'")
    page.run("document.getElementById('search').dispatchEvent(new Event('input'))")
    only = page.run("document.querySelector('#list').textContent")
    assert "<i>/00000.wav" in only
    assert "no excerpt" in only  # the clip without sound
    assert page.run("document.getElementById('more').hidden")


def test_a_player_plays_and_pauses_the_one_before(page, report):
    opened(page, report)
    assert not [url for url in page.requests if url.endswith(".mp3")]  # not before it is asked for
    page.run("window.players = [...document.querySelectorAll('#list audio')]")
    page.run("players[0].loop = true; players[0].play()")
    page.wait_for("players[0].currentTime > 0.01")
    assert page.run("players[0].duration") == pytest.approx(0.3, abs=0.15)
    page.run("players[1].play()")
    page.wait_for("players[0].paused && players[1].duration > 0")
    page.wait_for("document.querySelector('#list img').naturalHeight === 64")
    assert page.problems == []


@pytest.mark.parametrize("column", [1, 5])
def test_a_heading_sorts_up_and_down(page, report, column):
    opened(page, report)
    table = "document.querySelector('table[data-opens=tags]')"
    values = f"[...{table}.tBodies[0].rows].map((r) => Number(r.cells[{column}].textContent))"
    found = []
    for _ in range(2):
        page.run(f"{table}.tHead.rows[0].cells[{column}].click()")
        found.append(page.run(values))
    assert found == [sorted(found[0]), sorted(found[0], reverse=True)]


def test_a_tag_opens_its_errors(page, report):
    opened(page, report)
    tag = page.run("document.querySelector('table[data-opens=tags] td button').textContent")
    page.run("document.querySelector('table[data-opens=tags] td button').click()")
    lines = page.run("[...document.querySelectorAll('#list .tags')].map((e) => e.textContent)")
    assert lines
    assert all(tag in line for line in lines)


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_scrolls_down_alone(page, report, dark):
    opened(page, report, width=390, height=844, dark=dark)
    assert page.run("document.documentElement.scrollWidth") == 390
    page.run("document.querySelector('.matrix .wrong button').click()")
    assert page.run("document.documentElement.scrollWidth") == 390
    colour = page.run("getComputedStyle(document.body).backgroundColor")
    assert (colour == "rgb(255, 255, 255)") != dark
    ink = page.run("getComputedStyle(document.body).color")
    texts = page.run(
        "[...document.querySelectorAll('.figure text')].map((e) => getComputedStyle(e).fill)"
    )
    assert len(texts) > 10
    assert set(texts) == {ink}
    assert page.problems == []


def test_no_name_becomes_code_and_nothing_comes_from_elsewhere(page, report):
    opened(page, report)
    assert page.run("document.querySelectorAll('img[src=x], main b c, #list i').length") == 0
    assert page.run("document.querySelector('.matrix tbody th').textContent") == HOSTILE[0]
    texts = page.run("[...document.querySelectorAll('.figure text')].map((e) => e.textContent)")
    assert HOSTILE[0] in texts  # a model is called so
    assert {url.split(":")[0] for url in page.requests} <= {"file", "data"}
    assert page.problems == []


def test_without_the_file_of_clips_the_page_says_so(page, report, tmp_path):
    (tmp_path / "index.html").write_bytes(report.read_bytes())
    page.open(tmp_path / "index.html", width=390)
    assert page.run("document.getElementById('clips').hidden")
    assert "clips.js" in page.run("document.getElementById('no-clips').innerText")
    page.problems.clear()  # the file that is missing


def test_with_several_tags_a_number_opens_what_was_missed(page, tmp_path):
    tags = ["bark", "bell", "cello"]
    predictions = predictions_of(80, tags, is_multi_label=True, skill=1.5)
    opened(page, write_small_report(tmp_path, predictions), width=390)
    assert page.run("document.querySelectorAll('.matrix').length") == 0
    for kind, word in (("missed", "missed"), ("alarm", "false alarms")):
        button = f"document.querySelector('button[data-kind={kind}]')"
        count = int(page.run(f"{button}.textContent"))
        tag = page.run(f"{button}.closest('tr').cells[0].textContent")
        page.run(f"{button}.click()")
        chosen = page.run("document.getElementById('chosen').textContent")
        assert chosen.startswith(f"{tag}: {word}. {count} clip")
    assert page.run("document.documentElement.scrollWidth") == 390
    assert page.problems == []


def test_the_audit_plays_duplicates_and_doubtful_labels(page, tmp_path):
    layout = write_corpus(tmp_path, faulty=True)
    write_ensemble(layout, wrong=[7, 8, 9])
    write_sound(layout, list(pd.read_parquet(layout.clips)["clip"]))
    write_audit(audit_corpus(audit_params(), layout), layout, corpus="mine")
    page.problems.clear()
    page.open(layout.audit / "index.html", width=390, dark=True)
    assert page.run("document.querySelectorAll('.duplicate audio').length") == 2
    assert page.run("document.querySelectorAll('.clip audio').length") == 3
    page.run("document.querySelector('.clip audio').play()")
    page.wait_for("document.querySelector('.clip audio').duration > 0")
    assert page.run("document.documentElement.scrollWidth") == 390
    assert page.problems == []
