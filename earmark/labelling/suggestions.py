"""Ask a tagger about unlabelled recordings, and write those that are worth a label into a folder.

suggestions/
  index.html       to listen and choose; needs no server
  suggestions.csv  path, label (empty), suggested, probability, uncertainty, rank
  audio/           the excerpts that the page plays
  errors.csv       recordings that could not be used, if any

Shapes: B recordings, K tags, D dims.
"""

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.csv_files import write_csv
from earmark.inference.embedders import SegmentEmbedder, mean_embedding
from earmark.inference.journal import Journal
from earmark.inference.recording_tagger import RecordingTagger
from earmark.inference.recordings import unusable_line
from earmark.labelling.excerpts import write_excerpt
from earmark.labelling.page import Card, page
from earmark.labelling.ranking import badge, uncertainty
from earmark.processes import progress
from earmark.seeding import rng_for
from earmark.sound.recordings import name_of
from earmark.sound.unusable import UnusableAudio
from earmark.whole_files import whole_folder

CSV, PAGE, AUDIO, ERRORS = "suggestions.csv", "index.html", "audio", "errors.csv"
COLUMNS = ["path", "label", "suggested", "probability", "uncertainty", "rank"]


@dataclass(frozen=True, eq=False)
class Asked:
    """What a tagger says of recordings.

    Attributes:
        paths: of B recordings.
        probabilities: calibrated, `(B, K)`, in the order of the tagger's tags.
        embeddings: `(B, D)`.
        errors: file, reason and message of the others.
    """

    paths: list[Path]
    probabilities: NDArray[np.float64]
    embeddings: NDArray[np.float64]
    errors: list[dict[str, str]]


def ask(
    paths: list[Path],
    tagger: RecordingTagger,
    embedder: SegmentEmbedder,
    journal_path: Path,
    say: Callable[[str], None],
) -> Asked:
    """Tag and embed recordings; the next call after a break goes on.

    Args:
        journal_path: of what is done; the caller removes it when all is written.
        say: is given a line for each recording that failed.
    """
    settings = {"tagger": tagger.digest, "embedder": embedder.identity}
    with Journal(journal_path, settings) as journal:
        left = [path for path in paths if not journal.is_done(path)]
        for path in progress(left, total=len(left), description="suggest"):
            try:
                prediction = tagger.tag(path)
                vector = mean_embedding(embedder, path)
            except UnusableAudio as error:
                line = unusable_line(path, error)
                say(line)
                journal.add(path, {"error": {"reason": error.reason, "message": line}})
                continue
            by_tag = dict(zip(prediction.tags, prediction.probabilities, strict=True))
            probabilities = [by_tag[tag] for tag in tagger.tags]
            answer = {"probabilities": _packed(probabilities), "embedding": _packed(vector)}
            journal.add(path, {"answer": answer})
        return _collected(journal.entries(paths))


def _collected(entries: Iterable[dict[str, Any]]) -> Asked:
    by_path = {entry["path"]: entry for entry in entries}  # sorted: a run after a break is the same
    done = {path: by_path[path]["answer"] for path in sorted(by_path) if "answer" in by_path[path]}
    errors = [{"file": name_of(p), **e["error"]} for p, e in by_path.items() if "error" in e]
    return Asked(
        [Path(path) for path in done],
        np.array([_unpacked(one["probabilities"]) for one in done.values()]),
        np.array([_unpacked(one["embedding"]) for one in done.values()]),
        errors,
    )


def _packed(values: Any) -> str:
    return base64.b64encode(np.asarray(values, "<f8").tobytes()).decode()


def _unpacked(text: str) -> NDArray[np.float64]:
    return np.frombuffer(base64.b64decode(text), "<f8")


def write_suggestions(
    out: Path,
    asked: Asked,
    tagger: RecordingTagger,
    *,
    count: int,
    seed: int,
    name_in_table: Callable[[Path], str],
) -> pd.DataFrame:
    """Write the folder of suggestions, whole or not at all; returns its table.

    Args:
        out: the folder; what is there is replaced.
        count: how many recordings to suggest.
        seed: of the draws.
        name_in_table: the path of a recording as the corpus' table has it.
    """
    is_multi_label = tagger.rules.is_multi_label
    chosen = badge(
        asked.probabilities,
        asked.embeddings,
        count,
        rng_for(seed, "suggest"),
        is_multi_label=is_multi_label,
    )
    uncertain = uncertainty(asked.probabilities, is_multi_label=is_multi_label)
    cards, rows = [], []
    with whole_folder(out) as part:
        (part / AUDIO).mkdir()
        for rank, index in enumerate(chosen, start=1):
            path, probabilities = asked.paths[index], asked.probabilities[index]
            order = np.argsort(-probabilities, kind="stable").tolist()
            name, audio = name_in_table(path), f"{AUDIO}/{rank:04d}.wav"
            excerpt = write_excerpt(
                path,
                part / audio,
                sample_rate=tagger.sample_rate,
                scratch_folder=tagger.scratch_folder,
            )
            likeliest = [(tagger.tags[i], float(probabilities[i])) for i in order]
            cards.append(Card(name, audio, excerpt, likeliest, float(uncertain[index])))
            tag, probability = likeliest[0]
            values = [name, "", tag, round(probability, 4), round(float(uncertain[index]), 4), rank]
            rows.append(dict(zip(COLUMNS, values, strict=True)))
        table = pd.DataFrame(rows, columns=COLUMNS)
        write_csv(part / CSV, table)
        if asked.errors:
            write_csv(part / ERRORS, pd.DataFrame(asked.errors))
        html = page(cards, COLUMNS, is_multi_label=is_multi_label, tags=tagger.tags)
        (part / PAGE).write_text(html, encoding="utf-8")
    return table
