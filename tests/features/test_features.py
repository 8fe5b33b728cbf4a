"""Features against librosa, and VGGish's front-end against its published constants."""

import math
import pickle
import warnings
from typing import Any

import librosa
import numpy as np
import pytest
import torch

from earmark.features import FEATURE_TYPES, FeatureType, build, find
from earmark.features.backbone import Backbone
from earmark.features.embedding import Embedding
from earmark.features.extraction import extract
from earmark.features.logmel import LogMel, Mfcc, slaney_mel_weights
from earmark.features.spectrum import MelBank
from earmark.features.vggish import VggishPatches, vggish_log_mel, vggish_mel_weights
from earmark.features.waveform import Waveform
from earmark.seeding import rng_for

RATE = 44_100
OPTIONS: dict[str, dict[str, Any]] = {
    "logmel": {"n_fft": 2048, "hop_length": 512, "n_mels": 80, "f_min_hz": 0, "f_max_hz": 22_050},
    "mfcc": {
        "n_fft": 2048,
        "hop_length": 512,
        "n_mels": 128,
        "n_mfcc": 80,
        "f_min_hz": 0,
        "f_max_hz": 22_050,
    },
    "patches": {},
    "waveform": {"target_hz": 16_000},
    "mn_logmel": {},
    "ced_logmel": {},
    "panns_logmel": {"target_hz": 32_000},
    "yamnet_logmel": {},
}
EVERY_TYPE = pytest.mark.parametrize("type_", OPTIONS)


def noise(n_samples: int, level: float = 0.1) -> np.ndarray:
    return (rng_for(0, "features").standard_normal(n_samples) * level).astype(np.float32)


def bell(n_samples: int) -> np.ndarray:
    """Decaying partials over a quiet hiss: a wide range of levels, as in a recording."""
    seconds = np.arange(n_samples) / RATE
    partials = [np.sin(2 * np.pi * f * seconds) / (i + 1) for i, f in enumerate((440, 1234, 5678))]
    return (np.sum(partials, axis=0) * np.exp(-3 * seconds) / 2).astype(np.float32) + noise(
        n_samples, 1e-3
    )


def librosa_db(waveform: np.ndarray, options: dict[str, Any], rate: int = RATE) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # n_fft is longer than the clip
        mel = librosa.feature.melspectrogram(
            y=waveform,
            sr=rate,
            n_fft=options["n_fft"],
            hop_length=options["hop_length"],
            n_mels=options["n_mels"],
            fmin=options["f_min_hz"],
            fmax=options["f_max_hz"],
        )
    return librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=None)


def feature(type_: str) -> FeatureType:
    return build(type_, OPTIONS[type_], sample_rate=RATE)


@pytest.mark.slow
@pytest.mark.parametrize("n_samples", [1, 2, 500, 1024, 2047, 2048, 2049, 65_535, 88_200, 200_001])
@pytest.mark.parametrize("sound", [noise, bell])
def test_log_mel_is_that_of_librosa(sound: Any, n_samples: int) -> None:
    waveform = sound(n_samples)
    rows = feature("logmel")(waveform)
    assert rows.shape == (1 + n_samples // 512, 80)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, librosa_db(waveform, OPTIONS["logmel"]).T, atol=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"n_fft": 1024, "hop_length": 320, "n_mels": 64, "f_min_hz": 50.0, "f_max_hz": 8000.0},
        {"n_fft": 512, "hop_length": 160, "n_mels": 23, "f_min_hz": 20.0, "f_max_hz": 7600.0},
        {"n_fft": 512, "hop_length": 600, "n_mels": 1, "f_min_hz": 0.0, "f_max_hz": 8000.0},
    ],
    ids=str,
)
def test_other_options_agree_with_librosa(options: dict[str, Any]) -> None:
    waveform = noise(50_000)
    rows = LogMel(sample_rate=16_000, **options)(waveform)
    np.testing.assert_allclose(rows, librosa_db(waveform, options, 16_000).T, atol=1e-3)


@pytest.mark.parametrize(
    ("rate", "n_fft", "n_mels", "f_min_hz", "f_max_hz"),
    [(44_100, 2048, 80, 0, 22_050), (16_000, 512, 23, 20, 7600), (8000, 256, 5, 1500, 3999.5)],
)
def test_mel_weights_are_those_of_librosa(
    rate: int, n_fft: int, n_mels: int, f_min_hz: float, f_max_hz: float
) -> None:
    log_mel = LogMel(
        sample_rate=rate,
        n_fft=n_fft,
        hop_length=100,
        n_mels=n_mels,
        f_min_hz=f_min_hz,
        f_max_hz=f_max_hz,
    )
    expected = librosa.filters.mel(
        sr=rate, n_fft=n_fft, n_mels=n_mels, fmin=f_min_hz, fmax=f_max_hz, dtype=np.float64
    )
    np.testing.assert_allclose(slaney_mel_weights(log_mel), expected.T, atol=1e-12)


def test_filters_without_a_bin_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    options = OPTIONS["logmel"] | {"n_fft": 512, "n_mels": 120}
    rows = build("logmel", options, sample_rate=RATE)(noise(1000))
    assert "mel filters hold no bin; lower n_mels or raise n_fft" in caplog.text
    assert rows.min() == -100


def test_two_seconds_give_the_papers_173_by_80() -> None:
    assert feature("logmel")(noise(88_200)).shape == (173, 80)


def test_mfcc_is_that_of_librosa() -> None:
    waveform = bell(88_200)
    expected = librosa.feature.mfcc(
        S=librosa_db(waveform, OPTIONS["mfcc"]), n_mfcc=80, norm="ortho"
    )
    rows = feature("mfcc")(waveform)
    assert rows.shape == (173, 80)
    np.testing.assert_allclose(rows, expected.T, atol=5e-3)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"f_max_hz": 30_000}, "f_max_hz"),
        ({"f_min_hz": 22_050}, "f_min_hz"),
        ({"n_fft": 2047}, "n_fft"),
        ({"hop_length": 0}, "hop_length"),
    ],
)
def test_impossible_frames_are_refused_by_name(change: dict[str, int], named: str) -> None:
    with pytest.raises(ValueError, match=rf"^{named}: .*; it must be"):
        build("logmel", OPTIONS["logmel"] | change, sample_rate=RATE)


def test_more_coefficients_than_mel_bins_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^n_mfcc: 129; it must be from 1 to n_mels, 128"):
        build("mfcc", OPTIONS["mfcc"] | {"n_mfcc": 129}, sample_rate=RATE)


def test_cut_mel_bank_is_the_whole_one() -> None:
    weights = np.maximum(0, rng_for(0, "bank").standard_normal((50, 37)) - 1).astype(np.float32)
    weights[:, 16:32] = 0  # a block without any filter
    spectra, out = torch.rand(7, 50), torch.full((7, 37), torch.nan)
    MelBank.of(weights).apply(spectra, out=out)
    np.testing.assert_allclose(out.numpy(), spectra.numpy() @ weights, rtol=1e-5, atol=1e-6)


# VGGish's front-end: constants of an independent float64 implementation.


def test_vggish_sine_has_the_published_values() -> None:
    sine = np.sin(2 * np.pi * 1000 * np.arange(48_000) / 16_000).astype(np.float32)
    log_mel = vggish_log_mel(sine)
    assert log_mel.shape == (298, 64)
    statistics = [log_mel.mean(), log_mel.std(), log_mel.min(), log_mel.max()]
    np.testing.assert_allclose(statistics, [-3.429619, 2.126577, -4.601163, 4.811118], atol=5e-5)
    low_bands = [-4.483133, -4.270834, -4.170643, -4.237706, -4.475020]
    np.testing.assert_allclose(log_mel[0, :5], low_bands, atol=3e-4)
    peak_bands = [4.811118, 4.775044, 2.262215, -0.589607]
    np.testing.assert_allclose(log_mel[0, 19:23], peak_bands, atol=1e-5)
    assert (log_mel.argmax(axis=1) == 19).all()
    assert VggishPatches(sample_rate=16_000)(sine).shape == (3, 96, 64)


def test_vggish_silence_is_the_logarithm_of_the_offset() -> None:
    rows = vggish_log_mel(np.zeros(48_000, np.float32))
    np.testing.assert_allclose(rows, -4.605170, atol=1e-6)


def test_vggish_mel_matrix_has_the_published_sums() -> None:
    weights = vggish_mel_weights()
    assert weights.shape == (257, 64)
    assert weights.sum() == pytest.approx(230.913599, abs=1e-6)
    assert np.flatnonzero(~weights.any(axis=1)).tolist() == [*range(5), *range(240, 257)]
    assert np.flatnonzero(weights[:, 0]).tolist() == [5]
    assert np.flatnonzero(weights[:, -1]).tolist() == list(range(223, 240))


@pytest.mark.parametrize(
    ("n_samples", "n_frames", "n_patches"),
    [
        (15_360, 94, 1),  # repeated until one patch fits
        (15_599, 95, 1),
        (15_600, 96, 1),
        (16_000, 98, 1),
        (30_959, 191, 1),
        (30_960, 192, 2),
        (80_000, 498, 5),
        (153_840, 960, 10),
        (160_000, 998, 10),
    ],
)
def test_vggish_lengths(n_samples: int, n_frames: int, n_patches: int) -> None:
    waveform = noise(n_samples)
    patches = VggishPatches(sample_rate=16_000)
    assert vggish_log_mel(waveform).shape == (n_frames, 64)
    assert patches(waveform).shape == (n_patches, 96, 64)


def test_patches_are_the_log_mel_in_order() -> None:
    waveform = noise(32_000)
    patches = VggishPatches(sample_rate=16_000)(waveform)
    np.testing.assert_array_equal(patches.reshape(192, 64), vggish_log_mel(waveform)[:192])


def test_short_clip_is_repeated_not_padded() -> None:
    sine = np.sin(2 * np.pi * 1000 * np.arange(1600) / 16_000).astype(np.float32)  # 100 periods
    patches = VggishPatches(sample_rate=16_000)(sine)
    assert patches.shape == (1, 96, 64)
    np.testing.assert_allclose(patches[0, :, 19], 4.811118, atol=1e-4)


def test_patches_at_44_khz_are_those_of_the_16_khz_sound() -> None:
    at_44k = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(88_200) / RATE)).astype(np.float32)
    at_16k = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(32_000) / 16_000)).astype(np.float32)
    resampled = feature("patches")(at_44k)
    expected = VggishPatches(sample_rate=16_000)(at_16k)
    np.testing.assert_allclose(resampled[:, 5:-5], expected[:, 5:-5], atol=0.02)


def test_waveform_at_its_own_rate_is_exact() -> None:
    samples = (noise(5000) * 32768).astype(np.int16)
    waveform = samples.astype(np.float32) / np.float32(32768)
    kept = Waveform(sample_rate=RATE, target_hz=RATE)(waveform)
    np.testing.assert_array_equal(kept, samples)


# What holds for every type.


@EVERY_TYPE
@pytest.mark.parametrize("seconds", [0.01, 0.5, 1.0, 2.0, 3.217])
def test_rows_have_the_announced_shape_and_fit_the_stored_type(type_: str, seconds: float) -> None:
    made = feature(type_)
    rows = made(bell(round(seconds * RATE)))
    assert rows.shape[1:] == made.row_shape == made.silence.shape
    assert rows.dtype == (np.int16 if made.dtype == np.int16 else np.float32)
    assert np.isfinite(rows.astype(made.dtype)).all()


@pytest.mark.parametrize(
    ("type_", "key", "length", "n_rows"),
    [
        ("logmel", "segment_seconds", 2.0, 173),
        ("logmel", "segment_seconds", 0.5, 44),
        ("mfcc", "segment_seconds", 2.0, 173),
        ("waveform", "segment_samples", 19_683, 19_683),
        ("patches", "segment_patches", 5, 5),
        ("patches", "segment_patches", 0.4, 1),
    ],
)
def test_rows_of_a_segment_follow_from_its_length(
    type_: str, key: str, length: float, n_rows: int
) -> None:
    assert find(type_).segment_key == key
    assert feature(type_).segment_rows(length) == n_rows


def test_a_segment_of_frames_is_as_long_as_the_frames_of_its_seconds() -> None:
    for type_ in ("logmel", "mfcc"):
        made = feature(type_)
        for seconds in (0.1, 1.0, 3.217):
            assert made.segment_rows(seconds) == len(made(noise(round(seconds * RATE))))


@EVERY_TYPE
def test_silence_is_the_row_of_a_silent_clip(type_: str) -> None:
    made = feature(type_)
    rows = made(np.zeros(RATE, np.float32)).astype(made.dtype)
    assert made.silence.dtype == made.dtype
    np.testing.assert_allclose(rows - made.silence, 0, atol=1e-3)


def test_silence_of_frames_is_the_floor() -> None:
    assert set(feature("logmel").silence.tolist()) == {-100.0}
    first, *others = feature("mfcc").silence.tolist()
    assert first == pytest.approx(-100 * math.sqrt(128), rel=1e-3)
    assert np.abs(others).max() < 1e-3


@EVERY_TYPE
def test_result_depends_on_the_waveform_alone(type_: str) -> None:
    made, waveform = feature(type_), bell(RATE)
    first = made(waveform).copy()
    before = waveform.copy()
    kept = made(waveform)
    made(noise(3 * RATE))
    copied = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(kept, first)
    np.testing.assert_array_equal(made(waveform), first)
    np.testing.assert_array_equal(copied(waveform), first)
    np.testing.assert_array_equal(waveform, before)
    assert copied == made


@EVERY_TYPE
@pytest.mark.parametrize(
    "waveform",
    [np.zeros(0, np.float32), np.zeros((2, 100), np.float32), np.zeros(100, np.int16)],
    ids=["empty", "stereo", "int16"],
)
def test_what_is_no_waveform_is_refused(type_: str, waveform: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected a float32 waveform"):
        feature(type_)(waveform)


def test_every_type_is_tested() -> None:
    backbones = {type_ for type_ in FEATURE_TYPES if issubclass(find(type_), Backbone)}
    assert {*OPTIONS, "embedding"} == set(FEATURE_TYPES) - backbones


@EVERY_TYPE
def test_extracted_rows_are_of_the_stored_type(type_: str) -> None:
    samples = (bell(RATE) * 32767).astype(np.int16)
    rows = extract(samples, feature(type_))
    assert rows.dtype == find(type_).dtype
    assert rows.shape[1:] == feature(type_).row_shape


def test_unknown_types_are_named_with_the_nearest_or_the_valid_ones() -> None:
    with pytest.raises(ValueError, match=r"^type: .*'logmell'; did you mean logmel\?"):
        build("logmell", {}, sample_rate=RATE)
    with pytest.raises(ValueError, match=r"^type: .*'zzz'; choose one of logmel, mfcc, waveform"):
        find("zzz")


@pytest.mark.parametrize(
    ("type_", "options", "message"),
    [
        (
            "logmel",
            OPTIONS["logmel"] | {"n_mel": 1},
            r"^n_mel: unknown option; did you mean n_mels",
        ),
        ("logmel", OPTIONS["logmel"] | {"zzz": 1}, r"^zzz: unknown option; known here: n_fft, hop"),
        ("patches", {"n_mels": 64}, r"^n_mels: unknown option; known here: none"),
        ("mfcc", OPTIONS["logmel"], r"^n_mfcc: missing; add it"),
        ("logmel", OPTIONS["logmel"] | {"n_mels": "80"}, r"^n_mels: must be of type int, not '80'"),
        ("logmel", OPTIONS["logmel"] | {"n_mels": True}, r"^n_mels: must be of type int, not True"),
        ("logmel", OPTIONS["logmel"] | {"f_min_hz": math.nan}, r"^f_min_hz: must be of type float"),
    ],
)
def test_wrong_options_are_refused_by_name(
    type_: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build(type_, options, sample_rate=RATE)


# What a type declares about its segments.


def test_two_log_mels_of_different_options_are_different_features() -> None:
    few = build("logmel", OPTIONS["logmel"], sample_rate=RATE)
    many = build("logmel", OPTIONS["logmel"] | {"n_mels": 128}, sample_rate=RATE)
    assert few != many
    assert (few.row_shape, many.row_shape) == ((80,), (128,))


def test_types_that_keep_the_power_can_be_mixed_as_waveforms() -> None:
    mixable = {type_ for type_ in FEATURE_TYPES if "mixup_at" in find(type_).augmentations}
    front_ends = {"mn_logmel", "ced_logmel", "panns_logmel", "yamnet_logmel"}
    assert mixable == {"logmel", "waveform", "patches"} | front_ends


def test_patches_reach_networks_stacked_in_time() -> None:
    patches = torch.arange(2 * 3 * 96 * 64).reshape(2, 3, 96, 64)
    stacked = VggishPatches.network_view(patches)
    assert stacked.shape == (2, 288, 64)
    assert torch.equal(stacked[1, 96:192], patches[1, 1])
    frames = torch.zeros(2, 173, 80)
    assert LogMel.network_view(frames) is frames


def test_embeddings_are_not_made_of_waveforms() -> None:
    embedding = build("embedding", {"dims": 128}, sample_rate=RATE)
    assert embedding.row_shape == embedding.silence.shape == (128,)
    assert embedding.segment_rows(2) == 2
    with pytest.raises(TypeError, match="made of patches by an extractor"):
        embedding(noise(RATE))
    assert Embedding.padding == VggishPatches.padding == "tile"


def test_options_are_given_by_name_only() -> None:
    with pytest.raises(TypeError):
        Mfcc(RATE, 2048, 512, 128, 80, 0, 22_050)  # type: ignore


@EVERY_TYPE
def test_a_single_sample_has_a_row(type_: str) -> None:
    assert len(feature(type_)(np.array([0.5], dtype=np.float32))) >= 1
