"""Builders for the tests of columns: a collection as a plain dict, and the same as columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from hypothesis import strategies as st

from teal.domain.columns import Columns, columns_of
from teal.domain.keys import ids_of, keys_of

Id = int | UUID
Row = tuple[int, int]
"""A version and a digest."""

INTEGERS = st.sampled_from([0, 1, 2, 255, 256, 257, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
UUIDS = st.sampled_from([0, 1, 2, 256, 1 << 64, 1 << 120, (1 << 64) | 256, (1 << 128) - 1]).map(
    lambda value: UUID(int=value)
)
IDS: st.SearchStrategy[Id] = st.one_of(INTEGERS, UUIDS)
"""Few, so that they meet; with zero bytes at either end, and values that an integer and a UUID share."""
VERSIONS = st.integers(-1, 4)
DIGESTS = st.integers(0, 3)
ROWS = st.tuples(VERSIONS, DIGESTS)
POINTS: st.SearchStrategy[dict[Id, Row]] = st.dictionaries(IDS, ROWS)


def rank(point: Id) -> tuple[int, int]:
    """By which ids are sorted: integers first."""
    return (1, point.int) if isinstance(point, UUID) else (0, point)


def columns(points: Mapping[Id, Row]) -> Columns:
    rows = list(points.values())
    return columns_of(keys_of(points), [version for version, _ in rows], [digest for _, digest in rows])


def points(found: Columns | Iterable[Columns]) -> dict[Id, Row]:
    """What columns, or a stream of them, hold; in their order, each id once."""
    listed: list[tuple[Id, Row]] = []
    for part in (found,) if isinstance(found, Columns) else found:
        rows = zip(part.versions.tolist(), part.digests.tolist(), strict=True)
        listed += zip(ids_of(part.keys), rows, strict=True)
    assert len(dict(listed)) == len(listed), "an id occurs twice"
    return dict(listed)
