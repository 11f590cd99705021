"""Whether two points are equal, as far as an application can tell.

Dense vectors are compared as the collections keep them. Cosine keeps the direction alone, of a multivector row by
row. Any other distance keeps the values, within the precision of the datatype: there a vector that is seven times
as long is another vector. Multivectors with another number of rows are never equal.
"""

from __future__ import annotations

import numpy as np

from teal.domain.observed import CollectionState
from teal.domain.schema import Datatype, DenseVector, Distance
from teal.qdrant import wire
from teal.qdrant.wire import Floats, RawPoint

STEP = 2e-2
"""By how much an element of a direction may differ that was kept as bytes."""


def same(one: RawPoint, other: RawPoint, *sides: CollectionState) -> bool:
    """Equal payloads; with `sides`, equal vectors too, as far as each of these collections can keep them."""
    if wire.canonical_payload(one.payload) != wire.canonical_payload(other.payload):
        return False
    sparse = [frozenset(side.schema.sparse) for side in sides]
    if any(
        wire.read_sparse(one.vectors, name) != wire.read_sparse(other.vectors, name)
        for name in (frozenset.intersection(*sparse) if sparse else ())
    ):
        return False
    return all(
        _same_vector(wire.read_dense(one.vectors, name), wire.read_dense(other.vectors, name), kinds)
        for name, kinds in _on_all(sides).items()
    )


def _on_all(sides: tuple[CollectionState, ...]) -> dict[str, list[DenseVector]]:
    """The dense vectors that all sides have, by name, as each side keeps them."""
    by_name: dict[str, list[DenseVector]] = {}
    for side in sides:
        for vector in side.schema.vectors:
            by_name.setdefault(vector.name, []).append(vector)
    return {name: kinds for name, kinds in by_name.items() if len(kinds) == len(sides)}


def _same_vector(one: Floats | None, other: Floats | None, kinds: list[DenseVector]) -> bool:
    if one is None or other is None:
        return (one is None) == (other is None)
    if one.shape != other.shape:
        return False
    coarsest = max((kind.datatype for kind in kinds), key=lambda datatype: datatype.tolerance)
    if all(kind.datatype is Datatype.UINT8 for kind in kinds):
        return _close(one, other, Datatype.UINT8.tolerance)  # even Cosine keeps bytes as they come
    if any(kind.distance is Distance.COSINE for kind in kinds):
        atol = STEP if coarsest is Datatype.UINT8 else coarsest.tolerance
        return _close(_directions(one), _directions(other), atol)
    scale = 1.0 if coarsest is Datatype.UINT8 else max(1.0, float(np.abs(one).max(initial=0.0)))
    return _close(one, other, coarsest.tolerance * scale)


def _close(one: Floats, other: Floats, atol: float) -> bool:
    return bool(np.allclose(one, other, rtol=0, atol=atol, equal_nan=True))


def _directions(vector: Floats) -> Floats:
    """Each row at length 1; a zero row stays zero."""
    norms = np.linalg.norm(vector, axis=-1, keepdims=True)
    unit: Floats = (vector / np.where(norms > 0, norms, 1.0)).astype(np.float32)
    return unit
