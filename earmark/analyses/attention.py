"""When the attention networks look for a tag (Xu, Smit and Kurimo, 2018, section 3.4; Chen and
Gupta, 2018, section 1.3).

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
from earmark.features.logmel import LogMel, slaney_mel_weights
from earmark.features.vggish import HOP_LENGTH, PATCH_FRAMES, SAMPLE_RATE
from earmark.layout import Layout
from earmark.params import Trim
from earmark.sound.decoding import decode
from earmark.sound.samples import Int16, as_float
from earmark.sound.trimming import trim
from earmark.sound.unusable import UnusableAudio
from earmark.spool import Scratch
from earmark.store import Store
from earmark.taggers.device import Device
from earmark.taggers.rows import WaveformFeatures, rows_read
from earmark.taggers.tagger import Tagger
from earmark.wording import printable

PATCH_SECONDS = PATCH_FRAMES * HOP_LENGTH / SAMPLE_RATE
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Attention:
    """The attention of a network in one recording, and the probabilities that it gives.

    Attributes:
        weights: (L, S, K), the weight of each step for each tag; sums to 1 over S.
        probabilities: (K,), of the recording as one bag.
        edges_seconds: (S + 1,), the start and end of the steps in the recording.
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

    The whole recording is one bag, whatever number of patches the network was trained on, since
    weights of different bags cannot be compared. Trimmed ends are outside of all steps.

    Raises:
        UserError: the network has no attention over time.
    """
    if not tagger.network.attention_levels:
        fix = "name a model of multilevel_attention, or of cbir with attention"
        raise UserError(f"{tagger.network_name} has no attention over time; {fix}")
    sample_rate = tagger.input.sample_rate
    trimmed = trim(waveform, sample_rate=sample_rate, **trim_.model_dump())
    features = WaveformFeatures(np.asarray(trimmed.waveform))
    rows = rows_read(features, tagger, extractor, device)  # (P, ...)
    weights, levels = attention_weights(tagger, rows, device)
    edges = np.linspace(0, len(rows) * PATCH_SECONDS, weights.shape[1] + 1)
    # A clip shorter than a patch was padded: its only step ends with the clip.
    edges = np.minimum(edges, len(trimmed.waveform) / sample_rate) + trimmed.start / sample_rate
    probabilities = tagger.probabilities(rows[np.newaxis], device)[0]
    return Attention(weights, probabilities, edges, levels)


def attention_weights(
    tagger: Tagger, rows: NDArray[Any], device: Device
) -> tuple[Floats, list[str]]:
    """Return the weights `(L, S, K)`, which sum to 1 over S, and the names of the levels.

    Args:
        tagger: with a network that has attention.
        rows: (P, ...), the features or embeddings of one recording, as stored.
        device: to compute on.
    """
    network = tagger.network
    network.eval()
    x = tagger.input.tensor(rows[np.newaxis], device.name)
    weights = network.attention(x)[:, 0, :, : len(tagger.tags)].detach()  # (L, S, K)
    return weights.float().cpu().numpy(), network.attention_levels


def attention_table(attention: Attention, tags: list[str]) -> pd.DataFrame:
    """One row per tag, level and step, the most probable tag first: the numbers of the figure."""
    rows = [
        (tags[k], attention.probabilities[k], level, start, end, attention.weights[i, s, k])
        for k in most_probable(attention.probabilities, len(tags))
        for i, level in enumerate(attention.levels)
        for s, (start, end) in enumerate(
            zip(attention.edges_seconds[:-1], attention.edges_seconds[1:], strict=True)
        )
    ]
    columns = ["tag", "probability", "level", "start_seconds", "end_seconds", "weight"]
    return pd.DataFrame(rows, columns=columns)


def most_probable(probabilities: Floats, n_tags: int) -> list[int]:
    """The indices of the most probable tags, the first of equal ones first."""
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
    """Write the attention in one recording, a file or a clip, to `folder`; returns a line.

    Raises:
        UserError: there is no such recording, it cannot be used, another one of this name was
            written before, or the network has no attention.
    """
    tagger = trained.tagger
    sample_rate = tagger.input.sample_rate
    waveform = read_recording(layout, recording, sample_rate=sample_rate)
    attention = attend(waveform, tagger, trained.extractor, device, trim_=trim_)
    top = most_probable(attention.probabilities, n_tags)
    tags, probabilities = [tagger.tags[k] for k in top], attention.probabilities[top].tolist()
    path = Path(recording)
    log_mel = LogMel(
        sample_rate=sample_rate, n_fft=2048, hop_length=512, n_mels=96,
        f_min_hz=40.0, f_max_hz=sample_rate / 2,
    )  # fmt: skip
    figure = attention_figure(
        log_mel(as_float(waveform)), mel_hz=mel_centres_hz(log_mel),
        seconds=len(waveform) / sample_rate, weights=attention.weights[:, :, top],
        edges_seconds=attention.edges_seconds, levels=attention.levels,
        tags=tags, probabilities=probabilities, title=f"{path.name}   ({trained.title})",
    )  # fmt: skip
    if (folder / f"{path.stem}.png").exists():
        raise UserError(
            f"{recording}: another recording is also called {path.stem}; run the command for each"
        )
    keep(folder, path.stem, figure, numbers=attention_table(attention, tagger.tags))
    pairs = zip(tags, probabilities, strict=True)
    return printable(f"{path.name}: ") + "  ".join(f"{tag} {value:.2f}" for tag, value in pairs)


def read_recording(layout: Layout, recording: str, *, sample_rate: int) -> Int16:
    """The decoded waveform `(T,)` of a file, or of a clip of the corpus by its name.

    Raises:
        UserError: there is neither such a file nor such a clip, or the file cannot be used.
    """
    path = Path(recording)
    if path.is_file():
        try:
            scratch = Scratch(layout.scratch_folder)
            return np.asarray(decode(path, sample_rate=sample_rate, scratch=scratch).waveform)
        except UnusableAudio as error:
            fix = "choose another recording"
            raise UserError(f"{path}: {error.reason}: {error}; {fix}") from error
    if layout.decoded.is_dir():
        store = Store.open(layout.decoded)
        index = np.flatnonzero(np.asarray(store.index["clip"] == recording))
        if len(index):
            return np.array(store.rows(int(index[0])))
    raise UserError(f"{recording}: neither a file nor a clip of the corpus; correct the name")


def mel_centres_hz(log_mel: LogMel) -> Floats:
    """The centre of gravity of the triangle of each mel bin, `(M,)`."""
    weights = slaney_mel_weights(log_mel)  # (F, M)
    bins_hz = np.fft.rfftfreq(log_mel.n_fft, 1 / log_mel.sample_rate)
    centres: Floats = bins_hz @ weights / weights.sum(axis=0)
    return centres
