"""Where in time the attention networks look for a tag (Xu, Smit and Kurimo, 2018, section 3.4; Chen
and Gupta, 2018, section 1.3).

Shapes: T samples, S steps in time, P patches, L levels, D dims, K tags.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earmark.analyses.attention_figure import attention_figure
from earmark.analyses.drawing import keep
from earmark.analyses.trained import Trained
from earmark.errors import UserError
from earmark.features import build as build_features
from earmark.features.logmel import LogMel, slaney_mel_weights
from earmark.features.vggish import HOP_LENGTH, PATCH_FRAMES, SAMPLE_RATE
from earmark.layout import Layout
from earmark.params import Trim
from earmark.sound.decoding import Int16, UnusableAudio, as_float, decode
from earmark.sound.trimming import trim
from earmark.store import Store
from earmark.taggers.device import Device
from earmark.taggers.tagger import Tagger

PATCH_SECONDS = PATCH_FRAMES * HOP_LENGTH / SAMPLE_RATE
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Attention:
    """What a network attends to in one recording, and what it makes of it.

    Attributes:
        weights: (L, S, K), how much each step counts for each tag; sums to 1 over S.
        probabilities: (K,), of the recording as one bag.
        edges_seconds: (S + 1,), where the steps begin and end in the recording.
        levels: names of the L levels.
    """

    weights: Floats
    probabilities: Floats
    edges_seconds: Floats
    levels: list[str]


def attend(
    waveform: Int16, tagger: Tagger, extractor: Tagger | None, device: Device, *, trim_: Trim
) -> Attention:
    """Return the attention over a decoded waveform `(T,)` at the working rate.

    The whole recording is one bag, whatever number of patches the network was trained on, since the
    weights of one chunk say nothing of another's. Ends that are trimmed are outside of all steps.

    Raises:
        UserError: the network has no attention over time.
    """
    if not tagger.network.attention_levels:
        fix = "name a model of multilevel_attention, or of cbir with attention"
        raise UserError(f"{tagger.network_name} has no attention over time; {fix}")
    sample_rate = tagger.input.sample_rate
    n_shortest = round(trim_.min_seconds * sample_rate)
    trimmed = trim(waveform, top_db=trim_.top_db, min_samples=n_shortest)
    front = extractor.input if extractor else tagger.input
    extract = build_features(front.kind, front.options, sample_rate=sample_rate)
    rows = np.asarray(extract(as_float(trimmed.waveform))).astype(extract.dtype)  # (P, 96, 64)
    if extractor is not None:
        rows = extractor.embeddings(rows[:, np.newaxis], device, batch_size=64)  # (P, D)
    weights, levels = attention_weights(tagger, rows, device)
    edges = np.linspace(0, len(rows) * PATCH_SECONDS, weights.shape[1] + 1)
    # A clip under a patch was repeated to fill it: its step ends where the clip does.
    edges = np.minimum(edges, len(trimmed.waveform) / sample_rate) + trimmed.start / sample_rate
    probabilities = tagger.probabilities(rows[np.newaxis], device)[0]
    return Attention(weights, probabilities, edges, levels)


def attention_weights(
    tagger: Tagger, rows: NDArray[Any], device: Device
) -> tuple[Floats, list[str]]:
    """Return `(L, S, K)` weights that sum to 1 over S, of the rows of one recording, as stored."""
    network = tagger.network
    network.eval()
    x = tagger.input.tensor(rows[np.newaxis], device.name)
    weights = network.attention(x)[:, 0, :, : len(tagger.tags)].detach()  # (L, S, K)
    return weights.float().cpu().numpy(), network.attention_levels


def attention_table(found: Attention, tags: list[str]) -> pd.DataFrame:
    """One row a tag, level and step, the likeliest tag first: the numbers of the figure."""
    rows = [
        (tags[k], found.probabilities[k], level, start, end, found.weights[i, s, k])
        for k in likeliest(found.probabilities, len(tags))
        for i, level in enumerate(found.levels)
        for s, (start, end) in enumerate(
            zip(found.edges_seconds[:-1], found.edges_seconds[1:], strict=True)
        )
    ]
    columns = ["tag", "probability", "level", "start_seconds", "end_seconds", "weight"]
    return pd.DataFrame(rows, columns=columns)


def likeliest(probabilities: Floats, n_tags: int) -> list[int]:
    """Indices of the most probable tags, the likeliest first."""
    order: list[int] = np.argsort(-probabilities, kind="stable")[:n_tags].tolist()
    return order


def write(
    trained: Trained,
    layout: Layout,
    recording: str,
    folder: Path,
    device: Device,
    *,
    trim_: Trim,
    n_tags: int,
) -> str:
    """Draw the attention over one recording, a file or a clip, into `folder`; returns a line.

    Raises:
        UserError: there is no such recording, it cannot be used, or the network has no attention.
    """
    tagger = trained.tagger
    sample_rate = tagger.input.sample_rate
    waveform = read_recording(layout, recording, sample_rate=sample_rate)
    found = attend(waveform, tagger, trained.extractor, device, trim_=trim_)
    top = likeliest(found.probabilities, n_tags)
    tags, probabilities = [tagger.tags[k] for k in top], found.probabilities[top].tolist()
    name = Path(recording).name
    kind = LogMel(
        sample_rate=sample_rate, n_fft=2048, hop_length=512, n_mels=96,
        f_min_hz=40.0, f_max_hz=sample_rate / 2,
    )  # fmt: skip
    figure = attention_figure(
        kind(as_float(waveform)), mel_hz=mel_centres_hz(kind), seconds=len(waveform) / sample_rate,
        weights=found.weights[:, :, top], edges_seconds=found.edges_seconds, levels=found.levels,
        tags=tags, probabilities=probabilities, title=f"{name}   ({trained.title})",
    )  # fmt: skip
    stem = Path(recording).stem
    if (folder / f"{stem}.png").exists():
        raise UserError(f"{recording}: another recording is called {stem}, too; name it alone")
    keep(folder, stem, figure, numbers=attention_table(found, tagger.tags))
    return f"{name}: " + "  ".join(f"{t} {p:.2f}" for t, p in zip(tags, probabilities, strict=True))


def read_recording(layout: Layout, recording: str, *, sample_rate: int) -> Int16:
    """The decoded waveform `(T,)` of a file, or of a clip of the corpus by its name."""
    path = Path(recording)
    if path.is_file():
        try:
            return decode(path, sample_rate=sample_rate).waveform
        except UnusableAudio as error:
            raise UserError(f"{path}: {error.reason}: {error}") from error
    if layout.decoded.is_dir():
        store = Store.open(layout.decoded)
        lines = np.flatnonzero(np.asarray(store.index["clip"] == recording))
        if len(lines):
            return np.array(store.rows(int(lines[0])))
    raise UserError(f"{recording}: neither a file nor a clip of the corpus; correct the name")


def mel_centres_hz(kind: LogMel) -> Floats:
    """Where each mel bin's triangle has its centre of weight, `(M,)`."""
    weights = slaney_mel_weights(kind)  # (F, M)
    bins_hz = np.fft.rfftfreq(kind.n_fft, 1 / kind.sample_rate)
    centres: Floats = bins_hz @ weights / weights.sum(axis=0)
    return centres
