"""When things happen inside a sound: steady beats, groups, random arrivals, and melodies."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earmark.corpora.synthetic.sounds.signals import Signal, log_uniform, sample_count

Onsets = npt.NDArray[np.float64]

SCALES_SEMITONES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9))
LONGEST_SINGLE_EVENT_SECONDS = 2.5  # a longer take is filled with several events


@dataclass(frozen=True, kw_only=True)
class Note:
    """One note of a melody."""

    onset_seconds: float
    seconds: float
    frequency_hz: float


def steady_onsets(
    rng: np.random.Generator, seconds: float, *, interval_seconds: float, jitter: float
) -> Onsets:
    """Return a beat that starts at zero; `jitter` is a share of the interval."""
    beats = np.arange(max(1, int(np.ceil(seconds / interval_seconds)))) * interval_seconds
    onsets = beats + jitter * interval_seconds * rng.uniform(-0.5, 0.5, len(beats))
    onsets[0] = 0.0
    return np.sort(np.clip(onsets, 0.0, None))


def hit_onsets(
    rng: np.random.Generator, seconds: float, *, interval_seconds: tuple[float, float]
) -> Onsets:
    """Return the onsets of hits: one alone (often, in a short take) or an uneven beat."""
    if seconds <= LONGEST_SINGLE_EVENT_SECONDS and rng.random() < 0.4:
        return np.zeros(1)
    interval = log_uniform(rng, *interval_seconds)
    onsets = steady_onsets(rng, seconds, interval_seconds=interval, jitter=0.15)
    is_played = rng.random(len(onsets)) < rng.uniform(0.65, 1.0)
    is_played[0] = True
    return onsets[is_played]


def grouped_onsets(
    rng: np.random.Generator,
    seconds: float,
    *,
    group_sizes: tuple[int, int],
    interval_seconds: tuple[float, float],
    pause_seconds: tuple[float, float],
) -> Onsets:
    """Return groups of quick events with pauses between: knocks, barks, bursts."""
    interval = log_uniform(rng, *interval_seconds)
    onsets: list[float] = []
    start = 0.0
    while start < seconds:
        size = int(rng.integers(group_sizes[0], group_sizes[1] + 1))
        steps = interval * rng.uniform(0.85, 1.15, size)
        group = start + np.concatenate([[0.0], np.cumsum(steps)[:-1]])
        onsets.extend(float(onset) for onset in group)
        start = float(group[-1]) + log_uniform(rng, *pause_seconds)
    return np.array(onsets)


def random_onsets(rng: np.random.Generator, seconds: float, *, rate_hz: float) -> Onsets:
    """Return the arrivals of a Poisson process, at least one."""
    count = max(1, int(rng.poisson(rate_hz * seconds)))
    return np.sort(rng.uniform(0.0, seconds, count))


def melody(
    rng: np.random.Generator,
    seconds: float,
    *,
    range_hz: tuple[float, float],
    note_seconds: tuple[float, float],
) -> list[Note]:
    """Return one long note, or a walk up and down a scale that stays within a range of pitches."""
    tonic_hz = log_uniform(rng, range_hz[0], range_hz[1] / 2)
    if seconds <= LONGEST_SINGLE_EVENT_SECONDS and rng.random() < 0.4:
        start_hz = log_uniform(rng, *range_hz)
        return [Note(onset_seconds=0.0, seconds=seconds, frequency_hz=start_hz)]
    scale = SCALES_SEMITONES[rng.integers(len(SCALES_SEMITONES))]
    ladder = [semitone + octave for octave in (0, 12) for semitone in scale]
    pace = log_uniform(rng, *note_seconds)
    step, onset, notes = int(rng.integers(len(ladder))), 0.0, []
    while onset < seconds:
        length = min(pace * float(rng.choice([0.5, 1.0, 1.0, 1.0, 2.0])), seconds - onset)
        pitch_hz = tonic_hz * 2 ** (ladder[step] / 12)
        notes.append(Note(onset_seconds=onset, seconds=length, frequency_hz=pitch_hz))
        onset += max(length, 0.02)
        step = int(np.clip(step + rng.integers(-3, 4), 0, len(ladder) - 1))
    return notes


def pitch_curve(
    notes: list[Note], n_samples: int, sample_rate: int, *, glide_seconds: float
) -> Signal:
    """Return the fundamental in Hz at every sample `(T,)`, sliding between the notes."""
    starts = [round(note.onset_seconds * sample_rate) for note in notes]
    times, log_pitches = [0.0], [np.log(notes[0].frequency_hz)]
    for start, previous, note in zip(starts[1:], notes[:-1], notes[1:], strict=True):
        times += [float(start), start + glide_seconds * sample_rate]
        log_pitches += [np.log(previous.frequency_hz), np.log(note.frequency_hz)]
    curve = np.interp(np.arange(n_samples), np.maximum.accumulate(times), log_pitches)
    return np.asarray(np.exp(curve), dtype=np.float64)


def loudness_curve(
    rng: np.random.Generator,
    notes: list[Note],
    n_samples: int,
    sample_rate: int,
    *,
    attack_seconds: float,
    release_seconds: float,
    tied: float,
) -> Signal:
    """Return the envelope `(T,)` of a melody; `tied` notes sink only to that level between."""
    times, levels = [0.0], [0.0]
    for note in notes:
        end = note.onset_seconds + note.seconds
        peak, last = rng.uniform(0.7, 1.0), rng.uniform(0.45, 1.0)
        attack = note.onset_seconds + min(attack_seconds, 0.4 * note.seconds)
        release = end - min(release_seconds, 0.4 * note.seconds)
        times += [attack, release, end]
        levels += [peak, peak * last, peak * last * tied]
    levels[-1] = 0.0
    grid = np.arange(n_samples) / sample_rate
    return np.asarray(np.interp(grid, times, levels), dtype=np.float64)


def vibrato(
    rng: np.random.Generator,
    n_samples: int,
    sample_rate: int,
    *,
    rate_hz: float,
    depth_cents: float,
) -> Signal:
    """Return the ratio `(T,)` by which a vibrato, and a slow drift of pitch, bend a tone."""
    seconds = np.arange(n_samples) / sample_rate
    swing = np.sin(2 * np.pi * rate_hz * seconds + rng.uniform(0, 2 * np.pi))
    onset = np.clip((seconds - rng.uniform(0.0, 0.3)) / 0.3, 0.0, 1.0)
    n_drift = 2 + n_samples // sample_count(0.12, sample_rate)
    drift = np.interp(
        np.linspace(0, n_drift - 1, n_samples), np.arange(n_drift), rng.normal(0, 3.0, n_drift)
    )
    return np.asarray(2 ** ((depth_cents * onset * swing + drift) / 1200), dtype=np.float64)
