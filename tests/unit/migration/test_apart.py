"""What only one of two sides has, whatever pages the ids come in."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence

from hypothesis import given
from hypothesis import strategies as st

from teal.domain import keys as k
from teal.migration.verification.apart import Few, side_by_side, without
from teal.qdrant import wire

Ids = st.sets(st.integers(0, 60))


async def paged(ids: Sequence[int], seed: int) -> AsyncIterator[k.Keys]:
    chance, left = random.Random(seed), sorted(ids)
    while left:
        size = chance.randint(0, 5)
        yield k.integer_keys(left[:size])
        left = left[size:]


@given(Ids, Ids, st.integers(0, 5))
async def test_pages_do_not_matter(one: set[int], other: set[int], seed: int) -> None:
    left: list[int] = []
    right: list[int] = []
    listed = [0, 0]
    async for here, there in side_by_side(paged(list(one), seed), paged(list(other), seed + 1)):
        left += k.ids_of(without(here, there))  # type: ignore[arg-type]
        right += k.ids_of(without(there, here))  # type: ignore[arg-type]
        listed = [listed[0] + len(here), listed[1] + len(there)]
    assert left == sorted(one - other)
    assert right == sorted(other - one)
    assert listed == [len(one), len(other)]


def test_few_keeps_no_more_than_there_is_room_for() -> None:
    few = Few(3)
    for numbers in ([1, 2], [3, 4], [5]):
        few.add(k.integer_keys(numbers))
    assert few.ids == [wire.raw_id(n) for n in (1, 2, 3)]
    assert (few.more, len(few)) == (2, 5)
