"""A report of made-up predictions, with sound, as large as is wanted."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from earmark.evaluation.by_tag import per_class, per_tag
from earmark.evaluation.points import confusion_matrix
from earmark.evaluation.predictions import Predictions
from earmark.evaluation.scores import score_member
from earmark.labels import SEPARATOR, Task
from earmark.layout import Layout
from earmark.reports.report_files import write_report
from tests.stored_clips import store_clips

RATE = 16_000
HOSTILE = ["<img src=x onerror=boom()>", "a&b", "</script><b>c", 'it\'s "d" {{ 7*7 }}']
CURVES = ["model", "fold", "epoch", "train_loss", "validation_loss", "map_at_3", "learning_rate"]


def predictions_of(
    n_clips: int,
    tags: list[str],
    *,
    is_multi_label: bool = False,
    members: tuple[str, ...] = ("one", "two"),
    n_test: int = 0,
    skill: float = 3.0,
) -> dict[str, Predictions]:
    """Members of some skill and the ensemble, for clips of two folds and test clips."""
    rng = np.random.default_rng(0)
    n, k = n_clips + n_test, len(tags)
    targets = np.eye(k)[np.arange(n) % k]
    if is_multi_label:
        targets = np.maximum(targets, rng.random((n, k)) < 0.2)
    labels = [SEPARATOR.join(np.array(tags)[row > 0]) for row in targets]
    is_test = np.arange(n) >= n_clips
    clips = pd.DataFrame(
        {
            "clip": [f"<i>/{i:05}.wav" for i in range(n)],
            "split": np.where(is_test, "test", "validation"),
            "fold": np.where(is_test, "", (np.arange(n) // 2 % 2).astype(str)),
            "label": labels,
            "verified": np.arange(n) % 3 > 0,
            "usage": "",
            "quarantined": False,
            "source": "",
        }
    )
    clips = clips.assign(cross_fit_group=clips["fold"])
    task = Task(tags, is_multi_label, [])
    logits = {name: skill * targets + rng.gumbel(size=(n, k)) for name in members}
    logits["ensemble"] = np.mean(list(logits.values()), axis=0)
    found = {}
    for name, one in logits.items():
        odds = np.exp(one - (3 if is_multi_label else 0))
        p = odds / (1 + odds) if is_multi_label else odds / odds.sum(axis=1, keepdims=True)
        found[name] = Predictions(name, task, clips, targets, p).with_answers()
    return found


def write_sound(layout: Layout, clips: list[str], seconds: float = 0.3) -> None:
    """A tone for each clip, decoded and trimmed."""
    time = np.arange(round(seconds * RATE)) / RATE
    tones = {
        clip: 9000 * np.sin(2 * np.pi * (300 + 50 * (i % 40)) * time)
        for i, clip in enumerate(clips)
    }
    store_clips(layout, {clip: tone.astype(np.int16) for clip, tone in tones.items()}, rate=RATE)


def write_small_report(
    root: Path,
    predictions: dict[str, Predictions],
    *,
    label_audit: pd.DataFrame | None = None,
    **values: Any,
) -> Path:
    """Write the report of predictions; the path of its page."""
    layout, ensemble = Layout(root), predictions["ensemble"]
    validation, tags = ensemble.validation, ensemble.task.tags
    scores = {name: score_member(one) for name, one in predictions.items()}
    multi = ensemble.task.is_multi_label
    if multi:
        assert validation.answers is not None
        answers = validation.answers.by_tag
        p, y, half = validation.probabilities, validation.targets, np.full(len(tags), 0.5)
        by_tag, confusion = per_tag(p, y, answers, half, tags), None
    else:
        by_tag = per_class(validation.probabilities, validation.labels, tags)
        confusion = confusion_matrix(validation.probabilities, validation.labels)
    curves = pd.DataFrame([[name, "0", 1, 1.0, 1.1, 0.5, 0.1] for name in (tags[0], "one")])
    curves = curves.set_axis(CURVES, axis=1).assign(learning_rate_low=0.1, learning_rate_high=0.1)
    metric = "mean_average_precision" if multi else "map_at_3"
    arguments: dict[str, Any] = {
        "title": "small <report>",
        "synthetic": False,
        "notes": ["a note"],
        "metrics": [metric],
        "scores": {"ensemble": scores.pop("ensemble"), "models": scores, "metric": metric},
        "by_tag": by_tag,
        "confusion": confusion,
        "tags": tags,
        "learning_curves": curves,
        "weights": dict.fromkeys(scores, 0.5),
        "quarantine": pd.DataFrame(),
    }
    if label_audit is None:
        label_audit = pd.DataFrame(columns=["clip", "suggested", "p_wrong", "is_listed"])
    write_report(layout, predictions, ensemble, label_audit, workers=1, **(arguments | values))
    return layout.report / "index.html"
