"""Tag many recordings into a table: going on after a break, with every failure told."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from earmark.csv_files import write_csv
from earmark.errors import WrongUse
from earmark.inference.answers import Prediction, Timeline
from earmark.inference.journal import Journal
from earmark.inference.output_paths import refuse_in_the_way, refuse_without_folder
from earmark.inference.recording_tagger import RecordingTagger
from earmark.inference.recordings import unusable_line
from earmark.inference.tables import LABELS, TABLES, Naming, Row, label_text, table_writer
from earmark.processes import LINE_SECONDS, duration
from earmark.records import write_json
from earmark.sound.recordings import name_of
from earmark.sound.unusable import UnusableAudio
from earmark.whole_files import whole_file
from earmark.wording import counted

logger = logging.getLogger(__name__)


def refuse_output(out: Path, form: str, *, overwrite: bool) -> None:
    """Refuse an output that could not be written in the end, before any work.

    Raises:
        WrongUse: its name does not say its form, it is in the way, or its folder is missing.
    """
    if form in LABELS:
        if out.exists() and not out.is_dir():
            raise WrongUse(f"{out}: is a file; name a folder for the labels of each recording")
        if out.name in ("", ".."):  # files are written beside it
            raise WrongUse(f"{out}: give the folder for the labels by its name")
    elif out.suffix not in TABLES:
        raise WrongUse(f"{out}: let the name end in {', '.join(TABLES)}, or pass --format")
    elif not (overwrite or journal_of(out).exists()):
        refuse_in_the_way(out)
    refuse_without_folder(out)


def refuse_labels(out: Path, paths: list[Path], *, overwrite: bool) -> None:
    """Refuse a folder that has label files, or whatever else, of the names that these would get.

    Args:
        out: the folder.
        paths: the recordings.

    Raises:
        WrongUse: a file is in the way, and no break of this very run has left it.
    """
    if overwrite or journal_of(out).exists():
        return
    for name in label_names(paths).values():
        if os.path.lexists(out / name):
            raise WrongUse(f"{out / name}: is there; name another folder, or pass --overwrite")


def journal_of(out: Path) -> Path:
    """The file beside an output that says how far it is; a break may leave it after the output."""
    return out.with_name(f"{out.name}.journal")


Answer = Prediction | Timeline | UnusableAudio


def answers_of(
    tagger: RecordingTagger, paths: Sequence[Path], settings: Mapping[str, Any]
) -> Iterator[tuple[Path, Answer]]:
    """What is answered for each recording, or for its segments; or why it cannot be used."""
    if not settings["timeline"]:
        yield from zip(paths, tagger.tag_each(paths), strict=True)
        return
    lengths = {key: settings[key] for key in ("window_seconds", "hop_seconds")}
    for path in paths:
        try:
            yield path, tagger.timeline(path, **lengths)
        except UnusableAudio as error:
            yield path, error


def rows_of(answer: Prediction | Timeline, naming: Naming, *, model: str) -> list[Row]:
    """The rows of the table for a recording."""
    if isinstance(answer, Timeline):
        return naming.of_timeline(answer, model=model)
    return naming.of_clip(answer, model=model)


def tag_into(
    out: Path,
    paths: list[Path],
    tagger: RecordingTagger,
    settings: dict[str, Any],
    naming: Naming,
    *,
    form: str,
    say: Callable[[str], None],
) -> int:
    """Tag recordings into `out`, beside it the settings and the recordings that failed.

    What is done stands in a journal beside `out` until all is; the same call goes on after it.

    Args:
        out: a file of one of TABLES, or the folder for the label files of LABELS.
        paths: recordings, each once.
        settings: on which answers depend; `Naming` is made of them.
        say: is given a line for each recording that failed.

    Returns:
        how many recordings failed.
    """
    with Journal(journal_of(out), settings) as journal:
        left = [path for path in paths if not journal.is_done(path)]
        if len(left) < len(paths):
            say(f"{len(paths) - len(left)} of {len(paths)} recordings are done already")
        speed = _Speed(len(left))
        for path, answer in answers_of(tagger, left, settings):
            if isinstance(answer, UnusableAudio):
                line = unusable_line(path, answer)
                say(line)
                journal.add(path, {"error": {"reason": answer.reason, "message": line}})
                speed.add(0.0)
                continue
            journal.add(path, {"rows": rows_of(answer, naming, model=tagger.rules.name)})
            speed.add(answer.seconds)
        speed.close()
        errors = _write(out, journal, paths, form)
    failed = out.with_name(f"{out.name}.errors.csv")
    if errors:
        with whole_file(failed) as part:
            write_csv(part, pd.DataFrame(errors))
    else:
        failed.unlink(missing_ok=True)
    write_json(out.with_name(f"{out.name}.settings.json"), settings)
    journal_of(out).unlink()
    return len(errors)


def _write(out: Path, journal: Journal, paths: list[Path], form: str) -> list[Row]:
    """Write what the journal holds; returns the recordings that failed."""
    errors: list[Row] = []
    if form in LABELS:
        out.mkdir(exist_ok=True)
        names = label_names(paths)  # by the whole path: a run may go on under another one
        for entry in journal.entries(paths):
            if "error" in entry:
                errors.append(_failure(entry))
            else:
                with whole_file(out / names[str(Path(entry["path"]).absolute())]) as part:
                    part.write_text(label_text(entry["rows"], form), encoding="utf-8")
        return errors
    with whole_file(out) as part, table_writer(part, out.suffix) as write:
        for entry in journal.entries(paths):
            if "error" in entry:
                errors.append(_failure(entry))
            else:
                write(entry["rows"])
    return errors


def _failure(entry: Row) -> Row:
    return {"file": name_of(entry["path"]), **entry["error"]}


def label_names(paths: list[Path]) -> dict[str, str]:
    """The label file of each recording, by its absolute path; those of equal name get a number."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for path in paths:
        name, number = f"{path.stem}.txt", 1
        while name.lower() in taken:
            number += 1
            name = f"{path.stem}-{number}.txt"
        taken.add(name.lower())
        names[str(path.absolute())] = name
    return names


class _Speed:
    """Progress in files and hours of audio a minute: a bar, or lines in a log."""

    def __init__(self, total: int) -> None:
        self._total, self._n_done, self._hours = total, 0, 0.0
        self._start = self._last = time.monotonic()
        is_screen = sys.stderr.isatty()
        self._bar = tqdm(total=total, desc="predict", unit="file") if is_screen else None

    def add(self, seconds: float) -> None:
        self._n_done += 1
        self._hours += seconds / 3600
        now = time.monotonic()
        if self._bar is not None:
            self._bar.set_postfix_str(self._rate(now))
            self._bar.update()
        elif now - self._last >= LINE_SECONDS and self._n_done < self._total:
            self._last = now
            left = (now - self._start) / self._n_done * (self._total - self._n_done)
            done = f"{self._n_done} of {self._total} files"
            logger.info("predict: %s, %s, %s left", done, self._rate(now), duration(left))

    def _rate(self, now: float) -> str:
        minutes = max(now - self._start, 1e-9) / 60
        return f"{self._hours / minutes:.2f} h of audio a minute"

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        now = time.monotonic()
        if self._n_done:
            taken = duration(now - self._start)
            done = counted(self._n_done, "file")
            logger.info("predict: %s in %s, %s", done, taken, self._rate(now))
