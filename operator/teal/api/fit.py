"""A status within the bounds of its definition: what is too long is cut, not refused.

The API server refuses a status as a whole for one text that is too long, and then the resource shows what was so
before, for ever. What is in a status comes from elsewhere: an error of Qdrant, an annotation, the names that a
spec holds. So bounds are kept here, once, for all of it, and by the same schema that the API server judges by.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from teal.api.crd import KINDS, object_schema

CUT = "…"


def fitted(kind: str, status: Mapping[str, Any]) -> dict[str, Any]:
    """`status` (JSON) of a `kind`, with texts and lists cut to their bounds; what fits stays as it is."""
    cut: dict[str, Any] = _cut(status, _schemas()[kind])
    return cut


def _cut(value: Any, schema: Mapping[str, Any]) -> Any:
    match value:
        case str():
            longest = schema.get("maxLength", len(value))
            return value if len(value) <= longest else value[: longest - len(CUT)] + CUT
        case Mapping():
            fields = schema.get("properties", {})
            return {name: _cut(each, fields.get(name, {})) for name, each in value.items()}
        case list():
            return [_cut(each, schema.get("items", {})) for each in value[: schema.get("maxItems")]]
    return value


@cache
def _schemas() -> dict[str, Mapping[str, Any]]:
    return {kind.name: object_schema(kind.model)["properties"]["status"] for kind in KINDS}
