"""A folder of embeddings can be read at any time, and a run that was broken off goes on."""

import numpy as np
import pandas as pd
import pytest

from earmark.errors import DamagedError, UserError, WrongUse
from earmark.inference.embedders import Embedded
from earmark.inference.embedding_store import ERRORS, EmbeddingStore, EmbeddingWriter
from earmark.sound.unusable import UnusableAudio

IDENTITY = {"network": "x", "weights_sha256": "0a", "window_seconds": 5.0, "dims": 3}
ORIGIN = {"weights": "x.safetensors"}


@pytest.fixture
def paths(tmp_path):
    made = [tmp_path / f"{name}.wav" for name in "abc"]
    for path in made:
        path.write_text(path.name)
    return made


def blocks(first, *lengths):
    """Blocks of rows that count up from `first`, each row a second."""
    done = 0
    for length in lengths:
        values = first + np.arange(done, done + length, dtype=np.float32)
        times = np.arange(done, done + length, dtype=np.float64)
        yield Embedded(np.repeat(values[:, np.newaxis], 3, axis=1), times, times + 1)
        done += length


def writer(folder, **changes):
    return EmbeddingWriter(folder, IDENTITY | changes, ORIGIN)


def test_rows_times_and_files_come_back_and_are_mapped(tmp_path, paths):
    out = tmp_path / "e"
    with writer(out) as one:
        assert one.add(paths[0], blocks(10, 2, 1)) == 3
        one.fail(paths[1], reason="silent", message="b.wav: silent")
        one.add(paths[2], blocks(20, 2))
        assert one.n_failed(paths) == 1
    store = EmbeddingStore.open(out)
    assert isinstance(store.values, np.memmap)
    assert store.values.dtype == np.float32
    assert store.values.tolist() == [[v] * 3 for v in (10, 11, 12, 20, 21)]
    assert store.index["file"].tolist() == [str(paths[0])] * 3 + [str(paths[2])] * 2
    assert store.index["start_seconds"].tolist() == [0, 1, 2, 0, 1]
    assert store.index["end_seconds"].tolist() == [1, 2, 3, 1, 2]
    assert (store.identity, store.origin) == (IDENTITY, ORIGIN)
    assert pd.read_csv(out / ERRORS)["file"].tolist() == [str(paths[1])]
    np.testing.assert_array_equal(np.load(out / "embeddings.npy"), store.values)


def test_a_kill_within_a_recording_leaves_nothing_of_it_and_the_others_done(tmp_path, paths):
    out = tmp_path / "e"
    broken = writer(out)
    broken.add(paths[0], blocks(1, 2))

    def killed():
        yield from blocks(7, 1)
        broken._file.flush()  # half of the recording is on the disk
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), broken:
        broken.add(paths[1], killed())
    with (out / "embeddings.npy").open("ab") as file:
        file.write(b"what a kill left")
    with pytest.raises(UserError, match="not finished; run the same `embed` again"):
        EmbeddingStore.open(out)
    with writer(out) as one:
        assert [one.is_done(path) for path in paths] == [True, False, False]
        one.add(paths[1], blocks(3, 1))
    assert EmbeddingStore.open(out).values[:, 0].tolist() == [1, 2, 3]
    assert (out / "embeddings.npy").stat().st_size == 128 + 3 * 3 * 4


def test_what_is_there_can_be_read_while_more_is_added(tmp_path, paths):
    out = tmp_path / "e"
    with writer(out) as one:
        one.add(paths[0], blocks(1, 2))
    with writer(out) as one:
        one.add(paths[1], blocks(3, 2))
        assert EmbeddingStore.open(out).values[:, 0].tolist() == [1, 2]
        with pytest.raises(UserError, match="another program writes to it"):
            writer(out)
    assert EmbeddingStore.open(out).values[:, 0].tolist() == [1, 2, 3, 4]
    assert np.load(out / "embeddings.npy").shape == (4, 3)


def test_a_recording_that_cannot_be_used_leaves_no_rows(tmp_path, paths):
    def unusable():
        yield from blocks(5, 2)
        raise UnusableAudio(paths[0], "truncated", "is cut", "fetch it")

    with writer(tmp_path / "e") as one:
        with pytest.raises(UnusableAudio):
            one.add(paths[0], unusable())
        one.add(paths[1], blocks(1, 1))
    assert EmbeddingStore.open(tmp_path / "e").values[:, 0].tolist() == [1]


def test_one_that_could_not_be_used_is_tried_again_when_it_changed(tmp_path, paths):
    with writer(tmp_path / "e") as one:
        one.fail(paths[0], reason="silent", message="a.wav: silent")
    paths[0].write_text("recorded again")
    with writer(tmp_path / "e") as one:
        assert not one.is_done(paths[0])
        one.add(paths[0], blocks(1, 1))
    assert not (tmp_path / "e" / ERRORS).exists()
    assert len(EmbeddingStore.open(tmp_path / "e").values) == 1


def test_embeddings_of_another_network_or_of_changed_recordings_are_not_mixed(tmp_path, paths):
    out = tmp_path / "e"
    with writer(out) as one:
        one.add(paths[0], blocks(1, 1))
    with pytest.raises(WrongUse, match=r"holds embeddings of another network \(other weights\)"):
        writer(out, weights_sha256="0b")
    with pytest.raises(WrongUse, match="holds embeddings of another window"):
        writer(out, window_seconds=3.0)
    paths[0].write_text("another recording")
    with pytest.raises(UserError, match=r"a\.wav: changed since it was embedded here"):
        writer(out)


@pytest.mark.usefixtures("paths")
def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x").write_text("x")
    for folder, text in (("mine", "holds no embeddings"), ("a.wav", "is a file"), ("n/e", "make")):
        with pytest.raises(WrongUse, match=text):
            writer(tmp_path / folder)
    with pytest.raises(WrongUse, match=r"embeddings\.json is missing"):
        EmbeddingStore.open(tmp_path / "mine")


def test_rows_that_are_lost_are_told(tmp_path, paths):
    out = tmp_path / "e"
    with writer(out) as one:
        one.add(paths[0], blocks(1, 5))
    data = (out / "embeddings.npy").read_bytes()
    (out / "embeddings.npy").write_bytes(data[:-4])
    with pytest.raises(DamagedError):
        EmbeddingStore.open(out)
    with pytest.raises(UserError, match=r"has fewer rows than files\.jsonl says"):
        writer(out)
