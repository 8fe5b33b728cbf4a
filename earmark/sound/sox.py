"""The one place that runs the SoX program: first draw an effect's values, then apply them.

Shapes: T samples before the effect, R samples after it (R = T but for tempo).
"""

import logging
import math
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.errors import UserError, how_it_ended
from earmark.sound.samples import Int16
from earmark.spool import IN_MEMORY, FileRows, Scratch, Spool, blocks_of

Values = Mapping[str, Any]  # a name of an option -> the number or name that was drawn

# Effects run 36 dB down and are read back at 32 bits, so nothing inside SoX clips.
_HEADROOM = 64
_LONGEST_IN_MEMORY = 1 << 23  # samples, 3 minutes at 44.1 kHz; SoX' output takes six times as much
_BLOCK_SAMPLES = 1 << 20
_RAW = ("-t", "raw", "-e", "signed-integer", "-L", "-c", "1")


class SoxFailed(UserError):  # noqa: N818 -- the name says what happened
    """SoX ended with an error, was killed, or returned no samples."""


@dataclass(frozen=True)
class Preset:
    """A range compressor of MUDA (McFee et al., 2015), in the terms of SoX's compand."""

    points_db: str
    attack_decay_seconds: str = "0.1,0.3"
    gain_db: float = 0.0
    volume_db_and_delay_seconds: tuple[str, ...] = ("0", "0.1")


PRESETS = {
    "radio": Preset("-90,-90,-70,-70,-60,-20,0,0", "0.01,1", -5.0, ()),
    "film_standard": Preset("-90,-90,-70,-64,-43,-37,-31,-31,-21,-21,0,-20"),
    "film_light": Preset("-90,-90,-70,-64,-53,-47,-41,-41,-21,-21,0,-20"),
    "music_standard": Preset("-90,-90,-70,-58,-55,-43,-31,-31,-21,-21,0,-20"),
    "music_light": Preset("-90,-90,-70,-58,-65,-53,-41,-41,-21,-21,0,-11"),
    "speech": Preset("-90,-90,-70,-55,-50,-35,-31,-31,-21,-21,0,-20"),
}


@dataclass(frozen=True)
class Limits:
    """The numbers, or else the names, that an option may be drawn from."""

    low: float = 0.0
    high: float = 0.0
    names: tuple[str, ...] = ()
    is_logarithmic: bool = False

    def __contains__(self, value: object) -> bool:
        if self.names or isinstance(value, bool) or not isinstance(value, int | float):
            return value in self.names
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"one of {', '.join(self.names)}" if self.names else f"{self.low:g} to {self.high:g}"


EFFECTS: dict[str, dict[str, Limits]] = {
    "tempo": {"factor": Limits(0.25, 4, is_logarithmic=True)},
    "pitch": {"semitones": Limits(-24, 24)},
    "reverb": {
        "reverberance": Limits(0, 100),
        "high_freq_damping": Limits(0, 100),
        "room_scale": Limits(0, 100),
        "pre_delay_ms": Limits(0, 500),
    },
    "compand": {"preset": Limits(names=tuple(PRESETS))},
}


@cache
def require() -> str:
    """The path of the program.

    Raises:
        UserError: it is not installed.
    """
    path = shutil.which("sox")
    if path is None:
        raise UserError("the program sox is not installed; install it: apt-get install sox")
    return path


def check_options(effect: str, options: Mapping[str, Any]) -> None:
    """Refuse an unknown effect, and options that are missing, unknown or out of range.

    Raises:
        ValueError: with the valid names or range.
    """
    if effect not in EFFECTS:
        raise ValueError(f"augment: unknown effect {effect!r}; choose one of {', '.join(EFFECTS)}")
    valid = EFFECTS[effect]
    wrong = {"unknown": options.keys() - valid.keys(), "missing": valid.keys() - options.keys()}
    for problem, names in wrong.items():
        if names:
            listed = f"{problem} option {', '.join(sorted(names))}"
            raise ValueError(f"augment.{effect}: {listed}; it takes {', '.join(valid)}")
    for name, option in options.items():
        values = _named_values(option)
        invalid = [value for value in values if value not in valid[name]]
        if invalid or not values:
            got = f"got {', '.join(map(str, invalid)) or 'none'}"
            raise ValueError(f"augment.{effect}.{name}: must be {valid[name]}; {got}")
        if _is_range(option) and (len(values) != 2 or values[0] > values[1]):
            fix = "write [low, high] with low <= high, or {among: [...]} to choose from a list"
            raise ValueError(f"augment.{effect}.{name}: {list(values)} is not a range; {fix}")


def draw(effect: str, options: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Draw the values of one variant, to be recorded and applied.

    An option is one value, `[low, high]` to draw between, or `{among: [...]}` or a list of names to
    choose from. The factor of tempo is drawn on a logarithmic scale.
    """
    check_options(effect, options)
    return {name: _draw_one(options[name], limits, rng) for name, limits in EFFECTS[effect].items()}


def arguments(effect: str, values: Values, *, gain_db: float = 0.0) -> list[str]:
    """The effect's part of SoX's command line; `gain_db` is added to that of compand alone."""
    if effect == "compand":  # pysox can pass neither gain nor initial volume nor delay
        preset = PRESETS[values["preset"]]
        gain = f"{preset.gain_db + gain_db:f}"
        levels = [preset.attack_decay_seconds, preset.points_db, gain]
        return ["compand", *levels, *preset.volume_db_and_delay_seconds]
    transformer = _transformer_class()()
    if effect == "tempo":  # not stretch, which does the opposite of its documentation
        transformer.tempo(values["factor"], quick=True)
    elif effect == "pitch":
        transformer.pitch(values["semitones"], quick=True)
    elif effect == "reverb":
        transformer.reverb(
            reverberance=values["reverberance"],
            high_freq_damping=values["high_freq_damping"],
            room_scale=values["room_scale"],
            pre_delay=values["pre_delay_ms"],
            stereo_depth=0,
        )
    else:
        raise ValueError(f"unknown effect {effect!r}; choose one of {', '.join(EFFECTS)}")
    composed: list[str] = transformer.effects
    return composed


def apply(
    waveform: Int16,
    sample_rate: int,
    effect: str,
    values: Values,
    *,
    scratch: Scratch = IN_MEMORY,
) -> Int16 | FileRows:
    """Run one effect over a waveform (T,) and return (R,); equal input gives equal bytes.

    The level is SoX's own, lowered as a whole where the result would clip.

    Args:
        scratch: where a waveform goes that is too long for memory; SoX then reads and writes files.

    Raises:
        UserError: the program is not installed.
        SoxFailed: with the message of SoX.
    """
    if waveform.ndim != 1 or not len(waveform) or waveform.dtype != np.int16:
        raise ValueError(f"expected int16 (T,), T > 0, got {waveform.dtype} {waveform.shape}")
    if effect == "compand":  # it depends on the level of its input: its output gets the headroom
        volume, composed = 1.0, arguments(effect, values, gain_db=-20 * math.log10(_HEADROOM))
    else:
        volume, composed = 1 / _HEADROOM, arguments(effect, values)
    raw = (*_RAW, "-r", str(sample_rate))
    # -D and -R: no dither, no fresh random numbers.
    front = [require(), "-D", "-R", "-q", "-v", str(volume), *raw, "-b", "16", "-"]
    command = [*front, *raw, "-b", "32", "-", *composed]
    n_wanted = None if effect == "tempo" else len(waveform)  # pitch may end a sample early
    if scratch.folder is None or len(waveform) <= _LONGEST_IN_MEMORY:
        content = np.frombuffer(_run(command, waveform.astype("<i2").tobytes()), "<i4")
        return np.asarray(_levelled(lambda: [content], n_wanted, IN_MEMORY))
    with tempfile.TemporaryDirectory(dir=scratch.folder) as folder:
        source, target = Path(folder, "source.raw"), Path(folder, "target.raw")
        with source.open("wb") as file:
            for block in blocks_of(waveform, _BLOCK_SAMPLES):
                file.write(block.astype("<i2").data)
        names = iter((str(source), str(target)))
        _run([next(names) if word == "-" else word for word in command], b"", target)
        made = FileRows(target, np.dtype("<i4"), (target.stat().st_size // 4,))
        return _levelled(made.blocks, n_wanted, scratch)


def _levelled(
    blocks: Callable[[], Iterable[NDArray[np.int32]]], n_wanted: int | None, scratch: Scratch
) -> Int16 | FileRows:
    """What SoX made, at its level as int16, with `n_wanted` samples: its blocks are read twice."""

    def parts() -> Iterator[NDArray[np.int32]]:
        n_left = n_wanted
        for block in blocks():
            part = block if n_left is None else block[:n_left]
            n_left = None if n_left is None else n_left - len(part)
            yield part
        yield np.zeros(n_left or 0, np.int32)

    scale = _HEADROOM / 65536  # 32768 is full; a power of two, so that it rounds nothing
    extremes = [abs(int(end)) for part in parts() if len(part) for end in (part.min(), part.max())]
    scale *= min(1, 32767 / max(1, scale * max(extremes, default=0)))
    spool = Spool(np.int16, scratch=scratch)
    for part in parts():
        scaled = part * np.float64(scale)
        spool.append(np.rint(scaled, out=scaled).astype(np.int16))
    return spool.rows()


def _named_values(option: Any) -> list[Any]:
    if isinstance(option, Mapping):
        return list(option["among"]) if option.keys() == {"among"} else [dict(option)]
    return list(option) if isinstance(option, list | tuple) else [option]


def _is_range(option: Any) -> bool:
    return isinstance(option, list | tuple) and not isinstance(option[0], str)


def _draw_one(option: Any, limits: Limits, rng: np.random.Generator) -> float | str:
    values = _named_values(option)
    if not _is_range(option):
        chosen: float | str = values[int(rng.integers(len(values)))]
        return chosen
    low, high = (math.log(v) for v in values) if limits.is_logarithmic else values
    value = rng.uniform(low, high)
    # SoX gets six decimals, so the recorded value is the one that is applied.
    return round(math.exp(value) if limits.is_logarithmic else float(value), 6)


def _run(command: list[str], content: bytes, target: Path | None = None) -> bytes:
    """What the program writes to its output, unless it writes to a file."""
    # SOX_OPTS would add options.
    environment = {name: value for name, value in os.environ.items() if name != "SOX_OPTS"}
    try:
        done = subprocess.run(
            command, input=content, capture_output=True, env=environment, check=False
        )
    except OSError as error:  # no memory, or no process more
        reason = error.strerror or error
        raise SoxFailed(f"sox cannot be started ({reason}); lower runtime.workers") from error
    if done.returncode < 0:
        fix = "memory has probably run out: lower runtime.workers in params.yaml, then run it again"
        raise SoxFailed(f"sox {how_it_ended(done.returncode)}; {fix}")
    is_empty = not (done.stdout if target is None else target.stat().st_size)
    if done.returncode or is_empty:
        message = " ".join(done.stderr.decode(errors="replace").split()) or "it returned no samples"
        raise SoxFailed(f"`{' '.join(command)}` failed ({done.returncode}): {message}")
    return done.stdout


@cache
def _transformer_class() -> Callable[[], Any]:
    require()  # pysox prints a page of advice where the program is missing
    import sox

    logging.getLogger("sox").setLevel(logging.ERROR)  # it recommends `stretch` for small changes
    transformer: Callable[[], Any] = sox.Transformer
    return transformer
