"""Ids as rows of an array sort, match and come back as the ids do that they stand for."""

from __future__ import annotations

from itertools import pairwise
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teal.domain import keys as k
from tests.unit.domain.columns import IDS, Id, rank

many = st.lists(IDS)


@given(many)
def test_ids_come_back(ids: list[Id]) -> None:
    assert k.ids_of(k.keys_of(ids)) == ids


@given(many)
def test_the_order_is_that_of_the_ids_and_stable(ids: list[Id]) -> None:
    rows = k.order(k.keys_of(ids)).tolist()
    assert rows == sorted(range(len(ids)), key=lambda row: (rank(ids[row]), row))


@pytest.mark.parametrize("bits", [8, 64, 120, 128])
def test_the_order_of_many(bits: int) -> None:
    """Ids that differ in the low half alone, in the high half, and in both."""
    rng = np.random.default_rng(bits)
    values = [int.from_bytes(rng.bytes(16), "big") >> (128 - bits) for _ in range(2000)]
    ids = [UUID(int=value) for value in values]
    found = k.ids_of(k.take(k.keys_of(ids), k.order(k.keys_of(ids))))
    assert found == sorted(ids)


@given(many)
def test_bytes_compare_as_keys_do(ids: list[Id]) -> None:
    keys = k.keys_of(sorted(set(ids), key=rank))
    raw = [k.key_bytes(keys, row) for row in range(len(keys))]
    assert all(len(each) == k.KEY.itemsize for each in raw)
    assert all(one < other for one, other in pairwise(raw))
    assert k.ascending(keys)
    if raw:
        assert k.key_bytes(keys, -1) == raw[-1]


@given(many, many)
def test_locate(wanted: list[Id], within: list[Id]) -> None:
    ordered = sorted(set(within), key=rank)
    wanted = sorted(wanted, key=rank)
    rows, found = k.locate(k.keys_of(wanted), k.keys_of(ordered))
    assert found.tolist() == [point in ordered for point in wanted]
    assert rows.tolist() == [sum(rank(other) < rank(point) for other in ordered) for point in wanted]


@given(many)
def test_locate_among_the_same(ids: list[Id]) -> None:
    keys = k.keys_of(sorted(set(ids), key=rank))
    rows, found = k.locate(keys, keys.copy())
    assert rows.tolist() == list(range(len(keys)))
    assert found.all()


@given(many, many)
def test_parts_begin_where_they_are_cut(within: list[Id], at: list[Id]) -> None:
    ordered, ends = (sorted(set(ids), key=rank) for ids in (within, at))
    found = k.cuts(k.keys_of(ordered), k.keys_of(ends)).tolist()
    assert found == [sum(rank(point) < rank(end) for point in ordered) for end in ends]


@given(many, IDS)
def test_count_up_to(within: list[Id], last: Id) -> None:
    ordered = sorted(set(within), key=rank)
    count = k.count_up_to(k.keys_of(ordered), k.key_bytes(k.keys_of([last]), 0))
    assert count == sum(rank(point) <= rank(last) for point in ordered)


def test_whole_arrays_make_the_same_keys() -> None:
    numbers = [0, 7, 256, (1 << 64) - 1]
    assert k.integer_keys(numbers).tolist() == k.keys_of(numbers).tolist()
    uuids = [UUID(int=0), UUID(int=256), UUID(int=(1 << 128) - 1)]
    assert k.uuid_keys(b"".join(u.bytes for u in uuids)).tolist() == k.keys_of(uuids).tolist()


@given(st.lists(many))
def test_joined(parts: list[list[Id]]) -> None:
    assert k.ids_of(k.joined(map(k.keys_of, parts))) == [point for part in parts for point in part]
    assert k.joined(map(k.keys_of, parts)).dtype == k.KEY


def test_repeats_and_ascending() -> None:
    keys = k.keys_of([1, 1, 2, UUID(int=2), UUID(int=2)])
    assert k.repeats(keys).tolist() == [False, True, False, False, True]
    assert not k.ascending(keys)
    assert not k.ascending(k.keys_of([2, 1]))
    assert k.ascending(k.NO_KEYS)
