"""Plucked and bowed strings: the guitar is an extended Karplus-Strong loop, the violin a bowed saw.

Karplus and Strong, "Digital Synthesis of Plucked-String and Drum Timbres" (1983); Jaffe and Smith,
"Extensions of the Karplus-Strong Plucked-String Algorithm" (1983). Shapes: T samples.
"""

import numpy as np
from scipy import signal as dsp

from earmark.corpora.synthetic.sounds.signals import (
    Signal,
    Waveform,
    band_noise,
    equalise,
    finish,
    harmonic_tone,
    log_uniform,
    low_pass,
    mix_at,
    sample_count,
)
from earmark.corpora.synthetic.sounds.timing import loudness_curve, melody, pitch_curve, vibrato

OPEN_CHORDS_HZ = {
    "E": (82.41, 123.47, 164.81, 207.65, 246.94, 329.63),
    "Em": (82.41, 123.47, 164.81, 196.00, 246.94, 329.63),
    "A": (110.00, 164.81, 220.00, 277.18, 329.63),
    "C": (130.81, 164.81, 196.00, 261.63, 329.63),
    "D": (146.83, 220.00, 293.66, 369.99),
    "G": (98.00, 123.47, 146.83, 196.00, 246.94, 392.00),
}
GUITAR_BODY_HZ = (105.0, 205.0, 400.0)  # air, top plate, second plate mode
VIOLIN_BODY_HZ = (275.0, 460.0, 1000.0, 2600.0)  # air, main wood, nasal hill, bridge hill


def loop_taps(frequency_hz: float, sample_rate: int, *, damping: float) -> tuple[int, Signal]:
    """Return the whole delay and the 5 taps that tune a feedback loop to `frequency_hz`.

    The taps are a two-point average (weight `damping` on the older sample, the string's losses)
    times a third-order Lagrange delay, which supplies the missing fraction of a sample.
    """
    angle = 2 * np.pi * frequency_hz / sample_rate
    averaging_delay = np.arctan2(damping * np.sin(angle), 1 - damping + damping * np.cos(angle))
    needed = sample_rate / frequency_hz - averaging_delay / angle
    whole = int(needed - 1.0)
    fraction = needed - whole  # in [1, 2), where the Lagrange delay is flattest
    points = np.arange(4)
    lagrange = np.array(
        [np.prod([(fraction - m) / (k - m) for m in points if m != k]) for k in points]
    )
    return whole, np.convolve([1 - damping, damping], lagrange)


def feedback_loop(excitation: Signal, delay: int, taps: Signal) -> Signal:
    """Run y[n] = x[n] + sum_k taps[k] y[n - delay - k] over `(T,)`, a period of samples at a time.

    The same as `lfilter` with a denominator of `delay + len(taps)` coefficients, whose cost would
    grow with the period; here a period depends on the one before alone, so it is one short product.
    """
    reach = delay + len(taps) - 1
    line = np.concatenate([np.zeros(reach), excitation])
    for start in range(reach, len(line), delay):
        stop = min(start + delay, len(line))
        past = line[start - reach : stop - delay]
        line[start:stop] += np.convolve(past, taps, mode="valid")
    return line[reach:]


def plucked_string(
    rng: np.random.Generator,
    sample_rate: int,
    *,
    frequency_hz: float,
    seconds: float,
    pick_position: float,
    damping: float,
    t60_seconds: float,
) -> Signal:
    """Return one plucked note `(T,)`; `pick_position` is a share of the string's length."""
    n_samples = sample_count(seconds, sample_rate)
    delay, taps = loop_taps(frequency_hz, sample_rate, damping=damping)
    per_period = 10 ** (-3 / (t60_seconds * frequency_hz))
    period = round(sample_rate / frequency_hz)
    excitation = np.zeros(max(n_samples, 2 * period))
    burst = rng.uniform(-1.0, 1.0, period)
    excitation[:period] = burst - burst.mean()
    # Jaffe and Smith: picked at 1/p of its length, a string lacks every p-th harmonic
    excitation[: 2 * period] -= np.roll(
        excitation[: 2 * period], max(1, round(pick_position * period))
    )
    return feedback_loop(excitation, delay, per_period * taps)[:n_samples]


def guitar_notes(rng: np.random.Generator, seconds: float) -> list[tuple[float, float]]:
    """Return (onset in seconds, Hz) of strummed chords, or of a plucked tune."""
    if rng.random() < 0.5:
        tune = melody(rng, seconds, range_hz=(82.0, 660.0), note_seconds=(0.2, 0.7))
        return [(note.onset_seconds, note.frequency_hz) for note in tune]
    transpose = 2 ** (rng.integers(-2, 6) / 12)
    beat, spread = log_uniform(rng, 0.35, 1.4), log_uniform(rng, 0.006, 0.18)
    chords = list(OPEN_CHORDS_HZ.values())
    notes: list[tuple[float, float]] = []
    for start in np.arange(0.0, seconds, beat):
        strings = chords[rng.integers(len(chords))]
        direction = 1 if rng.random() < 0.7 else -1
        for order, frequency_hz in enumerate(strings[::direction]):
            notes.append((float(start) + order * spread, frequency_hz * transpose))
    return notes


def guitar_body(rng: np.random.Generator, strings: Signal, sample_rate: int) -> Signal:
    """Send the strings `(T,)` through a box of random size and a top that takes off the treble."""
    size = rng.uniform(0.9, 1.2)
    for centre_hz in GUITAR_BODY_HZ:
        gain_db = rng.uniform(3.0, 9.0)
        strings = equalise(
            strings, sample_rate, centre_hz=centre_hz * size, gain_db=gain_db, quality=4.0
        )
    return low_pass(strings, sample_rate, cutoff_hz=log_uniform(rng, 2500, 9000), order=1)


def acoustic_guitar(rng: np.random.Generator, sample_rate: int, seconds: float = 2.0) -> Waveform:
    """Return strums or a plucked tune on a steel-string or nylon guitar `(T,)`."""
    n_samples = sample_count(seconds, sample_rate)
    damping, pick_position = rng.uniform(0.1, 0.5), rng.uniform(0.08, 0.35)
    ring_seconds = log_uniform(rng, 0.8, 5.0)
    notes = guitar_notes(rng, seconds)
    events = [
        rng.uniform(0.5, 1.0)
        * plucked_string(
            rng,
            sample_rate,
            frequency_hz=frequency_hz,
            seconds=min(max(seconds - onset, 0.02), 0.7 * ring_seconds),
            pick_position=pick_position,
            damping=damping,
            t60_seconds=ring_seconds * (196.0 / frequency_hz) ** 0.4,
        )
        for onset, frequency_hz in notes
    ]
    strings = mix_at([onset for onset, _ in notes], events, n_samples, sample_rate)
    return finish(guitar_body(rng, strings, sample_rate))


def bow_noise(rng: np.random.Generator, tone: Signal, sample_rate: int) -> Signal:
    """Return the hiss of hair on string `(T,)`, loudest when the string slips."""
    hiss = band_noise(rng, len(tone), sample_rate, low_hz=1500, high_hz=9000)
    return hiss * (0.3 + np.clip(tone, 0.0, None))


def violin(rng: np.random.Generator, sample_rate: int, seconds: float = 2.0) -> Waveform:
    """Return a bowed tune `(T,)`: a saw with vibrato through the resonances of the box."""
    n_samples = sample_count(seconds, sample_rate)
    notes = melody(rng, seconds, range_hz=(196.0, 1500.0), note_seconds=(0.2, 1.2))
    glide_seconds = log_uniform(rng, 0.01, 0.09)
    frequency_hz = pitch_curve(notes, n_samples, sample_rate, glide_seconds=glide_seconds)
    frequency_hz *= vibrato(
        rng, n_samples, sample_rate, rate_hz=rng.uniform(4.5, 6.8), depth_cents=rng.uniform(8, 40)
    )
    slope = rng.uniform(0.85, 1.25)
    tone = harmonic_tone(frequency_hz, np.arange(1, 41) ** -slope, sample_rate)
    tone += log_uniform(rng, 0.01, 0.12) * bow_noise(rng, tone, sample_rate)
    box_size = rng.uniform(0.85, 1.15)
    for centre_hz in VIOLIN_BODY_HZ:
        gain_db = rng.uniform(2.0, 10.0)
        tone = equalise(
            tone, sample_rate, centre_hz=centre_hz * box_size, gain_db=gain_db, quality=2.5
        )
    loudness = loudness_curve(
        rng,
        notes,
        n_samples,
        sample_rate,
        attack_seconds=log_uniform(rng, 0.02, 0.15),
        release_seconds=log_uniform(rng, 0.03, 0.2),
        tied=rng.uniform(0.2, 0.8),
    )
    return finish(np.asarray(dsp.lfilter([1.0, -0.6], [1.0], tone) * loudness))
