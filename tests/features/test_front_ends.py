"""What published networks read, against references: torchaudio, librosa, or plain torch."""

import warnings

import librosa
import numpy as np
import pytest
import torch
import torchaudio
from torchaudio.compliance.kaldi import get_mel_banks

from earmark.features import build
from earmark.features.ced import ced_mel_weights
from earmark.features.extraction import _as_stored
from earmark.features.spectrum import hann, mel_triangles, spectra_in_chunks
from earmark.features.vggish import _magnitudes, vggish_log_mel, vggish_mel_weights
from earmark.seeding import rng_for

HOP = {"mn_logmel": 320, "ced_logmel": 160, "panns_logmel": 320}
RATE = {"mn_logmel": 32_000, "ced_logmel": 16_000, "panns_logmel": 32_000, "yamnet_logmel": 16_000}
EVERY = pytest.mark.parametrize("type_", RATE)


def swelling_noise(n_samples: int) -> np.ndarray:
    noise = rng_for(0, "front-ends").standard_normal(n_samples)
    return (0.2 * noise * np.linspace(0.001, 1, n_samples)).astype(np.float32)


def rows_of(type_: str, waveform: np.ndarray, **options: int) -> np.ndarray:
    if type_ == "panns_logmel":
        options = {"target_hz": RATE[type_]} | options
    return build(type_, options, sample_rate=options.get("target_hz", RATE[type_]))(waveform)


# EfficientAT's MobileNets


def kaldi_bank() -> torch.Tensor:
    bank, _ = get_mel_banks(128, 1024, 32_000.0, 0.0, 15_000.0, 100.0, -500.0, 1.0)
    return torch.nn.functional.pad(bank, (0, 1))  # (128, 513), with nothing of the Nyquist bin


def test_the_bank_of_the_mobilenets_is_that_of_kaldi() -> None:
    weights = mel_triangles(32_000, 1024, 128, 0.0, 15_000.0)
    np.testing.assert_allclose(weights, kaldi_bank().numpy().T, atol=1e-4)  # theirs is float32


@pytest.mark.parametrize("n_samples", [700, 32_000, 50_001])
def test_the_log_mel_of_the_mobilenets_is_that_of_the_paper_in_plain_torch(n_samples: int) -> None:
    waveform = swelling_noise(n_samples)
    x = torch.from_numpy(waveform)
    emphasised = torch.nn.functional.conv1d(x[None, None], torch.tensor([[[-0.97, 1.0]]]))[0]
    spectra = torch.stft(
        emphasised,
        n_fft=1024,
        hop_length=320,
        win_length=800,
        window=torch.hann_window(800, periodic=False),
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    expected = ((kaldi_bank() @ spectra[0].abs().square() + 1e-5).log() + 4.5) / 5
    np.testing.assert_allclose(rows_of("mn_logmel", waveform), expected.numpy().T, atol=1e-4)


def test_ten_seconds_are_a_thousand_frames_of_the_mobilenets() -> None:
    assert rows_of("mn_logmel", swelling_noise(320_000)).shape == (1000, 128)


# CED


def test_the_bank_of_ced_is_torchaudios() -> None:
    expected = torchaudio.functional.melscale_fbanks(257, 0.0, 8000.0, 64, 16_000)
    np.testing.assert_allclose(ced_mel_weights(), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("n_samples", [2400, 48_000, 50_001])
def test_the_log_mel_of_ced_is_torchaudios(n_samples: int) -> None:
    waveform = swelling_noise(n_samples)
    waveform[n_samples // 2 :] *= 1e-6  # so that `top_db` takes hold
    mel = torchaudio.transforms.MelSpectrogram(
        16_000, n_fft=512, win_length=512, hop_length=160, f_min=0.0, f_max=8000.0, n_mels=64
    )
    decibels = torchaudio.transforms.AmplitudeToDB(top_db=120)
    expected = decibels(mel(torch.from_numpy(waveform)[None]))[0].numpy().T
    rows = rows_of("ced_logmel", waveform)
    np.testing.assert_allclose(rows, expected, atol=1e-3)  # of a hundred dB
    loud = rows_of("ced_logmel", waveform * 1e3)
    assert loud.min() == pytest.approx(loud.max() - 120, abs=1e-4)


# PANNs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate", "n_fft", "hop_length", "f_max_hz"),
    [(32_000, 1024, 320, 14_000), (16_000, 512, 160, 8000)],
)
def test_the_log_mel_of_the_panns_is_librosas_with_reflection(
    rate: int, n_fft: int, hop_length: int, f_max_hz: int
) -> None:
    waveform = swelling_noise(3 * rate // 2 + 7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        mel = librosa.feature.melspectrogram(
            y=waveform,
            sr=rate,
            n_fft=n_fft,
            hop_length=hop_length,
            n_mels=64,
            fmin=50,
            fmax=f_max_hz,
            pad_mode="reflect",
        )
    expected = librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=None).T
    rows = rows_of("panns_logmel", waveform, target_hz=rate)
    np.testing.assert_allclose(rows, expected, atol=1e-3)


def test_another_rate_than_the_two_published_ones_is_refused() -> None:
    for type_, more in (("panns_logmel", {}), ("cnn14", {"weights": "x", "weights_sha256": "0"})):
        with pytest.raises(ValueError, match=r"^target_hz: 44100; it must be 32000 or 16000"):
            build(type_, {"target_hz": 44_100, **more}, sample_rate=44_100)


# YAMNet


def test_the_log_mel_of_yamnet_is_vggishs_with_another_offset() -> None:
    waveform = swelling_noise(15_600 + 2 * 7680)
    magnitudes = np.exp(vggish_log_mel(waveform)) - 0.01
    rows = rows_of("yamnet_logmel", waveform)
    np.testing.assert_allclose(np.exp(rows) - 0.001, magnitudes, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("n_samples", "n_frames"),
    [(1, 96), (15_599, 96), (15_600, 96), (15_601, 144), (23_280, 144), (23_281, 192)],
)
def test_silence_completes_the_patches_of_yamnet(n_samples: int, n_frames: int) -> None:
    rows = rows_of("yamnet_logmel", np.ones(n_samples, np.float32))
    assert rows.shape == (n_frames, 64)
    first_silent = -(-n_samples // 160)
    np.testing.assert_allclose(rows[first_silent:], np.log(0.001), atol=1e-6)


def test_the_bank_of_vggish_is_kaldis_without_the_mean() -> None:
    expected = mel_triangles(16_000, 512, 64, 125.0, 7500.0)
    assert not expected[0].any()  # 125 Hz are far from 0
    np.testing.assert_array_equal(vggish_mel_weights(), expected)


# What holds for each


@EVERY
def test_rows_of_a_segment_are_those_of_a_clip_of_its_length(type_: str) -> None:
    options = {"target_hz": RATE[type_]} if type_ == "panns_logmel" else {}
    made = build(type_, options, sample_rate=RATE[type_])
    for seconds in (0.05, 0.975, 2.0, 10.0):
        rows = made(swelling_noise(round(seconds * RATE[type_])))
        if type_ == "yamnet_logmel":  # a clip's last patch is filled up, a segment's is not
            assert 0 <= len(rows) - made.segment_rows(seconds) < 48
        else:
            assert len(rows) == made.segment_rows(seconds)


@pytest.mark.parametrize("type_", ["ced_logmel", "panns_logmel"])
def test_a_clip_too_short_for_the_network_is_repeated(type_: str) -> None:
    needed = {"ced_logmel": 16, "panns_logmel": 32}[type_]
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE[type_] // 100) / RATE[type_])
    rows = rows_of(type_, tone.astype(np.float32))
    assert len(rows) == needed
    middle = rows[3:-3]
    np.testing.assert_allclose(middle.max(axis=1), middle.max(), atol=0.01)


@EVERY
def test_a_sound_at_another_rate_has_the_same_rows(type_: str) -> None:
    options = {"target_hz": RATE[type_]} if type_ == "panns_logmel" else {}
    rows = [
        build(type_, options, sample_rate=rate)(
            (0.5 * np.sin(2 * np.pi * 1000 * np.arange(2 * rate) / rate)).astype(np.float32)
        )
        for rate in (44_100, RATE[type_])
    ]
    peak = rows[1][20].argmax()
    np.testing.assert_allclose(rows[0][10:-60, peak], rows[1][10:-60, peak], atol=0.01)


def test_magnitudes_are_those_of_torch_to_the_bit_at_every_size() -> None:
    generator = torch.Generator().manual_seed(0)
    spectra = torch.randn(400, 257, dtype=torch.complex64, generator=generator)
    spectra *= 10 ** (40 * torch.rand(400, 1, generator=generator) - 20)
    spectra[0, :3] = torch.tensor([0, 1e-30j, 1e30])
    assert torch.equal(_magnitudes(spectra), spectra.abs())


def test_rows_are_rounded_to_half_precision_as_numpy_rounds_them() -> None:
    rng = np.random.default_rng(0)
    rows = (rng.standard_normal((500, 64)) * 10 ** rng.uniform(-9, 4, (500, 1))).astype(np.float32)
    rows[0, :4] = [0, -0.0, 65_519, 2**-25]
    stored = _as_stored(rows, np.dtype(np.float16))
    assert stored.dtype == np.float16
    np.testing.assert_array_equal(stored.view(np.uint16), rows.astype(np.float16).view(np.uint16))


@pytest.mark.parametrize("n_frames", [1, 63, 64, 65, 128, 129, 300])
def test_spectra_in_chunks_are_those_of_each_frame_alone(n_frames: int) -> None:
    waveform = torch.from_numpy(swelling_noise(400 + 160 * (n_frames - 1)))
    chunks = spectra_in_chunks(waveform, window=hann(400), n_fft=512, hop_length=160)
    got = torch.cat([spectra.clone() for _, spectra in chunks])
    frames = torch.nn.functional.pad(waveform.unfold(0, 400, 160) * hann(400), (0, 112))
    expected = torch.cat([torch.fft.rfft(frame[None]) for frame in frames])
    assert torch.equal(got, expected)
