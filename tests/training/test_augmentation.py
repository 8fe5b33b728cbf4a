"""Tempo, pitch and filters drawn for each clip of a batch, and which features they apply to."""

import numpy as np
import pytest
import torch

from earmark.features import find
from earmark.features.augmentations import supported_augmentations
from earmark.params.reading import load_params
from earmark.seeding import rng_for
from earmark.store import Store
from earmark.training.augmentation import (
    applicable,
    augmented,
    rows_to_cut,
)
from tests.source_graph import ROOT
from tests.training.conftest import logmel_input, make_job, recipe_with


def ramp(n_clips: int, n_rows: int, n_bands: int, *, along: str) -> torch.Tensor:
    """Clips whose value is the number of the row, or of the band."""
    line = torch.arange(float(n_rows if along == "rows" else n_bands))
    shaped = line[:, None] if along == "rows" else line[None, :]
    return shaped.expand(n_clips, n_rows, n_bands).contiguous()


def test_rows_are_read_at_a_tempo_of_each_clip_between_the_bounds() -> None:
    recipe = recipe_with(time_stretch=0.25)
    n_cut = rows_to_cut(100, recipe)
    assert n_cut == 125
    raw = ramp(64, n_cut, 8, along="rows")
    out = augmented(raw, 100, logmel_input(), recipe, rng_for(0, "warp"))
    assert out.shape == (64, 100, 8)
    tempo = out[:, 1:, 0] - out[:, :-1, 0]  # rows that are read for each row that comes out
    torch.testing.assert_close(tempo, tempo[:, :1].expand_as(tempo), atol=1e-3, rtol=0)
    assert 1 / 1.25 <= float(tempo.min()) < 0.85
    assert 1.18 < float(tempo.max()) <= 1.2501
    assert (out[:, 0] == 0).all(), "the segment begins where it was cut"
    assert abs(float(tempo[:, 0].log().mean())) < 0.06, "as often slower as faster"


def test_bands_are_shifted_as_a_whole_and_the_outermost_are_repeated() -> None:
    raw = ramp(64, 10, 40, along="bands")
    out = augmented(raw, 10, logmel_input(), recipe_with(band_shift=6), rng_for(0, "warp"))
    shift = out[:, 0, 20] - 20
    assert -6 <= float(shift.min()) < -5
    assert 5 < float(shift.max()) <= 6
    expected = (torch.arange(40.0) + shift[:, None]).clamp(0, 39)
    torch.testing.assert_close(out, expected[:, None].expand_as(out), atol=1e-3, rtol=0)


@pytest.mark.parametrize("type_", ["logmel", "patches", "mn_logmel", "yamnet_logmel"])
def test_gains_are_those_of_the_power_and_bounded(type_: str) -> None:
    feature = find(type_)
    power = torch.full((32, 5, 3, 60), 0.5)
    raw = feature.of_powers(power)  # type: ignore[attr-defined]
    input_ = logmel_input(feature=type_, type_name=type_)
    out = augmented(raw, 5, input_, recipe_with(band_gain_db=6.0), rng_for(0, "gain"))
    gains = 10 * torch.log10(feature.powers(out) / power)  # type: ignore[attr-defined]
    assert 5 < float(gains.max()) <= 6.001
    assert -6.001 <= float(gains.min()) < -5
    torch.testing.assert_close(gains, gains[:, :1, :1].expand_as(gains), atol=1e-3, rtol=0)
    steps = gains[:, 0, 0, 1:] - gains[:, 0, 0, :-1]
    assert float(steps.abs().max()) < 12 / 10, "a line through few points, no noise"
    assert len(steps.round(decimals=3).unique(dim=0)) == 32, "each clip its own"


def test_a_gain_of_bands_is_heard_as_the_same_whatever_the_scale_of_the_feature() -> None:
    gain = torch.full((1, 1, 3), 20.0)
    decibels = torch.tensor([[[-20.0, 0.0, 10.0]]])
    torch.testing.assert_close(find("logmel").amplified(decibels, gain), decibels + 20)
    quiet = find("patches").amplified(torch.full((1, 1, 3), float(np.log(0.01 + 0.1))), gain)
    torch.testing.assert_close(quiet, torch.full((1, 1, 3), float(np.log(0.01 + 1.0))))


def test_without_augmentation_nothing_is_drawn_and_nothing_changes() -> None:
    raw, rng = ramp(2, 10, 8, along="bands"), rng_for(0, "warp")
    assert augmented(raw, 10, logmel_input(), recipe_with(), rng) is raw
    assert rng.random() == rng_for(0, "warp").random()


def test_the_shared_recipe_applies_where_it_can() -> None:
    wanted = {"mask_bands": 9, "time_stretch": 0.2, "band_gain_db": 6.0, "band_shift": 3}
    recipe = recipe_with(mixup_at="equal_loudness", **wanted)

    def left(type_: str, *, whole_clips: bool = False) -> dict[str, object]:
        supported = supported_augmentations(type_, whole_clips=whole_clips)
        values = applicable(recipe, supported).model_dump()
        return {key: values[key] for key in ("mixup_at", *wanted) if values[key]}

    assert left("logmel") == {"mixup_at": "equal_loudness", **wanted}
    assert left("waveform") == {"mixup_at": "equal_loudness"}
    assert left("mfcc") == {"mixup_at": "features", "mask_bands": 9}
    assert left("embedding") == {"mixup_at": "features"}
    assert left("fusion") == {"mixup_at": "equal_loudness", "mask_bands": 9}
    assert set(left("logmel", whole_clips=True)) == {"mixup_at", "mask_bands", "band_gain_db"}


def test_a_batch_is_cut_as_long_as_the_highest_tempo_needs(store: Store) -> None:
    job = make_job(store, recipe=recipe_with(time_stretch=0.5))
    batch = job.sampler.gather(np.arange(4), rng_for(0))
    assert batch.segments.shape == (4, 48, 20)
    assert batch.n_rows == job.tagger.input.segment_rows == 32


def test_every_augmentation_is_a_key_of_the_recipe_with_its_neutral_value() -> None:
    params, recipe = load_params(ROOT / "params.yaml"), recipe_with()
    neutral = applicable(recipe, frozenset())
    assert type(params.model).model_validate(neutral.model_dump()) == neutral


@pytest.mark.parametrize("shape", [(2, 1, 8), (2, 5, 1)])
def test_a_segment_of_one_row_or_of_one_band_stays_finite(shape) -> None:
    raw = torch.tensor([-20.0, -50.0]).view(2, 1, 1).expand(shape).contiguous()
    out = augmented(raw, shape[1], logmel_input(), recipe_with(band_shift=3), rng_for(0, "warp"))
    torch.testing.assert_close(out, raw)
