"""Which points a filter means, in both of Qdrant's spellings. A condition that is not known here is an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from qdrant_client.local.siphash import point_id_slice

from teal.qdrant import wire
from teal.qdrant.wire import RawId
from tests.unit.migration.fake_qdrant.replica import Stored

Meant = Callable[[RawId, Stored], bool]


def everything(_: RawId, __: Stored) -> bool:
    return True


def of_grpc(found: Any) -> Meant:
    """A `Filter` of the protocol."""
    assert not found.should, "not a filter that is understood here"
    must = [_grpc_condition(each) for each in found.must]
    must_not = [_grpc_condition(each) for each in found.must_not]
    return _all_of(must, must_not)


def of_rest(found: Mapping[str, Any] | None) -> Meant:
    """A filter as JSON."""
    given = dict(found or {})
    must = [_rest_condition(each) for each in given.pop("must", ())]
    must_not = [_rest_condition(each) for each in given.pop("must_not", ())]
    assert not given, f"not a filter that is understood here: {given}"
    return _all_of(must, must_not)


def _all_of(must: list[Meant], must_not: list[Meant]) -> Meant:
    return lambda point, stored: (
        all(each(point, stored) for each in must) and not any(each(point, stored) for each in must_not)
    )


def _grpc_condition(condition: Any) -> Meant:
    match condition.WhichOneof("condition_one_of"):
        case "has_id":
            return _among({each.SerializeToString() for each in condition.has_id.has_id})
        case "has_vector":
            return _with_vector(condition.has_vector.has_vector)
        case "slice":
            return _in_slice(condition.slice.total, condition.slice.index)
        case "filter":
            return of_grpc(condition.filter)
        case "field" if condition.field.HasField("range"):
            return _at_least(condition.field.key, condition.field.range.gte)
    raise NotImplementedError(str(condition))


def _rest_condition(condition: Mapping[str, Any]) -> Meant:
    match condition:
        case {"has_id": ids}:
            return _among({wire.raw_id(each) for each in ids})
        case {"has_vector": name}:
            return _with_vector(name)
        case {"slice": {"total": total, "index": index}}:
            return _in_slice(total, index)
    raise NotImplementedError(str(condition))


def _among(ids: set[RawId]) -> Meant:
    return lambda point, _: point in ids


def _with_vector(name: str) -> Meant:
    return lambda _, stored: wire.has_vector(stored.vectors, name)


def _at_least(key: str, least: float) -> Meant:
    def meant(_: RawId, stored: Stored) -> bool:
        value = wire.payload_value(stored.payload, key)
        return isinstance(value, int | float) and value >= least

    return meant


def _in_slice(total: int, index: int) -> Meant:
    return lambda point, _: point_id_slice(wire.plain_id(point), total) == index
