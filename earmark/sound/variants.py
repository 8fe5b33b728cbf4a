"""SoX variants of training clips, one store for each effect, with their drawn values recorded."""

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.errors import UserError
from earmark.processes import map_ordered
from earmark.seeding import rng_for
from earmark.sound import sox
from earmark.spool import FileRows, Scratch, release
from earmark.store import Store, StoreWriter
from earmark.whole_files import discard

Options = dict[str, Any]


def write_variants(
    folder: Path,
    trimmed: Store,
    effects: Mapping[str, Options],
    *,
    seed: int,
    code: Mapping[str, str],
    workers: int,
) -> list[str]:
    """Make folder/<effect>/ for each effect, and remove those of other effects.

    A store that was made of the same clips, options, seed and code is kept as it is, so that a
    change of one effect makes that one again.

    Args:
        folder: holds the stores of an earlier run, if there was one.
        trimmed: the waveforms of all clips.
        effects: options of each effect, as params.yaml has them.
        code: the digest of each effect's code.

    Returns:
        The effects that were made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for stray in folder.iterdir():
        if stray.name not in effects:
            discard(stray)
    made = []
    for effect in sorted(effects):
        key = _key(trimmed, effect, effects[effect], seed, code.get(effect, ""))
        if _key_of(folder / effect) != key:
            sox.require()
            _write_effect(folder / effect, trimmed, effect, effects[effect], seed, workers, key)
            made.append(effect)
    return made


def _write_effect(
    folder: Path, trimmed: Store, effect: str, options: Options, seed: int, workers: int, key: str
) -> None:
    is_train = np.asarray(trimmed.index["split"] == "train")
    positions: list[int] = np.flatnonzero(is_train).tolist()
    metadata = {**trimmed.metadata, "key": key}
    with StoreWriter(folder, row_shape=(), dtype="int16", metadata=metadata) as store:
        store.scratch_folder.mkdir()
        variants = map_ordered(
            partial(_variant, trimmed, effect, options, seed, store.scratch_folder),
            positions,
            workers=workers,
            description=f"augment {effect}",
            name_of=trimmed.index["clip"].iloc.__getitem__,
        )
        for position, (waveform, values) in zip(positions, variants, strict=True):
            clip = str(trimmed.index["clip"].iloc[position])
            drawn = json.dumps(values, sort_keys=True)
            store.append(waveform, clip=clip, split="train", variant=effect, drawn=drawn)


def _variant(
    trimmed: Store,
    effect: str,
    options: Options,
    seed: int,
    scratch_folder: Path,
    position: int,
) -> tuple[NDArray[np.int16] | FileRows, dict[str, Any]]:
    clip = str(trimmed.index["clip"].iloc[position])
    values = sox.draw(effect, options, rng_for(seed, "augment", effect, clip))
    waveform = np.asarray(trimmed.rows(position))
    rate, scratch = trimmed.metadata["sample_rate"], Scratch(scratch_folder, is_shared=True)
    try:
        variant = sox.apply(waveform, rate, effect, values, scratch=scratch)
    except sox.SoxFailed as error:
        raise UserError(f"clip {clip}: {error}") from error
    release(waveform)
    return variant, values


def _key(trimmed: Store, effect: str, options: Options, seed: int, code: str) -> str:
    text = json.dumps([trimmed.digest, effect, options, seed, code], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _key_of(folder: Path) -> str | None:
    """What a store was made of; None if there is none, or not one that can be read whole."""
    try:
        key: str = Store.open(folder).metadata["key"]
    except UserError:
        return None
    return key
