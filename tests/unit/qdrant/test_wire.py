"""Bytes that pass through Teal are those that Qdrant's own messages would have made of them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np
import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import assume, given
from hypothesis import strategies as st
from qdrant_client import grpc as qdrant

from teal.qdrant import wire

UUID_TEXT = "5c56c793-69f3-4fbf-87e6-c4bf54c28c26"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
payloads = st.dictionaries(st.text(max_size=6), json_values, max_size=5)


def value(plain: Any) -> Any:
    if plain is None:
        return qdrant.Value(null_value=0)
    if isinstance(plain, bool):
        return qdrant.Value(bool_value=plain)
    if isinstance(plain, int):
        return qdrant.Value(integer_value=plain)
    if isinstance(plain, float):
        return qdrant.Value(double_value=plain)
    if isinstance(plain, str):
        return qdrant.Value(string_value=plain)
    if isinstance(plain, list):
        return qdrant.Value(list_value=qdrant.ListValue(values=[value(each) for each in plain]))
    return qdrant.Value(struct_value=qdrant.Struct(fields={key: value(each) for key, each in plain.items()}))


def entries(payload: dict[str, Any]) -> list[bytes]:
    point = qdrant.RetrievedPoint(payload={key: value(each) for key, each in payload.items()})
    return list(wire.RetrievedPoint.FromString(point.SerializeToString()).payload)


def dense(*elements: float) -> Any:
    return qdrant.VectorOutput(dense=qdrant.DenseVector(data=elements))


class TestMessages:
    @pytest.mark.parametrize("name", [name for name in wire._MESSAGES if "." not in name])
    def test_fields_are_those_of_qdrant(self, name: str) -> None:
        theirs = getattr(qdrant, name).DESCRIPTOR.fields_by_name
        for field in wire._DERIVED[name].DESCRIPTOR.fields:
            assert field.number == theirs[field.name].number
            assert field.is_repeated == theirs[field.name].is_repeated
            length_delimited = (FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_BYTES)
            if field.type in length_delimited:
                # A nested message, a map entry, text or packed floats: all of them are length and bytes.
                packed_floats = theirs[field.name].type == FieldDescriptor.TYPE_FLOAT and field.is_repeated
                text = theirs[field.name].type == FieldDescriptor.TYPE_STRING
                assert packed_floats or text or theirs[field.name].message_type is not None

    @given(payload=payloads, number=st.integers(0, 2**64 - 1), row=st.lists(st.floats(width=32, allow_nan=False)))
    def test_a_point_passes_through_unchanged(
        self, payload: dict[str, Any], number: int, row: list[float]
    ) -> None:
        fetched = qdrant.RetrievedPoint(
            id=qdrant.PointId(num=number),
            payload={key: value(each) for key, each in payload.items()},
            vectors=qdrant.VectorsOutput(vectors=qdrant.NamedVectorsOutput(vectors={"a": dense(*row)})),
        )
        raw = wire.RetrievedPoint.FromString(fetched.SerializeToString())
        made = wire.PointStruct(id=raw.id, payload=raw.payload, vectors=raw.vectors)
        sent = qdrant.PointStruct.FromString(made.SerializeToString())
        assert sent.id == fetched.id
        assert sent.payload == fetched.payload
        assert list(sent.vectors.vectors.vectors["a"].dense.data) == row

    def test_requests_read_as_qdrants_own(self) -> None:
        ids = [wire.raw_id(7), wire.raw_id(UUID_TEXT)]
        request = wire.QueryPoints(
            collection_name="c", filter={"must": [{"has_id": {"has_id": ids}}]}, limit=2, using="v"
        )
        read = qdrant.QueryPoints.FromString(request.SerializeToString())
        assert [each.num or each.uuid for each in read.filter.must[0].has_id.has_id] == [7, UUID_TEXT]
        delete = wire.DeletePoints(collection_name="c", wait=True, points={"points": {"ids": ids}})
        assert len(qdrant.DeletePoints.FromString(delete.SerializeToString()).points.points.ids) == 2
        upsert = wire.UpsertPoints(collection_name="c", update_mode=qdrant.UpdateMode.InsertOnly)
        assert (
            qdrant.UpsertPoints.FromString(upsert.SerializeToString()).update_mode == qdrant.UpdateMode.InsertOnly
        )


class TestIds:
    @given(st.integers(0, 2**64 - 1) | st.uuids().map(str))
    def test_round_trip(self, plain: int | str) -> None:
        assert wire.plain_id(wire.raw_id(plain)) == plain
        assert wire.id_text(wire.raw_id(plain)) == str(plain)

    def test_zero_is_not_an_empty_id(self) -> None:
        assert wire.raw_id(0) != b""
        assert wire.plain_id(wire.raw_id(0)) == 0

    def test_every_spelling_of_a_uuid_is_one_id(self) -> None:
        assert wire.raw_id(UUID_TEXT.upper().replace("-", "")) == wire.raw_id(UUID(UUID_TEXT))

    @pytest.mark.parametrize("wrong", [-1, 2**64, "not a uuid"])
    def test_what_is_no_id_is_refused(self, wrong: int | str) -> None:
        with pytest.raises(ValueError, match=r".+"):
            wire.raw_id(wrong)


class TestPayload:
    @given(payloads)
    def test_every_field_reads_back(self, payload: dict[str, Any]) -> None:
        found = entries(payload)
        for key, expected in payload.items():
            if "." not in key:
                assert wire.payload_value(found, key) == expected

    def test_nested_fields_and_absent_ones(self) -> None:
        found = entries({"text": "short", "tex": "no", "doc": {"body": {"text": "deep"}, "list": [{"text": 1}]}})
        assert wire.payload_value(found, "doc.body.text") == "deep"
        assert wire.payload_value(found, "doc.body.missing") is None
        assert wire.payload_value(found, "doc.list.text") is None
        assert wire.payload_value(found, "text.more") is None
        assert wire.payload_value(found, "te") is None

    @given(payloads, st.randoms())
    def test_digest_does_not_depend_on_order(self, payload: dict[str, Any], random: Any) -> None:
        def shuffled(plain: Any) -> Any:
            if isinstance(plain, list):
                return [shuffled(each) for each in plain]
            if isinstance(plain, dict):
                keys = list(plain)
                random.shuffle(keys)
                return {key: shuffled(plain[key]) for key in keys}
            return plain

        # Hand-written bytes, because protobuf's own maps forget the order in which they were filled.
        assert wire.canonical_payload(ordered_entries(payload)) == wire.canonical_payload(
            ordered_entries(shuffled(payload))
        )

    @given(payloads, payloads)
    def test_digest_tells_payloads_apart(self, one: dict[str, Any], other: dict[str, Any]) -> None:
        assume(one != other)
        assert wire.canonical_payload(entries(one)) != wire.canonical_payload(entries(other))


def field_bytes(number: int, content: bytes) -> bytes:
    length, prefix = len(content), bytearray([number << 3 | 2])
    while length > 127:
        prefix.append(length & 127 | 128)
        length >>= 7
    return bytes([*prefix, length]) + content


def ordered_entry(key: str, plain: Any) -> bytes:
    head = field_bytes(1, key.encode()) if key else b""
    return head + field_bytes(2, ordered_value(plain))


def ordered_value(plain: Any) -> bytes:
    if isinstance(plain, dict):
        return field_bytes(6, b"".join(field_bytes(1, ordered_entry(k, v)) for k, v in plain.items()))
    if isinstance(plain, list):
        return field_bytes(7, b"".join(field_bytes(1, ordered_value(each)) for each in plain))
    return bytes(value(plain).SerializeToString())


def ordered_entries(payload: dict[str, Any]) -> list[bytes]:
    return [ordered_entry(key, each) for key, each in payload.items()]


class TestVectors:
    @pytest.mark.parametrize("name", ["", "text"])
    def test_dense_rows_read_as_qdrants_own(self, name: str) -> None:
        rows = np.random.default_rng(7).random((3, 768), dtype=np.float32)
        for raw, row in zip(wire.dense_vectors(rows, name), rows, strict=True):
            parsed = qdrant.Vectors.FromString(raw)
            vector = parsed.vectors.vectors[name] if name else parsed.vector
            assert np.array_equal(np.array(vector.dense.data, dtype=np.float32), row)
            found = wire.read_dense(raw, name)
            assert found is not None
            assert np.array_equal(found, row)

    def test_no_rows_make_no_vectors(self) -> None:
        assert wire.dense_vectors(np.empty((0, 4))) == []

    def test_one_row_alone_is_not_a_matrix(self) -> None:
        with pytest.raises(ValueError, match="must be"):
            wire.dense_vectors(np.zeros(4))

    def test_replacing_one_vector_keeps_the_others(self) -> None:
        sparse = qdrant.VectorOutput(sparse=qdrant.SparseVector(indices=[1, 9], values=[0.5, 1.5]))
        named = qdrant.NamedVectorsOutput(vectors={"old": dense(1, 2), "words": sparse, "text": dense(3, 4)})
        before = qdrant.VectorsOutput(vectors=named).SerializeToString()
        after = qdrant.Vectors.FromString(wire.with_dense(before, "text", [5, 6, 7])).vectors.vectors
        assert sorted(after) == ["old", "text", "words"]
        assert list(after["text"].dense.data) == [5, 6, 7]
        assert list(after["old"].dense.data) == [1, 2]
        assert list(after["words"].sparse.indices) == [1, 9]

    def test_replacing_the_unnamed_vector(self) -> None:
        before = qdrant.VectorsOutput(vector=dense(1, 2)).SerializeToString()
        assert wire.with_dense(before, "", [3.0, 4.0]) == wire.dense_vectors([[3.0, 4.0]])[0]

    def test_a_name_beside_the_unnamed_vector(self) -> None:
        before = qdrant.VectorsOutput(vector=dense(1, 2)).SerializeToString()
        after = qdrant.Vectors.FromString(wire.with_dense(before, "text", [3]))
        assert sorted(after.vectors.vectors) == ["", "text"]

    def test_the_unnamed_vector_of_a_collection_with_names(self) -> None:
        named = qdrant.NamedVectorsOutput(vectors={"": dense(1, 2), "text": dense(3)})
        before = qdrant.VectorsOutput(vectors=named).SerializeToString()
        after = wire.with_dense(before, "", [8, 9])
        assert wire.read_dense(after, "").tolist() == [8, 9]
        assert wire.has_vector(after, "text")

    def test_adding_to_a_point_without_vectors(self) -> None:
        assert wire.with_dense(wire.NO_VECTORS, "text", [1, 2]) == wire.dense_vectors([[1, 2]], "text")[0]
        assert wire.with_dense(b"", "", [1, 2]) == wire.dense_vectors([[1, 2]])[0]

    def test_shapes(self) -> None:
        multi = qdrant.VectorOutput(
            multi_dense=qdrant.MultiDenseVector(
                vectors=[qdrant.DenseVector(data=[1, 2]), qdrant.DenseVector(data=[3, 4])]
            )
        )
        sparse = qdrant.VectorOutput(sparse=qdrant.SparseVector(indices=[1], values=[2.0]))
        named = qdrant.NamedVectorsOutput(vectors={"m": multi, "s": sparse})
        raw = qdrant.VectorsOutput(vectors=named).SerializeToString()
        assert wire.read_dense(raw, "m").tolist() == [[1, 2], [3, 4]]
        assert wire.read_dense(raw, "s") is None
        assert wire.read_dense(raw, "absent") is None
        assert wire.has_vector(raw, "s")
        assert not wire.has_vector(raw, "")
        assert not wire.has_vector(wire.NO_VECTORS, "")

    def test_the_form_of_older_servers(self) -> None:
        flat = qdrant.VectorOutput(data=[1, 2, 3, 4])
        multi = qdrant.VectorOutput(data=[1, 2, 3, 4], vectors_count=2)
        sparse = qdrant.VectorOutput(data=[1, 2], indices=qdrant.SparseIndices(data=[5, 6]))
        named = qdrant.NamedVectorsOutput(vectors={"f": flat, "m": multi, "s": sparse})
        raw = qdrant.VectorsOutput(vectors=named).SerializeToString()
        assert wire.read_dense(raw, "f").tolist() == [1, 2, 3, 4]
        assert wire.read_dense(raw, "m").tolist() == [[1, 2], [3, 4]]
        assert wire.read_dense(raw, "s") is None


class TestContentVersions:
    def point(self, names: list[str], payload: dict[str, Any]) -> wire.Point:
        vectors = [(name, dense(len(name), 1)) for name in names]
        raw = b"".join(
            field_bytes(
                2, field_bytes(1, field_bytes(1, name.encode()) + field_bytes(2, vector.SerializeToString()))
            )
            for name, vector in vectors
        )
        return wire.Point(wire.raw_id(1), ordered_entries(payload), raw)

    def test_order_is_no_change(self) -> None:
        one = self.point(["a", "bb"], {"x": 1, "y": {"p": 1, "q": 2}})
        other = self.point(["bb", "a"], {"y": {"q": 2, "p": 1}, "x": 1})
        assert one.vectors != other.vectors
        assert wire.content_version(one) == wire.content_version(other)

    @pytest.mark.parametrize(
        ("names", "payload"),
        [(["a"], {"x": 1}), (["a", "bb"], {"x": 2}), (["a", "bb"], {"x": 1, "y": None}), ([], {})],
    )
    def test_any_other_content_is_one(self, names: list[str], payload: dict[str, Any]) -> None:
        before = wire.content_version(self.point(["a", "bb"], {"x": 1}))
        assert wire.content_version(self.point(names, payload)) != before
        assert 0 <= before < 2**63
