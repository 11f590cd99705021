"""Streams of columns hold what was put into them, in order, whatever pieces it came in."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teal.domain import columns as c
from teal.domain import keys as k
from tests.unit.domain.columns import IDS, POINTS, VERSIONS, Id, Row, columns, points, rank

SIZES = st.integers(1, 5)


@given(POINTS)
def test_columns_are_sorted(given_points: dict[Id, Row]) -> None:
    assert list(points(columns(given_points)).items()) == sorted(given_points.items(), key=lambda i: rank(i[0]))


@given(st.lists(st.tuples(IDS, VERSIONS)))
def test_a_point_with_two_versions_has_none(rows: list[tuple[Id, int]]) -> None:
    found = points(c.columns_of(k.keys_of(i for i, _ in rows), [v for _, v in rows]))
    for point, (version, digest) in found.items():
        given_versions = {v for i, v in rows if i == point}
        assert version == (given_versions.pop() if len(given_versions) == 1 else c.UNKNOWN)
        assert digest == c.NO_DIGEST
    assert found.keys() == {i for i, _ in rows}


@given(POINTS, SIZES)
def test_pieces_and_together(given_points: dict[Id, Row], size: int) -> None:
    whole = columns(given_points)
    cut = list(c.pieces(whole, size))
    assert all(0 < len(piece) <= size for piece in cut)
    assert points(c.together(cut)) == points(whole)


@given(st.lists(st.tuples(POINTS, SIZES), max_size=4))
def test_aligned_rows_cover_everything_once(sides: list[tuple[dict[Id, Row], int]]) -> None:
    """Whatever the pieces, a key of several streams is in one row, and rows ascend."""
    streams = [c.pieces(columns(side), size) for side, size in sides]
    rows = list(c.aligned(*streams))
    for place, (side, _) in enumerate(sides):
        assert points(row[place] for row in rows) == points(columns(side))
    ranges = [[rank(point) for piece in row for point in points(piece)] for row in rows]
    assert all(ranges)
    assert all(max(one) < min(other) for one, other in pairwise(ranges))


@given(st.lists(st.tuples(POINTS, SIZES), max_size=4))
def test_merged_is_the_union(sides: list[tuple[dict[Id, Row], int]]) -> None:
    found = points(c.merged(*(c.pieces(columns(side), size) for side, size in sides)))
    assert list(found) == sorted({point for side, _ in sides for point in side}, key=rank)
    for point, (version, digest) in found.items():
        versions = {side[point][0] for side, _ in sides if point in side}
        digests = {side[point][1] for side, _ in sides if point in side}
        assert version == (versions.pop() if len(versions) == 1 else c.UNKNOWN)
        assert digest == (digests.pop() if len(digests) == 1 else c.NO_DIGEST)


class TestGathered:
    @pytest.fixture(autouse=True)
    def _small_pieces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(c, "PIECE", 16)
        monkeypatch.setattr(c, "MIN_APART", 3)

    @pytest.mark.parametrize("page", [1, 5, 16, 100])
    @pytest.mark.parametrize("shuffled", [True, False])
    def test_any_order_any_pages(self, page: int, shuffled: bool) -> None:
        rng = np.random.default_rng(page)
        numbers = rng.permutation(300) if shuffled else np.arange(300)
        gathered = c.Gathered()
        for start in range(0, 300, page):
            part = numbers[start : start + page]
            gathered.add(k.integer_keys(part), part * 2)
        for _ in range(2):
            parts = list(gathered.stream())
            assert points(parts) == {i: (i * 2, c.NO_DIGEST) for i in range(300)}
            assert list(points(parts)) == list(range(300))

    def test_what_comes_in_order_is_not_merged(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(c, "_brought_together", None)
        gathered = c.Gathered()
        for start in range(0, 100, 10):
            gathered.add(k.integer_keys(range(start, start + 10)))
        assert list(points(gathered.stream())) == list(range(100))

    def test_what_comes_again_is_there_once(self) -> None:
        gathered = c.Gathered()
        for version in (1, 2):
            gathered.add(k.integer_keys(range(40)), [version if i == 7 else 1 for i in range(40)])
        found = points(gathered.stream())
        assert found == {i: (c.UNKNOWN if i == 7 else 1, c.NO_DIGEST) for i in range(40)}

    def test_pieces_stay_small_when_pages_overlap(self) -> None:
        rng = np.random.default_rng(3)
        gathered = c.Gathered()
        gathered.add(k.uuid_keys(rng.bytes(16 * 1000)))
        sizes = [len(piece) for piece in gathered.stream()]
        pages = -(-1000 // c.PIECE)
        assert sum(sizes) == 1000
        assert max(sizes) <= c.PIECE + pages * c.MIN_APART

    def test_nothing(self) -> None:
        assert list(c.Gathered().stream()) == []
