"""Two points are equal if an application cannot tell them apart: by the distance, the datatype and the shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from teal.domain.observed import CollectionState
from teal.domain.schema import Datatype, DenseVector, Distance
from teal.migration.copying.equality import same
from teal.qdrant import wire
from teal.qdrant.wire import Point
from tests.unit.domain.builders import dense, schema, state

ROW = np.array([0.1, 0.7, -0.2, 0.4], dtype=np.float32)
BYTES = np.array([10, 200, 30, 40], dtype=np.float32)


def point(row: Any) -> Point:
    return Point(wire.raw_id(1), (), wire.dense_vectors([row])[0])


def multi(*rows: Any) -> Point:
    """A point with a multivector, as a server sends it."""
    matrix = np.array(rows, dtype="<f4")
    return Point(wire.raw_id(1), (), multivector(matrix))


def multivector(matrix: Any) -> bytes:
    vectors = [{"data": [row.tobytes()]} for row in matrix]
    output = wire._VectorOutput(multi_dense={"vectors": vectors})
    return bytes(wire._Vectors(vector=output.SerializeToString()).SerializeToString())


def side(vector: DenseVector) -> CollectionState:
    return state(schema(vector))


@pytest.mark.parametrize("distance", [Distance.DOT, Distance.EUCLID, Distance.MANHATTAN])
def test_a_longer_vector_is_another_one_but_by_cosine(distance: Distance) -> None:
    assert not same(point(ROW), point(7 * ROW), side(dense(distance=distance)))
    assert same(point(ROW), point(ROW), side(dense(distance=distance)))
    assert same(point(ROW), point(7 * ROW), side(dense(distance=Distance.COSINE)))


def test_another_direction_is_another_vector_by_any() -> None:
    other = ROW[::-1].copy()
    for distance in Distance:
        assert not same(point(ROW), point(other), side(dense(distance=distance)))


def test_what_one_side_keeps_only_the_direction_of() -> None:
    """A copy from Dot to Cosine is equal to what it was made of."""
    cosine, dot = side(dense(distance=Distance.COSINE)), side(dense(distance=Distance.DOT))
    unit = ROW / np.linalg.norm(ROW)
    assert same(point(7 * ROW), point(unit), dot, cosine)
    assert not same(point(7 * ROW), point(unit), dot)


@pytest.mark.parametrize(
    ("datatype", "within", "beyond"),
    [(Datatype.FLOAT32, 5e-6, 1e-4), (Datatype.FLOAT16, 1e-3, 1e-2), (Datatype.UINT8, 1.0, 2.0)],
)
@pytest.mark.parametrize("distance", [Distance.DOT, Distance.EUCLID])
def test_values_within_the_precision_of_the_datatype(
    datatype: Datatype, within: float, beyond: float, distance: Distance
) -> None:
    row, kept = (BYTES if datatype is Datatype.UINT8 else ROW), side(dense(distance=distance, datatype=datatype))
    assert same(point(row), point(row + np.float32(within)), kept)
    assert not same(point(row), point(row + np.float32(beyond)), kept)


def test_bytes_of_a_cosine_collection_are_values() -> None:
    kept = side(dense(distance=Distance.COSINE, datatype=Datatype.UINT8))
    assert not same(point(BYTES), point(BYTES / 2), kept)
    assert not same(point(BYTES), point(BYTES[::-1].copy()), kept)


@pytest.mark.parametrize("distance", Distance)
def test_a_multivector_with_another_number_of_rows(distance: Distance) -> None:
    kept = side(dense(distance=distance, multivector="max_sim"))
    assert not same(multi(ROW, ROW), multi(ROW, ROW, ROW), kept)
    assert same(multi(ROW, 2 * ROW), multi(ROW, 2 * ROW), kept)


def test_the_rows_of_a_multivector_are_compared_one_by_one() -> None:
    kept = side(dense(distance=Distance.COSINE, multivector="max_sim"))
    assert same(multi(ROW, ROW), multi(ROW, 9 * ROW), kept)
    assert not same(multi(ROW, ROW[::-1]), multi(ROW[::-1], ROW), kept)


def test_without_sides_only_the_payload_counts() -> None:
    assert same(point(ROW), point(BYTES))
