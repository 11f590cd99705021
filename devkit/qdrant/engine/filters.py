"""Filters: from the JSON of the REST interface to the engine's conditions.

Every condition of the engine is supported. An unknown one is refused: without it the filter would match, and
delete, more points than the client meant.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import qdrant_edge as edge

Json = dict[str, Any]

_UNKNOWN = (
    "Expected some form of condition, which can be a field condition (like "
    '{"key": ..., "match": ... }), or some other mentioned in the documentation: '
    "https://qdrant.tech/documentation/concepts/filtering/#filtering-conditions"
)


class BadFilterError(ValueError):
    """A filter that cannot be parsed; the text becomes part of the refusal."""


def read_filter(given: Json | None) -> edge.Filter | None:
    """The engine's filter, or None where nothing is filtered."""
    if not given:
        return None
    if unknown := set(given) - {"must", "should", "must_not", "min_should"}:
        raise BadFilterError(f"unknown field `{min(unknown)}`")
    at_least = given.get("min_should")
    return edge.Filter(
        must=_conditions(given.get("must")),
        should=_conditions(given.get("should")),
        must_not=_conditions(given.get("must_not")),
        min_should=edge.MinShould(_conditions(at_least["conditions"]) or [], at_least["min_count"])
        if at_least
        else None,
    )


def _conditions(given: Any) -> list[Any] | None:
    if given is None:
        return None
    return [read_condition(condition) for condition in (given if isinstance(given, list) else [given])]


def read_condition(given: Json) -> Any:
    """One condition of a filter."""
    if not isinstance(given, dict):
        raise BadFilterError(_UNKNOWN)
    for name, read in _CONDITIONS.items():
        if name in given:
            return read(given)
    if given.keys() & {"must", "should", "must_not", "min_should"}:
        return read_filter(given)
    raise BadFilterError(_UNKNOWN)


def slice_condition(total: int, index: int) -> Any:
    """The points in slice `index` of `total` equal slices of the id space."""
    return edge.SliceCondition(total, index)  # type: ignore[attr-defined]  # missing in the engine's stubs


def _slice(given: Json) -> Any:
    return slice_condition(given["slice"]["total"], given["slice"]["index"])


def _nested(given: Json) -> Any:
    nested = given["nested"]
    return edge.NestedCondition(nested["key"], read_filter(nested["filter"]) or edge.Filter())


_FIELD_READERS: dict[str, Callable[[Any], Any]] = {}


def _field(given: Json) -> Any:
    readings = {name: read(given[name]) for name, read in _FIELD_READERS.items() if given.get(name) is not None}
    if not readings:
        raise BadFilterError(_UNKNOWN)
    return edge.FieldCondition(given["key"], **readings)


_CONDITIONS: dict[str, Callable[[Json], Any]] = {
    "has_id": lambda given: edge.HasIdCondition(set(given["has_id"])),
    "slice": _slice,
    "has_vector": lambda given: edge.HasVectorCondition(given["has_vector"]),
    "is_empty": lambda given: (
        edge.IsEmptyCondition(given["is_empty"]["key"]) if "key" not in given else _field(given)
    ),
    "is_null": lambda given: (
        edge.IsNullCondition(given["is_null"]["key"]) if "key" not in given else _field(given)
    ),
    "nested": _nested,
    "key": _field,
}


def _match(given: Json) -> Any:
    for name, read in _MATCHES.items():
        if name in given:
            return read(given[name])
    raise BadFilterError(_UNKNOWN)


def _match_value(given: Any) -> Any:
    # The engine takes Python's own True for the integer 1, and numpy's for what it is.
    value: Any = np.bool_(given) if isinstance(given, bool) else given
    return edge.MatchValue(value)


_MATCHES: dict[str, Callable[[Any], Any]] = {
    "value": _match_value,
    "text": edge.MatchText,
    "text_any": edge.MatchTextAny,
    "phrase": edge.MatchPhrase,
    "prefix": edge.MatchPrefix,
    "substring": edge.MatchSubstring,
    "any": edge.MatchAny,
    "except": edge.MatchExcept,
}


def _range(given: Json) -> Any:
    bounds = {name: given[name] for name in ("gte", "gt", "lte", "lt") if given.get(name) is not None}
    dated = any(isinstance(value, str) for value in bounds.values())
    return edge.RangeDateTime(**bounds) if dated else edge.RangeFloat(**bounds)


def _count(given: Json) -> Any:
    return edge.ValuesCount(**{name: given.get(name) for name in ("lt", "gt", "lte", "gte")})


def _geo(given: Json) -> Any:
    return edge.GeoPoint(lon=given["lon"], lat=given["lat"])


def _line(given: Json) -> list[Any]:
    return [_geo(point) for point in given["points"]]


_FIELD_READERS |= {
    "match": _match,
    "range": _range,
    "geo_bounding_box": lambda given: edge.GeoBoundingBox(_geo(given["top_left"]), _geo(given["bottom_right"])),
    "geo_radius": lambda given: edge.GeoRadius(_geo(given["center"]), given["radius"]),
    "geo_polygon": lambda given: edge.GeoPolygon(
        _line(given["exterior"]), [_line(ring) for ring in given.get("interiors") or ()]
    ),
    "values_count": _count,
    "is_empty": bool,
    "is_null": bool,
}


def keys(condition: Any) -> list[tuple[str, str]]:
    """The payload fields that a filter or condition reads, each with the index type that would serve it."""
    if isinstance(condition, edge.Filter):
        return [key for each in _within(condition) for key in keys(each)]
    if isinstance(condition, edge.NestedCondition):
        return [(f"{condition.key}[].{key}", kind) for key, kind in keys(condition.filter)]
    if isinstance(condition, edge.FieldCondition):
        return [(condition.key, _index_kind(condition))]
    return []


def longest_list(condition: Any) -> int:
    """How many ids or values the longest list in a filter or condition has."""
    if isinstance(condition, edge.Filter):
        return max(map(longest_list, _within(condition)), default=0)
    if isinstance(condition, edge.NestedCondition):
        return longest_list(condition.filter)
    if isinstance(condition, edge.HasIdCondition):
        return len(condition.point_ids)
    match = condition.match if isinstance(condition, edge.FieldCondition) else None
    return len(match.value) if isinstance(match, edge.MatchAny | edge.MatchExcept) else 0


def _within(condition: edge.Filter) -> list[Any]:
    inner = [*(condition.must or ()), *(condition.should or ()), *(condition.must_not or ())]
    return inner + list(condition.min_should.conditions if condition.min_should else ())


def _index_kind(condition: edge.FieldCondition) -> str:
    match = condition.match
    if condition.range is not None:
        return "datetime" if isinstance(condition.range, edge.RangeDateTime) else "float"
    if condition.geo_radius or condition.geo_bounding_box or condition.geo_polygon:
        return "geo"
    if isinstance(match, edge.MatchText | edge.MatchTextAny | edge.MatchPhrase):
        return "text"
    sample = match.value if isinstance(match, edge.MatchValue | edge.MatchAny | edge.MatchExcept) else ""
    if isinstance(sample, list):
        sample = sample[0] if sample else ""
    return "bool" if isinstance(sample, bool) else "integer" if isinstance(sample, int) else "keyword"
