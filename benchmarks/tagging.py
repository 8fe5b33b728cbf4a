"""How fast an exported tagger is, one thread: `python -m benchmarks.tagging TAGGER FOLDER`.

Prints seconds of sound per second of processor time: of a long recording in segments and as a
whole, and of a folder of short files beside the loop that inference scripts of published taggers
have: librosa decodes and resamples a file, its log-mel goes through the same network, and the next.
Both run alternately in this process; the ratio is the median over passes, with the least and most.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import soundfile
import torch

import earmark
from earmark.errors import UserError
from earmark.exits import clean_exit
from earmark.inference.recording_tagger import RecordingTagger
from earmark.inference.recordings import recordings
from earmark.processes import set_threads

N_PASSES = 5


def network_loop(tagger: RecordingTagger, paths: list[Path]) -> None:
    """Tag files one by one, as PANNs' and EfficientAT's inference scripts do, by the first network.

    Raises:
        UserError: the tagger's networks read no log-mel.
    """
    networks = [one for folds in tagger.networks.values() for one, _ in folds.values()]
    reading = [one for one in networks if one.input.type_name == "logmel"]
    if not reading:
        raise UserError("no network of the tagger reads log-mel, which the usual loop computes")
    one = reading[0]
    options, rate = one.input.options, tagger.sample_rate
    for path in paths:
        waveform, _ = librosa.load(path, sr=rate, mono=True)
        mel = librosa.feature.melspectrogram(
            y=waveform, sr=rate, n_fft=options["n_fft"], hop_length=options["hop_length"],
            n_mels=options["n_mels"], fmin=options["f_min_hz"], fmax=options["f_max_hz"],
        )  # fmt: skip
        rows = librosa.power_to_db(mel).T.astype(np.float16)
        segments = one.input.covering_segments(rows)
        for segment in segments:
            one.probabilities(one.input.stack([segment]), tagger.device)


def tag_all(tagger: RecordingTagger, paths: list[Path]) -> None:
    for path in paths:
        tagger.tag(path)


def passes(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main(bundle: Path, folder: Path, *, count: int, minutes: float) -> None:
    set_threads(1)
    tagger = earmark.load(bundle)
    _ = tagger.networks
    torch.set_num_threads(1)
    found, _ = recordings([folder])
    if not found:
        raise UserError(f"{folder}: no recording in it")
    paths = (found * (count // len(found) + 1))[:count]
    seconds = sum(soundfile.info(path).duration for path in paths)
    n_networks = sum(len(folds) for folds in tagger.rules.members.values())
    print(f"{n_networks} networks; times real time, of one thread's processor time")
    with tempfile.TemporaryDirectory() as scratch:
        long = Path(scratch) / "long.wav"
        _write_long(long, found, minutes)
        for name, work in (("timeline", tagger.timeline), ("as a whole", tagger.tag)):
            taken = min(passes(lambda work=work: work(long)) for _ in range(2))  # type: ignore[misc]
            print(f"{minutes:g} minutes, {name}: {minutes * 60 / taken:.0f}")
    tag_all(tagger, paths[:3])
    network_loop(tagger, paths[:3])
    ratios, ours = [], []
    for _ in range(N_PASSES):
        ours.append(passes(lambda: tag_all(tagger, paths)))
        ratios.append(passes(lambda: network_loop(tagger, paths)) / ours[-1])
    print(f"{count} files of {seconds / count:.1f} s: {seconds / statistics.median(ours):.0f}")
    low, high = min(ratios), max(ratios)
    print(f"beside a loop with librosa and one network: {statistics.median(ratios):.2f} x "
          f"({low:.2f} to {high:.2f})")  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"most memory: {peak:.0f} MB")


def _write_long(path: Path, found: list[Path], minutes: float) -> None:
    """One recording out of the first that are found, over and over."""
    info = soundfile.info(found[0])
    with soundfile.SoundFile(path, "w", info.samplerate, info.channels, "PCM_16") as out:
        while True:
            for one in found:
                samples, rate = soundfile.read(one, dtype="int16", always_2d=True)
                if rate == info.samplerate and samples.shape[1] == info.channels:
                    out.write(samples)
                if out.frames >= minutes * 60 * info.samplerate:
                    return


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, metavar="TAGGER")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--count", type=int, default=200, help="of short files")
    parser.add_argument("--minutes", type=float, default=10.0, help="of the long recording")
    given = parser.parse_args()
    with clean_exit("tagging"):
        main(given.bundle, given.folder, count=given.count, minutes=given.minutes)
