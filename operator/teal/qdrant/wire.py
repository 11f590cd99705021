"""Points as bytes: ids, vectors and payload entries pass through Teal without being decoded.

The messages here have the field numbers of Qdrant's own protocol, but contain `bytes` where Qdrant has a nested
message. Both have the same encoding, so everything that a newer server stores in a vector or a payload reaches
the other collection unchanged, and a point costs microseconds, because its values are not parsed. The types are
derived from the descriptors of qdrant-client when this module is imported; no number is typed by hand.

An id is the serialized `PointId`, a `RawId`: hashable, and equal exactly when the ids are equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

import numpy as np
import numpy.typing as npt
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto
from qdrant_client import grpc as qdrant

from teal.domain.columns import CONTENT, is_content
from teal.domain.content_digest import content_digest as digest_of
from teal.domain.schema import UNNAMED

RawId = bytes
Floats = npt.NDArray[np.float32]

RAW: Final = "bytes in place of whatever the field holds"
SAME: Final = "the field as it is"


class RawPoint(Protocol):
    """A point in transit: `payload` contains serialized map entries, `vectors` a serialized `Vectors`."""

    @property
    def id(self) -> RawId: ...
    @property
    def payload(self) -> Sequence[bytes]: ...
    @property
    def vectors(self) -> bytes: ...


@dataclass(slots=True)
class Point:
    """A `RawPoint` made here, for example after embedding; a fetched point is a message with the same fields."""

    id: RawId
    payload: Sequence[bytes]
    vectors: bytes


# The messages

_MESSAGES: Final[Mapping[str, Mapping[str, str]]] = {
    "RetrievedPoint": {"id": RAW, "payload": RAW, "vectors": RAW},
    "PointStruct": {"id": RAW, "payload": RAW, "vectors": RAW},
    "ScoredPoint": {"id": RAW, "score": SAME, "version": SAME},
    "GetPoints": {
        "collection_name": SAME,
        "ids": RAW,
        "with_payload": RAW,
        "with_vectors": RAW,
        "read_consistency": RAW,
    },
    "GetResponse": {"result": "RetrievedPoint"},
    "ScrollPoints": {
        "collection_name": SAME,
        "filter": RAW,
        "offset": RAW,
        "limit": SAME,
        "with_payload": RAW,
        "with_vectors": RAW,
    },
    "ScrollResponse": {"next_page_offset": RAW, "result": "RetrievedPoint"},
    "HasIdCondition": {"has_id": RAW},
    "Condition": {"has_id": "HasIdCondition", "filter": RAW, "slice": RAW},
    "Filter": {"must": "Condition"},
    "PrefetchQuery": {"filter": "Filter", "limit": SAME},
    "QueryPoints": {
        "collection_name": SAME,
        "prefetch": "PrefetchQuery",
        "query": RAW,
        "using": SAME,
        "filter": "Filter",
        "params": RAW,
        "limit": SAME,
        "with_payload": RAW,
        "with_vectors": RAW,
    },
    "QueryResponse": {"result": "ScoredPoint"},
    "UpsertPoints": {"collection_name": SAME, "wait": SAME, "points": "PointStruct", "update_mode": SAME},
    "PointsIdsList": {"ids": RAW},
    "PointsSelector": {"points": "PointsIdsList"},
    "DeletePoints": {"collection_name": SAME, "wait": SAME, "points": "PointsSelector"},
    "DenseVector": {"data": RAW},
    "MultiDenseVector": {"vectors": "DenseVector"},
    "VectorOutput": {
        "data": RAW,
        "indices": RAW,
        "vectors_count": SAME,
        "dense": "DenseVector",
        "sparse": RAW,
        "multi_dense": "MultiDenseVector",
    },
    "NamedVectors": {"vectors": RAW},
    "Vectors": {"vector": RAW, "vectors": "NamedVectors"},
    "RetrievedPoint.PayloadEntry": {"key": RAW, "value": RAW},
}


def _derive() -> dict[str, Any]:
    package = "teal.wire"
    file = descriptor_pb2.FileDescriptorProto(name="teal/wire.proto", package=package, syntax="proto2")
    for name, fields in _MESSAGES.items():
        theirs = {field.name: field for field in _upstream(name).field}
        message = file.message_type.add(name=_flat(name))
        message.field.extend(_retyped(theirs[field], kind, package) for field, kind in fields.items())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{_flat(name)}"))
        for name in _MESSAGES
    }


def _retyped(field: FieldDescriptorProto, kind: str, package: str) -> FieldDescriptorProto:
    """Qdrant's own field, with its number and label, and the content that `kind` says."""
    ours = FieldDescriptorProto(name=field.name, number=field.number, label=field.label)
    if kind == RAW:
        ours.type = FieldDescriptorProto.TYPE_BYTES
    elif kind == SAME:
        enum = field.type == FieldDescriptorProto.TYPE_ENUM
        ours.type = FieldDescriptorProto.TYPE_INT32 if enum else field.type
    else:
        ours.type = FieldDescriptorProto.TYPE_MESSAGE
        ours.type_name = f".{package}.{_flat(kind)}"
    return ours


def _upstream(name: str) -> DescriptorProto:
    outer, _, nested = name.partition(".")
    descriptor = getattr(qdrant, outer).DESCRIPTOR
    found = DescriptorProto()
    (descriptor.nested_types_by_name[nested] if nested else descriptor).CopyToProto(found)
    return found


def _flat(name: str) -> str:
    return name.rpartition(".")[2]


_DERIVED: Final = _derive()

RetrievedPoint: Any = _DERIVED["RetrievedPoint"]
PointStruct: Any = _DERIVED["PointStruct"]
GetPoints: Any = _DERIVED["GetPoints"]
GetResponse: Any = _DERIVED["GetResponse"]
ScrollPoints: Any = _DERIVED["ScrollPoints"]
ScrollResponse: Any = _DERIVED["ScrollResponse"]
QueryPoints: Any = _DERIVED["QueryPoints"]
QueryResponse: Any = _DERIVED["QueryResponse"]
UpsertPoints: Any = _DERIVED["UpsertPoints"]
DeletePoints: Any = _DERIVED["DeletePoints"]
Filter: Any = _DERIVED["Filter"]
_Vectors: Any = _DERIVED["Vectors"]
_VectorOutput: Any = _DERIVED["VectorOutput"]
_Entry: Any = _DERIVED["RetrievedPoint.PayloadEntry"]

NO_VECTORS: Final[bytes] = qdrant.Vectors(vectors=qdrant.NamedVectors()).SerializeToString()


# Ids


def raw_id(value: int | str | UUID) -> RawId:
    """The serialized id of the point with this number or UUID.

    Raises:
        ValueError: neither an unsigned 64-bit number nor a UUID.
    """
    if isinstance(value, int):
        return bytes(qdrant.PointId(num=value).SerializeToString())
    return bytes(qdrant.PointId(uuid=str(UUID(str(value)))).SerializeToString())


def plain(text: str) -> int | str:
    """The id whose `str` this is."""
    return int(text) if text.isdecimal() else text


def plain_id(raw: RawId) -> int | str:
    """The number, or the text of the UUID: the id as in REST."""
    parsed = qdrant.PointId.FromString(raw)
    return str(parsed.uuid) if parsed.WhichOneof("point_id_options") == "uuid" else int(parsed.num)


def id_text(raw: RawId) -> str:
    """The id for a message to people."""
    return str(plain_id(raw))


# Payload


def payload_value(entries: Iterable[bytes], path: str) -> Any:
    """One field of the payload of one point; `None` if it is null or absent. Other fields are not decoded.

    `path` is a key, or keys joined by dots for nested objects; it does not lead into lists.
    """
    key, *inner = path.split(".")
    value = _find(entries, key)
    if value is None:
        return None
    found = _plain(qdrant.Value.FromString(value))
    for part in inner:
        found = found.get(part) if isinstance(found, dict) else None
    return found


def canonical_payload(entries: Iterable[bytes]) -> bytes:
    """A checksum (16 bytes) that is the same for equal payloads, whatever the order of their maps at any depth."""
    return hashlib.blake2b(b"".join(sorted(map(_canonical, entries))), digest_size=16).digest()


def content_digest(point: RawPoint) -> int:
    """A digest of everything that a point holds, as `domain.content_digest` has it."""
    dense: dict[str, Floats | None] = {}
    sparse: dict[str, dict[int, float] | None] = {}
    for name, value in _named(point.vectors):
        output = _VectorOutput.FromString(value)
        if output.HasField("sparse") or output.HasField("indices"):
            sparse[name] = _sparse(value)
        else:
            dense[name] = _dense_rows(output)
    return digest_of(canonical_payload(point.payload), dense, sparse)


_SCALARS: Final = frozenset({0x08, 0x11, 0x18, 0x22, 0x28})
"""The first byte of a `Value` that is null, a double, an integer, a string or a boolean."""


def _is_scalar(entry: bytes) -> bool:
    """Whether a payload entry plainly holds one value without an order of its own; in doubt not."""
    key_end = 2 + entry[1]
    if entry[0] != 0x0A or entry[1] & 0x80 or len(entry) < key_end + 3 or entry[key_end] != 0x12:
        return False
    value = key_end + 2
    while entry[value - 1] & 0x80:
        value += 1
    return entry[value] in _SCALARS


def _canonical(entry: bytes) -> bytes:
    if _is_scalar(entry):
        return entry
    pair = _Entry.FromString(entry)
    value = qdrant.Value.FromString(pair.value)
    if value.WhichOneof("kind") not in ("struct_value", "list_value"):
        return entry
    return _entry(pair.key, value.SerializeToString(deterministic=True))


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    if kind in (None, "null_value"):
        return None
    if kind == "struct_value":
        return {key: _plain(field) for key, field in value.struct_value.fields.items()}
    if kind == "list_value":
        return [_plain(element) for element in value.list_value.values]
    return getattr(value, kind)


# Vectors


def dense_vectors(rows: npt.ArrayLike, name: str = UNNAMED) -> list[bytes]:
    """A serialized `Vectors` for every row of an (n, dimensions) array, each with one dense vector."""
    matrix = np.ascontiguousarray(rows, dtype="<f4")
    if matrix.ndim != 2:
        raise ValueError(f"rows must be (n, dimensions), not {matrix.shape}")
    step = matrix.shape[1] * 4
    # Every row has the same length, so the bytes before the floats are the same, too.
    head = _vectors_of(name, _dense(bytes(step)))[:-step] if step else _vectors_of(name, _dense(b""))
    data = matrix.tobytes()
    return [head + data[start : start + step] for start in range(0, len(matrix) * step, step or 1)]


def with_dense(vectors: bytes, name: str, row: npt.ArrayLike) -> bytes:
    """`vectors` with the dense vector `name` replaced or added; all others stay unchanged and are not decoded."""
    value = _dense(np.ascontiguousarray(row, dtype="<f4").tobytes())
    others = [(key, other) for key, other in _named(vectors) if key != name]
    if not others:
        return _vectors_of(name, value)
    entries = [_entry(key.encode(), other) for key, other in [*others, (name, value)]]
    return bytes(_Vectors(vectors={"vectors": entries}).SerializeToString())


def only(vectors: bytes, names: frozenset[str]) -> bytes:
    """`vectors` without those whose name is not in `names`; the others are not decoded."""
    kept = [(key, value) for key, value in _named(vectors) if key in names]
    if len(kept) == 1:
        return _vectors_of(*kept[0])
    entries = [_entry(key.encode(), value) for key, value in kept]
    return bytes(_Vectors(vectors={"vectors": entries}).SerializeToString())


def read_dense(vectors: bytes, name: str) -> Floats | None:
    """The vector `name`: shape (dimensions,), or (rows, dimensions) for a multivector.

    `None` if the point has no such vector, or has a sparse one of this name.
    """
    value = next((value for key, value in _named(vectors) if key == name), None)
    if value is None:
        return None
    output = _VectorOutput.FromString(value)
    sparse = output.HasField("sparse") or output.HasField("indices")
    return None if sparse else _dense_rows(output)


def _dense_rows(output: Any) -> Floats:
    if output.HasField("dense"):
        return _floats(output.dense.data)
    if output.HasField("multi_dense"):
        return np.stack([_floats(vector.data) for vector in output.multi_dense.vectors])
    flat = _floats(output.data)
    return flat.reshape(output.vectors_count, -1) if output.vectors_count else flat


def read_sparse(vectors: bytes, name: str) -> dict[int, float] | None:
    """The sparse vector `name`, index → value; `None` if the point has no sparse vector of this name."""
    value = next((value for key, value in _named(vectors) if key == name), None)
    if value is None:
        return None
    output = _VectorOutput.FromString(value)
    return _sparse(value) if output.HasField("sparse") or output.HasField("indices") else None


def _sparse(vector: bytes) -> dict[int, float]:
    output = qdrant.VectorOutput.FromString(vector)
    if output.HasField("sparse"):
        return dict(zip(output.sparse.indices, output.sparse.values, strict=True))
    return dict(zip(output.indices.data, output.data, strict=True))


def has_vector(vectors: bytes, name: str) -> bool:
    """Whether the point has a vector of any kind with this name (`""`: the unnamed one)."""
    return any(key == name for key, _ in _named(vectors))


def _named(vectors: bytes) -> Iterator[tuple[str, bytes]]:
    """The vectors by name, each still serialized."""
    holder = _Vectors.FromString(vectors)
    if holder.HasField("vector"):
        yield UNNAMED, holder.vector
    for entry in holder.vectors.vectors:
        pair = _Entry.FromString(entry)
        yield pair.key.decode(), pair.value


def _vectors_of(name: str, value: bytes) -> bytes:
    """A `Vectors` with only this vector."""
    if name == UNNAMED:
        return bytes(_Vectors(vector=value).SerializeToString())
    return bytes(_Vectors(vectors={"vectors": [_entry(name.encode(), value)]}).SerializeToString())


def _dense(data: bytes) -> bytes:
    return bytes(_VectorOutput(dense={"data": [data]}).SerializeToString())


def _floats(chunks: Iterable[bytes]) -> Floats:
    return np.frombuffer(b"".join(chunks), dtype="<f4")


# Versions


def content_version(point: RawPoint) -> int:
    """A checksum of the whole content of a point, for servers that return no version.

    It has 63 bits, and the highest is set: no sequence number is that large (`ledger.is_content`).
    """
    named = sorted((name.encode(), _in_order(value)) for name, value in _named(point.vectors))
    vectors = b"".join(_entry(name, value) for name, value in named)
    digest = hashlib.blake2b(canonical_payload(point.payload) + vectors, digest_size=8).digest()
    return CONTENT | int.from_bytes(digest, "big") >> 2


def as_read(points: Iterable[RawPoint], noted: Mapping[RawId, int]) -> dict[RawId, int]:
    """The versions of `points`, which were read after their versions were `noted`.

    A content could change in between and change back again, and would then look unchanged. So a checksum is made
    from the content that was read. A sequence number stays as it was noted, because it never comes back.
    """
    return {p.id: content_version(p) if is_content(noted[p.id]) else noted[p.id] for p in points}


def _in_order(vector: bytes) -> bytes:
    """A sparse vector sorted by index, because the order of indices has no meaning; any other vector unchanged."""
    output = _VectorOutput.FromString(vector)
    if not (output.HasField("sparse") or output.HasField("indices")):
        return vector
    pairs = sorted(_sparse(vector).items())
    return repr(pairs).encode()


# Map entries


def _entry(key: bytes, value: bytes) -> bytes:
    return bytes(_Entry(key=key, value=value).SerializeToString())


def _find(entries: Iterable[bytes], key: str) -> bytes | None:
    """The serialized value of `key`, found by the first bytes of its entry."""
    prefix = _Entry(key=key.encode()).SerializeToString()
    for entry in entries:
        if entry.startswith(prefix):
            return bytes(_Entry.FromString(entry).value)
    return None
