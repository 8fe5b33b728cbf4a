"""Sounds of hands: applause, snapped fingers, knuckles on wood. Shapes: T samples."""

import numpy as np
from scipy import signal as dsp

from earmark.corpora.synthetic.sounds.metals import click
from earmark.corpora.synthetic.sounds.signals import (
    Signal,
    Waveform,
    band_noise,
    decay,
    finish,
    impulse,
    impulses_at,
    log_uniform,
    mix_at,
    resonate,
    sample_count,
)
from earmark.corpora.synthetic.sounds.timing import grouped_onsets, hit_onsets, steady_onsets

N_CLAP_COLOURS = 10  # people whose hands sound alike share one filter


def clapping_onsets(rng: np.random.Generator, seconds: float, *, n_people: int) -> Signal:
    """Return when anyone claps: each person keeps a beat of their own, with slips."""
    beats = []
    for _ in range(n_people):
        interval = 1.0 / rng.uniform(2.4, 5.2)
        onsets = steady_onsets(rng, seconds + 1.0, interval_seconds=interval, jitter=0.4)
        beats.append(onsets - rng.uniform(0.0, 1.0))
    return np.concatenate(beats)


def applause(rng: np.random.Generator, sample_rate: int, seconds: float = 2.0) -> Waveform:
    """Return a clapping crowd `(T,)` of eight to four hundred hands, swelling and thinning."""
    n_samples = sample_count(seconds, sample_rate)
    people_per_colour = log_uniform(rng, 8, 400) / N_CLAP_COLOURS
    crowd = np.zeros(n_samples)
    for _ in range(N_CLAP_COLOURS):
        n_people = max(1, round(people_per_colour))
        onsets = clapping_onsets(rng, seconds, n_people=n_people)
        strengths = rng.lognormal(0.0, 0.6, len(onsets))
        claps = impulses_at(onsets, strengths, n_samples, sample_rate)
        fall = np.exp(-np.log(1000.0) / (log_uniform(rng, 0.015, 0.05) * sample_rate))
        envelope = dsp.lfilter([1.0], [1.0, -fall], claps)
        palm_hz = log_uniform(rng, 700, 2600)  # cupped hands are low, flat ones high
        crowd += envelope * band_noise(
            rng, n_samples, sample_rate, low_hz=0.6 * palm_hz, high_hz=2.2 * palm_hz
        )
    swell = np.interp(np.arange(n_samples), np.linspace(0, n_samples, 5), rng.uniform(0.45, 1.0, 5))
    return finish(crowd * swell)


def finger_snap(rng: np.random.Generator, sample_rate: int, *, pop_hz: float) -> Signal:
    """Return one snap `(T,)`: the finger slides off, then hits the palm over a small cavity."""
    n_samples = sample_count(0.12, sample_rate)
    slide = np.zeros(n_samples)
    n_slide = sample_count(rng.uniform(0.004, 0.015), sample_rate)
    slide[:n_slide] = 0.08 * band_noise(rng, n_slide, sample_rate, low_hz=2500, high_hz=9000)
    pop = resonate(
        click(rng, n_samples - n_slide, sample_rate, low_hz=700, high_hz=7000),
        sample_rate,
        frequencies_hz=[pop_hz, 1.9 * pop_hz],
        t60_seconds=[rng.uniform(0.012, 0.035), 0.012],
        amplitudes=[0.4, 0.2],
    )
    slide[n_slide:] += pop
    return slide


def finger_snapping(rng: np.random.Generator, sample_rate: int, seconds: float = 2.0) -> Waveform:
    """Return one snap of the fingers, or a beat of them `(T,)`."""
    pop_hz = log_uniform(rng, 1200, 3200)
    onsets = hit_onsets(rng, seconds, interval_seconds=(0.2, 0.9))
    snaps = [
        rng.uniform(0.5, 1.0)
        * finger_snap(rng, sample_rate, pop_hz=pop_hz * rng.uniform(0.93, 1.07))
        for _ in onsets
    ]
    return finish(mix_at(list(onsets), snaps, sample_count(seconds, sample_rate), sample_rate))


def knock(rng: np.random.Generator, sample_rate: int, seconds: float = 2.0) -> Waveform:
    """Return groups of knocks on a door or a table `(T,)`: short, low wooden modes."""
    n_samples = sample_count(0.35, sample_rate)
    frequencies_hz = log_uniform(rng, 85, 420) * np.cumprod([1.0, *rng.uniform(1.3, 1.9, 5)])
    board = resonate(
        impulse(n_samples),
        sample_rate,
        frequencies_hz=frequencies_hz,
        t60_seconds=log_uniform(rng, 0.04, 0.14) * rng.uniform(0.5, 1.0, 6),
        amplitudes=rng.uniform(0.4, 1.0, 6) * rng.uniform(0.45, 0.95) ** np.arange(6),
    )
    knuckle_level = log_uniform(rng, 0.03, 0.4)
    onsets = grouped_onsets(
        rng, seconds, group_sizes=(2, 5), interval_seconds=(0.1, 0.35), pause_seconds=(0.5, 2.0)
    )
    thump = decay(n_samples, sample_rate, t60_seconds=0.03)
    knocks = []
    for _ in onsets:
        knuckle = thump * band_noise(rng, n_samples, sample_rate, low_hz=200, high_hz=3500)
        knocks.append(rng.uniform(0.5, 1.0) * (board + knuckle_level * knuckle))
    return finish(mix_at(list(onsets), knocks, sample_count(seconds, sample_rate), sample_rate))
