"""The cache is bounded in bytes and forgets what was unused for longest."""

from __future__ import annotations

import numpy as np

from teal.sources.vector_cache import VectorCache

ROW = np.ones(10, np.float32)


def test_the_least_recently_used_is_forgotten_first() -> None:
    cache = VectorCache(max_bytes=3 * ROW.nbytes)
    for text in "abc":
        cache.put(text, ROW)
    assert cache.get("a") is not None
    cache.put("d", ROW)
    assert cache.get("b") is None
    assert all(cache.get(text) is not None for text in "acd")


def test_putting_a_text_again_takes_no_more_room() -> None:
    cache = VectorCache(max_bytes=2 * ROW.nbytes)
    for value in range(5):
        cache.put("a", ROW * value)
    cache.put("b", ROW)
    assert len(cache) == 2
    found = cache.get("a")
    assert found is not None
    np.testing.assert_array_equal(found, ROW * 4)


def test_a_row_does_not_keep_its_batch_alive() -> None:
    cache = VectorCache(max_bytes=1000)
    batch = np.ones((5, 10), np.float32)
    cache.put("a", batch[0])
    batch[0] = 7
    found = cache.get("a")
    assert found is not None
    assert found.base is None
    np.testing.assert_array_equal(found, ROW)


def test_a_vector_larger_than_the_cache_is_not_kept() -> None:
    cache = VectorCache(max_bytes=8)
    cache.put("a", ROW)
    assert len(cache) == 0
