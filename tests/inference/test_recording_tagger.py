"""One tagger, however it is asked: files, samples, whole recordings and segments."""

import numpy as np
import pytest
import soundfile

from earmark.ensemble.combining import combine, mean_over_folds
from earmark.ensemble.crops import aggregate_clip
from earmark.errors import UserError
from earmark.evaluation.temperature import temper
from earmark.inference.recording_tagger import RecordingTagger
from earmark.inference.workspace import load_ensemble
from earmark.sound.samples import as_int16
from earmark.sound.trimming import peak_normalise
from earmark.sound.unusable import UnusableAudio
from earmark.taggers.input import crop_rng
from tests.inference.workspaces import PREPARATION, RATE, RUNTIME, TAGS, make_workspace, sound


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> RecordingTagger:
    return load_ensemble(RUNTIME, make_workspace(tmp_path_factory.mktemp("workspace")))


def by_tag(prediction) -> list[float]:
    probability_of = dict(zip(prediction.tags, prediction.probabilities, strict=True))
    return [probability_of[tag] for tag in TAGS]


def test_a_file_and_its_samples_have_the_same_answer_to_the_bit(tagger, tmp_path):
    path = sound(tmp_path / "a.wav", rate=22_050)
    of_file = tagger.tag(path)
    samples, rate = soundfile.read(path, dtype="int16")
    assert tagger.tag(samples, rate).probabilities == of_file.probabilities
    stereo = np.stack([samples, samples], axis=1)
    assert by_tag(tagger.tag(stereo, rate)) == pytest.approx(by_tag(of_file), abs=1e-4)
    in_floats = (samples / 32768).astype(np.float32)
    assert by_tag(tagger.tag(in_floats, rate)) == pytest.approx(by_tag(of_file), abs=1e-4)
    assert of_file.seconds == pytest.approx(2.0)
    assert max(of_file.probabilities) > 0.3, "the networks must not be indifferent"


def test_a_segment_is_tagged_as_a_clip_of_its_own(tagger, tmp_path):
    path = sound(tmp_path / "a.wav")
    timeline = tagger.timeline(path)
    assert timeline.starts.tolist() == [0.25 * i for i in range(7)]
    assert set(timeline.ends - timeline.starts) == {0.5}
    waveform = as_int16(soundfile.read(path, dtype="int16")[0])
    for row, start in ((2, 0.5), (6, 1.5)):
        part = peak_normalise(waveform[round(start * RATE) : round((start + 0.5) * RATE)])
        members = {}
        for member, folds in tagger.networks.items():
            rows = {}
            for fold, (network, _) in folds.items():
                crops = network.input.prediction_segments(
                    part, crops="cover", n_crops=0, rng=crop_rng(0, member="", fold="", sha256="")
                )
                assert len(crops) > 2
                each = network.clip_probabilities(crops, tagger.device, batch_size=1)
                mean = aggregate_clip(each, aggregation="mean", confidence=0).probabilities
                rows[fold] = mean[np.newaxis]
            members[member] = mean_over_folds(rows)
        combined = combine(members, tagger.rules.weights, is_multi_label=False)
        expected = temper(combined, 0.6, is_multi_label=False)[0]
        np.testing.assert_allclose(timeline.probabilities[row], expected, atol=1e-5)


def test_a_recording_shorter_than_the_window_is_one_segment(tagger, tmp_path):
    timeline = tagger.timeline(sound(tmp_path / "a.wav", seconds=0.2))
    assert (timeline.starts.tolist(), timeline.ends.tolist()) == ([0.0], [0.2])


def test_segments_without_sound_have_no_answer(tagger):
    samples = np.zeros(2 * RATE, np.int16)
    samples[: RATE // 2] = np.random.default_rng(0).integers(-9000, 9000, RATE // 2)
    frame = tagger.timeline(samples, RATE).to_frame()
    assert frame["answer"].tolist()[0] != "silence"
    assert set(frame["answer"].tolist()[3:]) == {"silence"}
    assert frame[TAGS].iloc[3:].isna().all(axis=None)


def test_another_window_and_hop_may_be_asked_for(tagger, tmp_path):
    path = sound(tmp_path / "a.wav")
    assert len(tagger.timeline(path, window_seconds=1.0, hop_seconds=1.0)) == 2
    assert tagger.calibration(tagger.windows()).startswith("on segments of 80")
    assert tagger.calibration(tagger.windows(0.5, 2.0)) == tagger.calibration(tagger.windows())
    of_another = tagger.calibration(tagger.windows(1.0))
    assert of_another == "not measured of segments of 1 s; segments of 0.5 s were"
    for options in ({"hop_seconds": 0}, {"window_seconds": 1e9}, {"hop_seconds": float("nan")}):
        with pytest.raises(UserError, match=r"of a timeline is .*; give 0\.01 to 3600"):
            tagger.timeline(path, **options)


def test_embeddings_are_what_the_head_reads_of_each_segment(tagger, tmp_path):
    path = sound(tmp_path / "a.wav")
    embeddings = tagger.embed(path)
    assert embeddings.values.shape == (7, tagger.networks["first"]["0"][0].embedding_dim)
    assert len({row.tobytes() for row in embeddings.values}) == 7
    head = tagger.networks["first"]["0"][0].network.forward_head
    assert head is not None
    assert not np.allclose(embeddings.values, tagger.embed(path, member="second").values)
    with pytest.raises(UserError, match=r"third gives no embeddings; .* there are first, second"):
        tagger.embed(path, member="third")


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.zeros(99), None, "samples without a rate"),
        (np.zeros((2, 2, 2)), RATE, r"samples of shape \(2, 2, 2\)"),
        (np.zeros(99, np.int64), RATE, "give int16, or floats"),
        (np.zeros(99, bool), RATE, "and type bool; give"),
        (np.zeros(0), RATE, "samples of shape"),
        (np.zeros((2, RATE)), RATE, r"have 16000 channels; give \(T, C\), time first"),
        (np.ones(RATE), 0, "sample_rate is 0; give a whole number of Hz from 1000"),
        (np.ones(RATE), 8000.5, r"sample_rate is 8000\.5"),
        (np.ones(RATE), float("nan"), "sample_rate is nan"),
        (np.ones(RATE), 2**40, "sample_rate is"),
        (np.ones(RATE), "8000", "sample_rate is '8000'"),
        ([0.0, 1.0], RATE, "list: is no recording; give a path, or samples as a numpy array"),
        (None, RATE, "NoneType: is no recording"),
    ],
)
def test_samples_that_are_no_recording_are_refused(tagger, samples, rate, message):
    with pytest.raises(UserError, match=message):
        tagger.tag(samples, rate)


@pytest.mark.parametrize("dtype", [">f4", ">f8", "<f2", np.longdouble, ">i2"])
def test_samples_of_any_precision_and_order_of_bytes_have_the_answer_of_native_ones(tagger, dtype):
    samples = np.random.default_rng(0).integers(-9000, 9000, RATE) // 32 * 32
    is_int = np.dtype(dtype).kind == "i"
    native = samples.astype(np.int16) if is_int else (samples / 2**15).astype(np.float32)
    assert tagger.tag(native.astype(dtype), RATE) == tagger.tag(native, float(RATE))


def test_sound_that_cannot_be_used_says_why(tagger, tmp_path):
    with pytest.raises(UnusableAudio, match=r"NaN|finite"):
        tagger.tag(np.full(RATE, np.nan), RATE)
    (tmp_path / "a.wav").write_text("no sound")
    with pytest.raises(UnusableAudio):
        tagger.timeline(tmp_path / "a.wav")


def test_a_recording_is_as_loud_as_the_clips_that_were_trained_on(tagger):
    assert PREPARATION["trim"]["normalise"]
    quiet, loud = (np.random.default_rng(0).normal(0, s, RATE) for s in (0.01, 0.2))
    assert by_tag(tagger.tag(quiet, RATE)) == pytest.approx(
        by_tag(tagger.tag(loud, RATE)), abs=0.01
    )
