"""The embedded Qdrant's own formats: short decimals, the name at the head of a message, points on the wire."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy import float32
from qdrant_client import grpc

from devkit.qdrant.engine import wire
from devkit.qdrant.engine.floats import shortest
from devkit.qdrant.errors import QdrantError
from devkit.qdrant.front.grpc import collection_name

NORMAL = st.floats(width=32, allow_subnormal=False, allow_nan=False, allow_infinity=False)


@given(st.lists(NORMAL))
def test_a_float_is_as_short_as_its_32_bits_allow(values: list[float]) -> None:
    assert shortest(values) == [float(str(float32(value))) for value in values]


@given(st.lists(st.floats(width=32, allow_nan=False)))
def test_a_shortened_float_reads_back_as_the_same(values: list[float]) -> None:
    assert [float32(value) for value in shortest(values)] == values


@given(st.text(min_size=1), st.integers(0, 2**63))
def test_the_name_is_read_without_decoding_the_message(name: str, timeout: int) -> None:
    message = grpc.UpsertPoints(collection_name=name, wait=True, timeout=timeout)
    assert collection_name(message.SerializeToString()) == name
    later = grpc.UpsertPoints(timeout=timeout).SerializeToString() + message.SerializeToString()
    assert collection_name(later) == name


@pytest.mark.parametrize("body", [b"", b"\x0a", b"\x10\x80", grpc.UpsertPoints(wait=True).SerializeToString()])
def test_a_message_without_a_name_is_refused(body: bytes) -> None:
    with pytest.raises(QdrantError):
        collection_name(body)


@given(st.lists(NORMAL, min_size=1))
def test_a_packed_vector_is_the_message_it_stands_for(vector: list[float]) -> None:
    packed = grpc.VectorsOutput.FromString(wire.vectors_output(vector))
    assert list(packed.vector.dense.data) == vector
    named = grpc.VectorsOutput.FromString(wire.vectors_output({"a": vector, "b": [vector, vector]}))
    assert list(named.vectors.vectors["a"].dense.data) == vector
    assert [list(row.data) for row in named.vectors.vectors["b"].multi_dense.vectors] == [vector, vector]
    assert list(wire.floats(grpc.DenseVector(data=vector))) == vector


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_a_payload_survives_the_wire_with_its_types(payload: dict[str, object]) -> None:
    message = grpc.RetrievedPoint()
    wire.fill_map(message.payload, payload)
    read = wire.plain_map(grpc.RetrievedPoint.FromString(message.SerializeToString()).payload)
    assert json.dumps(read, sort_keys=True) == json.dumps(payload, sort_keys=True)  # tells 1 from 1.0 and True
