"""Whether two points are equal, as far as an application can tell."""

from __future__ import annotations

import numpy as np

from teal.domain.observed import CollectionState
from teal.qdrant import wire
from teal.qdrant.wire import RawPoint

TOLERANCE = 1e-5


def same(one: RawPoint, other: RawPoint, target: CollectionState | None) -> bool:
    """Equal payloads; with a `target`, equal vectors too. Of dense ones only the direction counts (Cosine)."""
    if wire.canonical_payload(one.payload) != wire.canonical_payload(other.payload):
        return False
    if any(
        wire.read_sparse(one.vectors, name) != wire.read_sparse(other.vectors, name)
        for name in (target.schema.sparse if target else ())
    ):
        return False
    return all(
        _same_direction(wire.read_dense(one.vectors, vector.name), wire.read_dense(other.vectors, vector.name))
        for vector in (target.schema.vectors if target else ())
    )


def _same_direction(one: wire.Floats | None, other: wire.Floats | None) -> bool:
    if one is None or other is None:
        return (one is None) == (other is None)
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return lengths == 0 or float(np.dot(one.ravel(), other.ravel())) / lengths > 1 - TOLERANCE
