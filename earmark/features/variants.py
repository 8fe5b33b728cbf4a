"""Features of SoX variants of training clips, with the values that were drawn for each.

The sound of a variant is read once, by all features together, and is not kept: its rows are.
Shapes: T samples, R rows.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.errors import UserError
from earmark.features import FeatureType, build
from earmark.features.extraction import extract
from earmark.params import Feature
from earmark.processes import map_ordered
from earmark.records import write_json
from earmark.seeding import rng_for
from earmark.sound import sox
from earmark.sound.trimmed_clips import TrimmedClips
from earmark.spool import FileRows, Scratch, release
from earmark.store import Store, StoreWriter
from earmark.whole_files import discard

Options = dict[str, Any]
_EFFECTS = "effects.json"  # so that the folder of a feature is there without any effect, too


def write_variants(
    folder: Path,
    trimmed: TrimmedClips,
    effects: Mapping[str, Options],
    features: Mapping[str, Feature],
    *,
    seed: int,
    code: Mapping[str, str],
    workers: int,
) -> list[str]:
    """Make folder/FEATURE/EFFECT/ for each of both, and remove those of others.

    A store that was made of the same clips, values, seed and code is kept as it is, so that a
    change of one effect makes that one again, and a change of one feature that one.

    Args:
        folder: holds the stores of an earlier run, if there was one.
        trimmed: the waveforms of all clips.
        effects: options of each effect, as params.yaml has them.
        features: as params.yaml declares them.
        code: the digest of the code behind the variants of each feature.

    Returns:
        The effects that were made, for one feature or more.
    """
    _keep_only(folder, features)
    for feature in features:
        _keep_only(folder / feature, {*effects, _EFFECTS})
    made = []
    for effect, options in sorted(effects.items()):
        keys = {
            name: _key(trimmed, effect, options, feature, seed, code.get(name, ""))
            for name, feature in features.items()
        }
        stale = {name: key for name, key in keys.items() if _key_of(folder / name / effect) != key}
        if stale:
            sox.require()
            _write_effect(folder, trimmed, (effect, options), features, stale, seed, workers)
            made.append(effect)
    for feature in features:
        write_json(folder / feature / _EFFECTS, dict(effects))
    return made


def _keep_only(folder: Path, names: Collection[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for stray in folder.iterdir():
        if stray.name not in names:
            discard(stray)


def _write_effect(
    folder: Path,
    trimmed: TrimmedClips,
    effect: tuple[str, Options],
    features: Mapping[str, Feature],
    keys: Mapping[str, str],
    seed: int,
    workers: int,
) -> None:
    """Write the stores of one effect, given by name and options, for the features of `keys`."""
    is_train = np.asarray(trimmed.index["split"] == "train")
    positions: list[int] = np.flatnonzero(is_train).tolist()
    rate = trimmed.metadata["sample_rate"]
    extractors = [
        build(features[name].type, features[name].options, sample_rate=rate) for name in keys
    ]
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                StoreWriter(
                    folder / name / effect[0],
                    row_shape=extractor.row_shape,
                    dtype=extractor.dtype,
                    metadata={"key": key},
                )
            )
            for (name, key), extractor in zip(keys.items(), extractors, strict=True)
        ]
        scratch_folder = writers[0].scratch_folder
        scratch_folder.mkdir()
        variants = map_ordered(
            partial(_variant, trimmed, extractors, effect, seed, scratch_folder),
            positions,
            workers=workers,
            description=f"augment {effect[0]}",
            name_of=trimmed.index["clip"].iloc.__getitem__,
        )
        for position, (rows, drawn) in zip(positions, variants, strict=True):
            clip = str(trimmed.index["clip"].iloc[position])
            for writer, of_feature in zip(writers, rows, strict=True):
                writer.append(of_feature, clip=clip, split="train", variant=effect[0], drawn=drawn)


def _variant(
    trimmed: TrimmedClips,
    extractors: Sequence[FeatureType],
    effect: tuple[str, Options],
    seed: int,
    scratch_folder: Path,
    position: int,
) -> tuple[list[NDArray[Any] | FileRows], str]:
    """The rows (R, *row_shape) of a clip's variant by each extractor, and its values as json."""
    name, options = effect
    clip = str(trimmed.index["clip"].iloc[position])
    values = sox.draw(name, options, rng_for(seed, "augment", name, clip))
    waveform = trimmed.waveform(position, scratch=Scratch(scratch_folder))
    shared = Scratch(scratch_folder, is_shared=True)
    try:
        variant = sox.apply(waveform, trimmed.metadata["sample_rate"], name, values, scratch=shared)
    except sox.SoxFailed as error:
        raise UserError(f"clip {clip}: {error}") from error
    release(waveform)
    samples = np.asarray(variant)
    rows = [extract(samples, extractor, scratch=shared) for extractor in extractors]
    if isinstance(variant, FileRows):
        variant.delete()
    return rows, json.dumps(values, sort_keys=True)


def _key(
    trimmed: TrimmedClips, effect: str, options: Options, feature: Feature, seed: int, code: str
) -> str:
    declared = [feature.type, feature.options]
    text = json.dumps([trimmed.digest, effect, options, declared, seed, code], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _key_of(folder: Path) -> str | None:
    """What a store was made of; None if there is none, or not one that can be read whole."""
    try:
        key: str = Store.open(folder).metadata["key"]
    except UserError:
        return None
    return key
