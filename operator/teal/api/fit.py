"""Fits a status into the limits of its CRD: texts and lists that are too long are cut.

The API server refuses a whole status if one text is too long, and then the resource would show an old status for
ever. The content comes from elsewhere: errors of Qdrant, annotations, names in a spec. So the limits are applied
here, in one place, and by the same schema that the API server uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from teal.api.crd import KINDS, object_schema

CUT = "…"


def fitted(kind: str, status: Mapping[str, Any]) -> dict[str, Any]:
    """`status` (JSON) of a `kind`, with texts and lists cut to their limits; the rest is unchanged."""
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
