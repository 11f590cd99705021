"""A write, decoded from either wire format: the engine's own objects and the ids that it names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import qdrant_edge as edge

PointId = int | str
VersionOf = Callable[[edge.ScoredPoint], int]
"""What is shown as the version of a point."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The points of a write: either `ids` or all that match `filter`."""

    ids: Sequence[PointId] | None = None
    filter: edge.Filter | None = None


@dataclass(frozen=True, slots=True)
class Upsert:
    ids: list[PointId]
    points: list[edge.Point]
    vectors: list[Any]
    """The vectors of the points, in their order, as given: for the check of names and dimensions."""
    condition: edge.Filter | None = None
    mode: edge.UpdateMode | None = None


@dataclass(frozen=True, slots=True)
class SetPayload:
    points: Selection
    payload: dict[str, Any]
    key: str | None = None


@dataclass(frozen=True, slots=True)
class DeletePayload:
    points: Selection
    keys: list[str]


@dataclass(frozen=True, slots=True)
class UpdateVectors:
    ids: list[PointId]
    points: list[edge.PointVectors]
    vectors: list[Any]
    condition: edge.Filter | None = None


@dataclass(frozen=True, slots=True)
class DeleteVectors:
    points: Selection
    names: list[str]


@dataclass(frozen=True, slots=True)
class Retrieve:
    ids: list[PointId]
    with_payload: Any
    with_vector: Any
