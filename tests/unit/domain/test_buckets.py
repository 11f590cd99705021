"""Equal sums mean equal points, in whatever order and in whatever steps they came about."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teal.domain.buckets import MAX_BUCKETS, MIN_BUCKETS, Buckets, buckets_for, id_hashes
from teal.domain.columns import NO_DIGEST, Columns, pieces
from teal.domain.keys import NO_KEYS, integer_keys, keys_of
from tests.unit.domain.columns import POINTS, Id, Row, columns


def summed(points: dict[Id, Row], count: int = MIN_BUCKETS, size: int = 100) -> Buckets:
    made = Buckets(count)
    for piece in pieces(columns(points), size):
        made.add(piece)
    return made


def one_by_one(points: dict[Id, Row], place: int) -> dict[int, list[Any]]:
    """What each bucket holds, as lists: ids (place 0), or ids with digests (place 1)."""
    found: dict[int, list[Any]] = {}
    buckets = Buckets(MIN_BUCKETS)
    for point, (_, digest) in points.items():
        found.setdefault(int(buckets.of(keys_of([point]))[0]), []).append((point, digest)[: place + 1])
    return {bucket: sorted(held, key=str) for bucket, held in found.items()}


@given(POINTS, POINTS, st.integers(1, 4))
def test_sums_are_equal_exactly_where_the_points_are(one: dict[Id, Row], other: dict[Id, Row], size: int) -> None:
    found = summed(one).compared(summed(other, size=size))
    for bucket in range(MIN_BUCKETS):
        ids = [one_by_one(side, 0).get(bucket) for side in (one, other)]
        contents = [one_by_one(side, 1).get(bucket) for side in (one, other)]
        looked_at = all(digest != NO_DIGEST for held in contents for _, digest in held or ())
        assert found.same_ids[bucket] == (ids[0] == ids[1])
        assert found.same_contents[bucket] == (contents[0] == contents[1] and looked_at)


@given(POINTS, POINTS, POINTS)
def test_keeping_up_to_date_is_the_same_as_beginning_anew(
    first: dict[Id, Row], gone: dict[Id, Row], then: dict[Id, Row]
) -> None:
    buckets = summed(first)
    removed = {point: row for point, row in first.items() if point in gone or point in then}
    buckets.remove(columns(removed))
    buckets.add(columns(then))
    anew = summed({**{p: r for p, r in first.items() if p not in removed}, **then})
    assert buckets.as_json() == anew.as_json()


def test_a_single_missing_point_is_named() -> None:
    points: dict[Id, Row] = dict.fromkeys(range(200), (1, 5))
    less = {point: row for point, row in points.items() if point != 77}
    found = summed(points).compared(summed(less))
    bucket = Buckets(MIN_BUCKETS).of(keys_of([77]))[0]
    assert np.flatnonzero(found.vanished).tolist() == [bucket]
    assert found.vanished[bucket] == id_hashes(keys_of([77]))[0]


def test_equal_changes_of_two_points_do_not_cancel() -> None:
    for one, other in pairwise(range(200)):
        found = summed({one: (0, 4), other: (0, 5)}, 1).compared(summed({one: (0, 5), other: (0, 4)}, 1))
        assert not found.same_contents[0]


def test_ids_spread_over_buckets_and_kinds_differ() -> None:
    counts = np.bincount(Buckets(64).of(integer_keys(range(64_000))), minlength=64)
    assert counts.min() > 800
    assert counts.max() < 1200
    hashes = id_hashes(keys_of([5, UUID(int=5), UUID(int=5 << 64)]))
    assert len(set(hashes.tolist())) == 3


def test_another_number_of_buckets_proves_nothing() -> None:
    found = summed({1: (1, 1)}, 16).compared(summed({1: (1, 1)}, 17))
    assert not found.same_ids.any()
    assert not found.same_contents.any()
    assert len(found.vanished) == 16


class TestJson:
    @given(POINTS, st.integers(1, 40))
    def test_round_trip(self, points: dict[Id, Row], count: int) -> None:
        written = summed(points, count)
        read = Buckets.from_json(json.loads(json.dumps(written.as_json())))
        assert read.as_json() == written.as_json()
        assert read.compared(written).same_ids.all()
        assert (read.compared(written).same_contents == written.proven).all()

    def test_unproven_stays_unproven(self) -> None:
        blank = columns({1: (1, NO_DIGEST)})
        buckets = Buckets(1)
        buckets.add(blank)
        read = Buckets.from_json(buckets.as_json())
        read.remove(blank)
        assert not read.proven.any()

    @pytest.mark.parametrize(
        "damage",
        [
            {"buckets": 3},
            {"buckets": "2"},
            {"ids": ""},
            {"ids": "?"},
            {"ids": "AAAA"},
            {"contents": None},
            {"unproven": None},
            {"unproven": [2]},
            {"unproven": [-1]},
            {"unproven": ["0"]},
        ],
    )
    def test_damage_is_an_error(self, damage: dict[str, Any]) -> None:
        Buckets.from_json(Buckets(2).as_json())
        with pytest.raises(ValueError, match=r"."):
            Buckets.from_json({**Buckets(2).as_json(), **damage})

    def test_nothing_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="not text"):
            Buckets.from_json({})

    def test_it_stays_small(self) -> None:
        assert len(json.dumps(Buckets(buckets_for(10**9)).as_json())) < 30_000


@given(st.integers(0, 10**10), st.integers(0, 10**10))
def test_buckets_grow_with_the_collection_within_bounds(one: int, other: int) -> None:
    assert MIN_BUCKETS <= buckets_for(one) <= MAX_BUCKETS
    assert buckets_for(min(one, other)) <= buckets_for(max(one, other))


def test_no_points() -> None:
    buckets = Buckets(4)
    buckets.add(Columns(NO_KEYS, np.empty(0, np.int64), np.empty(0, np.uint64)))
    assert buckets.as_json() == Buckets(4).as_json()
