"""The page answers in a browser as `predict` does, and sends nothing anywhere."""

import csv
import functools
import http.server
import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.errors import UserError
from earmark.evaluation.temperature import temper
from earmark.exporting import page, web_runtime
from earmark.exporting.page import PAGE_FILES, write_page
from earmark.inference.recording_tagger import RecordingTagger
from earmark.layout import Layout
from earmark.sound.decoding import decode
from earmark.sound.trimming import trim
from tests.exporting.chromium import PROGRAM, chromium
from tests.exporting.small_taggers import (
    RATE,
    TAGS,
    TRIM,
    Trained,
    baseline,
    compact,
    recording_tagger,
    sound,
)
from tests.waveforms import noise

TEMPERATURE, SEGMENT_TEMPERATURE = 0.5, 0.8
CACHED = Layout(Path(__file__).parents[2]).home / f"{web_runtime.PACKAGE}-{web_runtime.VERSION}"


def tagger_of(one: Trained, **changes) -> RecordingTagger:
    return recording_tagger({"student": {"all": one}}, temperature=TEMPERATURE, **changes)


@pytest.fixture
def no_runtime(tmp_path):
    folder = tmp_path / "runtime"
    folder.mkdir()
    for name in web_runtime.FILES:
        (folder / name).write_text("a stand-in")
    return folder


def test_a_page_is_whole_and_names_no_other_host(tmp_path, no_runtime):
    write_page(tagger_of(baseline("mean")), tmp_path / "page", runtime=no_runtime, title="Birds")
    names = {path.name for path in (tmp_path / "page").iterdir()}
    assert names == {*PAGE_FILES, "tagger.onnx", "tagger.json", "runtime"}
    about = json.loads((tmp_path / "page" / "tagger.json").read_text())
    assert (about["title"], about["tags"], about["temperature"]) == ("Birds", TAGS, TEMPERATURE)
    for name in PAGE_FILES:
        text = (tmp_path / "page" / name).read_text()
        assert re.findall(r"https?://(?!localhost)", text) == []
    policy = (tmp_path / "page" / "index.html").read_text()
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy


def test_a_page_replaces_a_page_and_nothing_else(tmp_path, no_runtime):
    for _ in range(2):
        write_page(tagger_of(baseline("mean")), tmp_path / "page", runtime=no_runtime, title="a")
    (tmp_path / "page" / "logo.png").write_text("mine")
    with pytest.raises(UserError, match=r"holds logo\.png; name a new folder"):
        write_page(tagger_of(baseline("mean")), tmp_path / "page", runtime=no_runtime, title="a")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("a")
    with pytest.raises(UserError, match="is no page of earmark; name a new folder"):
        write_page(tagger_of(baseline("mean")), tmp_path / "photos", runtime=no_runtime, title="a")
    with pytest.raises(UserError, match="is no page of earmark"):
        write_page(
            tagger_of(baseline("mean")),
            tmp_path / "photos" / "a.jpg",
            runtime=no_runtime,
            title="a",
        )
    assert (tmp_path / "photos" / "a.jpg").read_text() == "a"


def test_a_runtime_by_hand_must_be_the_pinned_package(tmp_path):
    with pytest.raises(UserError, match="is no unpacked package; unpack onnxruntime-web"):
        web_runtime.web_runtime(tmp_path / "cache", tmp_path)
    dist = tmp_path / "package" / "dist"
    dist.mkdir(parents=True)
    for name in web_runtime.FILES:
        (dist / name).write_text("a")
    package = tmp_path / "package" / "package.json"
    package.write_text(json.dumps({"version": "1.0.0"}))
    with pytest.raises(UserError, match=r"is of version 1\.0\.0"):
        web_runtime.web_runtime(tmp_path / "cache", tmp_path)
    package.write_text(json.dumps({"version": web_runtime.VERSION}))
    assert web_runtime.web_runtime(tmp_path / "cache", tmp_path) == dist
    assert not (tmp_path / "cache").exists()


def test_a_runtime_that_was_not_published_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(web_runtime, "fetch", lambda _url, path, **_: path.write_bytes(b"other"))
    with pytest.raises(UserError, match="is not what was published"):
        web_runtime.web_runtime(tmp_path, None)
    assert not list(tmp_path.iterdir())


def test_without_a_network_the_way_by_hand_is_named(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise UserError("the registry: cannot be reached")

    monkeypatch.setattr(web_runtime, "fetch", refused)
    with pytest.raises(UserError, match=r"cannot be reached; or fetch https.* pass .* --runtime"):
        web_runtime.web_runtime(tmp_path, None)


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    """A page of `compact`, on loopback."""
    if PROGRAM is None:
        pytest.skip("there is no chromium")
    if not CACHED.is_dir():
        pytest.skip(f"{CACHED} is missing; `python -m earmark page` fetches it")
    folder = tmp_path_factory.mktemp("served") / "page"
    write_page(
        tagger_of(compact([50]), segment_temperature=SEGMENT_TEMPERATURE),
        folder,
        runtime=CACHED,
        title="Test sounds",
    )

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="module")
def browser(address):
    with chromium() as tab:
        tab.send("Page.navigate", url=address)
        tab.wait_for("document.getElementById('input').hidden === false")
        yield tab


def tempered(probabilities, temperature=TEMPERATURE) -> np.ndarray:
    return temper(np.asarray(probabilities)[np.newaxis], temperature, is_multi_label=False)[0]


def upload(browser, path: Path) -> None:
    browser.evaluate("document.getElementById('result').hidden = true")
    browser.upload("#file", path)
    browser.wait_for("!document.getElementById('result').hidden")


def test_the_page_answers_as_predict_and_its_table_is_of_segments(browser, address, tmp_path):
    clip = tmp_path / "a <b>clip.wav"
    left = np.concatenate([np.zeros(6000), sound(4.0) // 3, noise(2 * RATE, level=300)])
    stereo = np.stack([left, left // 2 + 1], axis=1).astype(np.int16)
    soundfile.write(clip, stereo, RATE)
    upload(browser, clip)

    one, waveform = compact([50]), np.asarray(decode(clip, sample_rate=RATE).waveform)
    trimmed = np.asarray(trim(waveform, sample_rate=RATE, **TRIM).waveform)
    expected = dict(zip(TAGS, tempered(one.probabilities(trimmed)), strict=True))
    items = "[...document.querySelectorAll('#likeliest li')]"
    shown = browser.evaluate(
        f"Object.fromEntries({items}.map(i => [i.firstChild.textContent, +i.dataset.probability]))"
    )
    assert shown == pytest.approx(expected, abs=1e-5)
    answer = browser.evaluate("document.getElementById('answer').textContent")
    assert answer == max(expected, key=lambda tag: expected[tag])
    assert "a <b>clip.wav" in browser.evaluate("document.getElementById('about').textContent")

    options = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.send("Page.setDownloadBehavior", **options)
    browser.evaluate("document.getElementById('download').click()")
    while not (tables := list(tmp_path.glob("*.csv"))):  # until the time limit of all tests
        browser.evaluate("new Promise(done => setTimeout(done, 50))")
    rows = list(csv.DictReader(tables[0].open()))
    ours = tagger_of(one, segment_temperature=SEGMENT_TEMPERATURE).timeline(clip)
    assert [float(row["start_seconds"]) for row in rows] == pytest.approx(ours.starts, abs=1e-3)
    assert ours.to_frame()["answer"].tolist() == [row["answer"] for row in rows]
    for row, expected_row in zip(rows, ours.probabilities, strict=True):
        assert [float(row[tag]) for tag in TAGS] == pytest.approx(expected_row, abs=1e-4)
    assert browser.failures == []
    beginnings = (address, f"blob:{address}", "data:")
    assert [url for url in browser.requests if not url.startswith(beginnings)] == []


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_a_wav_is_read_as_it_is_stored(browser, tmp_path, subtype):
    samples = np.array([[-32768, 32767], [1, -2], [16_000, -16_000], [255, 256]], np.int16)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype=subtype)
    content = list((tmp_path / "a.wav").read_bytes())
    found = browser.evaluate(
        f"""import("./wav.js").then(({{ readWav }}) => {{
        const wav = readWav(new Uint8Array({content}).buffer, {RATE});
        return [0, 1].map((channel) => [...wav.getChannelData(channel)]);
        }})"""
    )
    stored = soundfile.read(tmp_path / "a.wav", dtype="float32")[0]
    np.testing.assert_array_equal(np.array(found, np.float32).T, stored)


def test_a_click_on_the_spectrogram_plays_from_there(browser, tmp_path):
    soundfile.write(tmp_path / "a.wav", sound(4.0), RATE)
    upload(browser, tmp_path / "a.wav")
    browser.wait_for("document.getElementById('player').readyState > 1")
    browser.evaluate(
        """(() => {
        const canvas = document.getElementById("spectrogram");
        const { left, top, width } = canvas.getBoundingClientRect();
        const [clientX, clientY] = [left + width * 0.75, top + 20];
        canvas.dispatchEvent(new MouseEvent("click", { clientX, clientY, bubbles: true }));
        })()"""
    )
    browser.wait_for("document.getElementById('player').currentTime >= 2.9")
    assert browser.evaluate("document.getElementById('player').currentTime") < 4.1


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.wav", b"no sound", "cannot decode"),
        ("silence.wav", np.zeros(RATE, np.int16), "is silent"),
        ("click.wav", np.ones(5, np.int16), "too short"),
    ],
    ids=["text", "silence", "click"],
)
def test_what_cannot_be_tagged_says_why(browser, tmp_path, name, content, expected):
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        soundfile.write(tmp_path / name, content, RATE)
    browser.upload("#file", tmp_path / name)
    browser.wait_for(f"document.getElementById('status').textContent.includes({expected!r})")
    assert browser.evaluate("document.getElementById('result').hidden")


def test_a_phone_needs_no_sideways_scrolling(browser, tmp_path):
    soundfile.write(tmp_path / "a.wav", sound(4.0), RATE)
    browser.resize(390)
    upload(browser, tmp_path / "a.wav")
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    browser.resize(1280)


def test_a_long_recording_is_the_mean_of_its_segments(browser, tmp_path):
    clip = np.concatenate([sound(40.0), noise(30 * RATE)])
    soundfile.write(tmp_path / "long.wav", clip, RATE)
    upload(browser, tmp_path / "long.wav")
    assert page.WHOLE_SECONDS < 70
    assert "mean of its segments" in browser.evaluate(
        "document.getElementById('about').textContent"
    )


def test_the_microphone_is_tagged_too(browser):
    browser.evaluate("document.getElementById('result').hidden = true")
    browser.evaluate("document.getElementById('record').click()")
    browser.wait_for("document.getElementById('record').textContent === 'Stop'")
    browser.evaluate("new Promise(done => setTimeout(done, 700))")
    browser.evaluate("document.getElementById('record').click()")
    browser.wait_for("!document.getElementById('result').hidden")
    assert "recording" in browser.evaluate("document.getElementById('about').textContent")


def test_a_page_from_a_file_says_how_to_serve_it(tmp_path, no_runtime):
    if shutil.which("chromium") is None:
        pytest.skip("there is no chromium")
    write_page(tagger_of(baseline("mean")), tmp_path / "page", runtime=no_runtime, title="a")
    with chromium() as tab:
        tab.send("Page.navigate", url=(tmp_path / "page" / "index.html").as_uri())
        tab.wait_for("document.getElementById('status').textContent.includes('http.server')")
        status = tab.evaluate("document.getElementById('status').textContent")
    assert "python" in status
