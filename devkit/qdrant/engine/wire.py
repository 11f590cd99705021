"""Points in protobuf's wire format, written without a message object for each vector.

A protobuf message is the concatenation of its fields. So the vector of a point, by far its largest part, is
packed directly into its field and appended to the rest of the point. For 768 dimensions this halves the cost
compared with message objects, and reading, the slow side of a copy, stays faster than the clients.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

import qdrant_edge as edge
from qdrant_client import grpc

_LENGTH_DELIMITED = 2
_VECTOR, _NAMED = 1, 2  # fields of VectorsOutput
_DENSE = 101  # field of VectorOutput
_DATA = 1  # field of DenseVector
_ENTRIES, _KEY, _VALUE = 1, 1, 2  # a map is a repeated field of entries
_UUID_ID = b"\x12\x24"  # a `PointId` whose `uuid`, 36 bytes, follows
_SCORE = struct.Struct("<f")


def varint(number: int) -> bytes:
    """An unsigned integer in groups of seven bits, the lowest first."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


@cache
def _head(field: int, length: int) -> bytes:
    return varint(field << 3 | _LENGTH_DELIMITED) + varint(length)


def delimited(field: int, content: bytes) -> bytes:
    """`content` as the length-delimited field `field`."""
    return _head(field, len(content)) + content


@cache
def _floats(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}f")


def floats(vector: grpc.DenseVector) -> tuple[float, ...]:
    """The numbers of a dense vector; the message's own sequence is three times slower to read."""
    packed, count = vector.SerializeToString(), len(vector.data)
    return _floats(count).unpack_from(packed, len(packed) - 4 * count)


def vectors_output(vector: Any) -> bytes:
    """A point's vectors, as the engine gives them, in the form of a `VectorsOutput`."""
    if not isinstance(vector, dict):
        return delimited(_VECTOR, _vector_output(vector))
    entries = (
        delimited(_ENTRIES, delimited(_KEY, name.encode()) + delimited(_VALUE, _vector_output(each)))
        for name, each in vector.items()
    )
    return delimited(_NAMED, b"".join(entries))


def _vector_output(vector: Any) -> bytes:
    if isinstance(vector, edge.SparseVector):
        sparse = grpc.SparseVector(values=vector.values, indices=vector.indices)
        return bytes(grpc.VectorOutput(sparse=sparse).SerializeToString())
    if vector and isinstance(vector[0], list):
        rows = grpc.MultiDenseVector(vectors=[grpc.DenseVector(data=row) for row in vector])
        return bytes(grpc.VectorOutput(multi_dense=rows).SerializeToString())
    return delimited(_DENSE, delimited(_DATA, _floats(len(vector)).pack(*vector)))


def scored(point: Any, score: float, version: int) -> bytes:
    """A `ScoredPoint` of these three alone: what a scan of versions consists of."""
    key = b"\x08" + varint(point) if isinstance(point, int) else _UUID_ID + str(point).encode()
    number = b"\x28" + varint(version) if version else b""
    return delimited(1, key) + b"\x1d" + _SCORE.pack(score) + number


def plain(value: grpc.Value) -> Any:
    """A payload value as a Python value; integers and floats stay distinct."""
    kind = value.WhichOneof("kind")
    if kind == "list_value":
        return [plain(each) for each in value.list_value.values]
    if kind == "struct_value":
        return plain_map(value.struct_value.fields)
    return None if kind in {None, "null_value"} else getattr(value, kind)


def plain_map(fields: Any) -> dict[str, Any]:
    return {key: plain(value) for key, value in fields.items()}


def fill_map(fields: Any, payload: dict[str, Any]) -> None:
    """Write `payload` into a message's map of values."""
    for key, value in payload.items():
        fill(fields[key], value)


def fill(message: grpc.Value, value: Any) -> None:
    """Write `value` into a `Value` message."""
    if isinstance(value, str):
        message.string_value = value
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, int):
        _fill_int(message, value)
    elif isinstance(value, float):
        message.double_value = value
    elif isinstance(value, dict):
        message.struct_value.SetInParent()
        fill_map(message.struct_value.fields, value)
    elif isinstance(value, list):
        message.list_value.SetInParent()
        for each in value:
            fill(message.list_value.values.add(), each)
    else:
        message.null_value = grpc.NullValue.NULL_VALUE


def _fill_int(message: grpc.Value, value: int) -> None:
    if -(2**63) <= value < 2**63:
        message.integer_value = value
    else:
        message.double_value = float(value)  # the protocol has no unsigned 64-bit value
