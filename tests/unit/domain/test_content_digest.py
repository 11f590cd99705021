"""One digest for one content, however it was sent, and another for any other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from teal.domain.columns import NO_DIGEST
from teal.domain.content_digest import as_stored, content_digest
from teal.domain.schema import Datatype, Distance

DENSE = np.array([0.5, -1.0, 0.25], np.float32)
DISTANCES = list(Distance)


def test_equal_contents_have_equal_digests() -> None:
    one = content_digest(b"p", {"a": DENSE, "b": DENSE * 2}, {"s": {1: 0.5, 9: 0.25}, "t": {}})
    other = content_digest(b"p", {"b": DENSE * 2, "a": DENSE.copy()}, {"t": {}, "s": {9: 0.25, 1: 0.5}})
    assert one == other
    assert 0 < one < 1 << 64


def test_an_absent_vector_is_as_one_that_is_not_named() -> None:
    assert content_digest(b"p", {"a": None}, {"s": None}) == content_digest(b"p", {}, {})


def test_different_contents_have_different_digests() -> None:
    matrix = np.array([[1, 2], [3, 4]], np.float32)
    contents = [
        (b"p", {}, {}),
        (b"q", {}, {}),
        (b"", {"": DENSE}, {}),
        (b"p", {"": DENSE}, {}),
        (b"p", {"": DENSE * 7}, {}),
        (b"p", {"": np.nextafter(DENSE, np.float32(9))}, {}),
        (b"p", {"a": DENSE}, {}),
        (b"p", {"a": DENSE[:2]}, {}),
        (b"p", {"a": matrix}, {}),
        (b"p", {"a": matrix.reshape(1, 4)}, {}),
        (b"p", {"a": matrix.ravel()}, {}),
        (b"p", {"a": DENSE, "b": DENSE}, {}),
        (b"p", {}, {"a": {}}),
        (b"p", {}, {"a": {1: 0.5}}),
        (b"p", {}, {"a": {2: 0.5}}),
        (b"p", {}, {"a": {1: 0.25}}),
        (b"p", {}, {"b": {1: 0.5}}),
    ]
    digests = [content_digest(*content) for content in contents]
    assert len(set(digests)) == len(contents)
    assert NO_DIGEST not in digests


def test_no_digest_is_never_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    class Zero:
        def update(self, part: bytes) -> None:
            """Whatever it is."""

        def digest(self) -> bytes:
            return bytes(8)

    monkeypatch.setattr("teal.domain.content_digest.hashlib.blake2b", lambda **_: Zero())
    assert content_digest(b"p", {}, {}) != NO_DIGEST


numbers = st.floats(-1e6, 1e6, width=32).filter(lambda number: number == 0 or abs(number) > 1e-6)
vectors = hnp.arrays(np.float32, st.integers(1, 40), elements=numbers)


@given(vectors, st.sampled_from(DISTANCES), st.sampled_from([Datatype.FLOAT32, Datatype.UINT8]))
def test_what_is_stored_is_stored_as_it_is(vector: np.ndarray, distance: Distance, datatype: Datatype) -> None:
    stored = as_stored(vector, distance, datatype)
    assert stored.dtype == np.float32
    assert stored.tobytes() == as_stored(stored, distance, datatype).tobytes()


@given(vectors, st.sampled_from([d for d in DISTANCES if d is not Distance.COSINE]))
def test_lengths_are_kept_unless_cosine(vector: np.ndarray, distance: Distance) -> None:
    assert as_stored(vector, distance, Datatype.FLOAT32).tobytes() == vector.tobytes()


@given(vectors)
def test_cosine_has_the_length_one(vector: np.ndarray) -> None:
    length = np.linalg.norm(as_stored(vector, Distance.COSINE, Datatype.FLOAT32).astype(np.float64))
    assert length == pytest.approx(1, abs=1e-6) if np.any(np.abs(vector) > 1e-3) else True


def test_each_row_of_a_multivector_is_normalised() -> None:
    stored = as_stored(np.array([[3, 4], [0, 0], [0, 5]], np.float32), Distance.COSINE, Datatype.FLOAT32)
    assert stored == pytest.approx(np.array([[0.6, 0.8], [0, 0], [0, 1]]))


def test_datatypes_round() -> None:
    vector = np.array([0.1, 2.9, 300, -7, -0.5], np.float32)
    half = as_stored(vector, Distance.DOT, Datatype.FLOAT16)
    assert half.tolist() == [float(np.float16(each)) for each in vector]
    whole = as_stored(np.append(vector, np.float32(np.nan)), Distance.COSINE, Datatype.UINT8)
    assert whole.tobytes() == np.array([0, 2, 255, 0, 0, 0], np.float32).tobytes(), "no zero is negative"
