"""The nearest embeddings are those that comparing all pairs finds."""

import numpy as np
import pytest

from earmark.inference import search
from earmark.inference.search import nearest


@pytest.mark.parametrize("block_bytes", [1, 100, 1 << 25])
def test_the_nearest_are_those_of_the_whole_matrix(block_bytes, monkeypatch):
    monkeypatch.setattr(search, "_BLOCK_BYTES", block_bytes)
    rng = np.random.default_rng(3)
    values, query = rng.normal(size=(57, 6)).astype(np.float32), rng.normal(size=6)
    cosines = values @ query / np.linalg.norm(values, axis=1) / np.linalg.norm(query)
    found = nearest(values, query, 5)
    assert found.rows.tolist() == np.argsort(-cosines)[:5].tolist()
    np.testing.assert_allclose(found.similarities, np.sort(cosines)[::-1][:5], atol=1e-6)


def test_a_length_does_not_count_and_zeros_are_similar_to_nothing():
    values = np.array([[0, 0], [1, 1], [50, 50], [-1, -1]], np.float32)
    found = nearest(values, np.array([2.0, 2.0]), 9)
    assert found.rows.tolist() == [1, 2, 0, 3]
    np.testing.assert_allclose(found.similarities, [1, 1, 0, -1], atol=1e-6)
    assert nearest(values, np.zeros(2), 1).similarities.tolist() == [0]
    assert len(nearest(values[:0], np.ones(2), 3).rows) == 0


def test_of_equally_near_rows_the_first_come_first_in_whatever_blocks(monkeypatch):
    values = np.tile(np.array([[1, 0]], np.float32), (20, 1))
    for block_bytes in (8, 24, 1 << 20):
        monkeypatch.setattr(search, "_BLOCK_BYTES", block_bytes)
        assert nearest(values, np.array([1.0, 0.0]), 4).rows.tolist() == [0, 1, 2, 3]
