"""`Shared`: as few requests as possible, and never an answer older than asked for."""

from __future__ import annotations

import asyncio

import pytest

from teal.qdrant.shared import Shared


class Source:
    """Counts its loads; `gate` holds them back while it is cleared."""

    def __init__(self) -> None:
        self.now = 100.0
        self.loads = 0
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.shared = Shared(self.load, lambda: self.now)

    async def load(self) -> int:
        self.loads += 1
        number = self.loads
        await self.gate.wait()
        if self.error:
            raise self.error
        return number


async def test_a_young_value_is_not_asked_for_again() -> None:
    source = Source()
    assert await source.shared.get(30) == 1
    source.now += 30
    assert await source.shared.get(30) == 1
    source.now += 1
    assert await source.shared.get(30) == 2


async def test_those_who_wait_share_one_request() -> None:
    source = Source()
    assert await asyncio.gather(*(source.shared.get(0) for _ in range(50))) == [1] * 50


async def test_a_request_under_way_is_too_old_for_a_fresh_look() -> None:
    source = Source()
    source.gate.clear()
    early = asyncio.ensure_future(source.shared.get(0))
    await asyncio.sleep(0)
    source.now += 1  # something is written here, which the early request may not show
    late = [asyncio.ensure_future(source.shared.get(0)) for _ in range(10)]
    await asyncio.sleep(0)
    source.gate.set()
    assert await early == 1
    assert await asyncio.gather(*late) == [2] * 10


async def test_a_request_under_way_is_good_enough_for_others() -> None:
    source = Source()
    source.gate.clear()
    early = asyncio.ensure_future(source.shared.get(0))
    await asyncio.sleep(0)
    source.now += 1
    late = asyncio.ensure_future(source.shared.get(30))
    await asyncio.sleep(0)
    source.gate.set()
    assert await asyncio.gather(early, late) == [1, 1]


async def test_invalidation_also_reaches_the_request_under_way() -> None:
    source = Source()
    source.gate.clear()
    early = asyncio.ensure_future(source.shared.get(30))
    await asyncio.sleep(0)
    source.shared.invalidate()
    source.gate.set()
    assert await early == 1
    assert await source.shared.get(30) == 2


async def test_a_failure_is_shared_by_those_who_waited_and_forgotten_then() -> None:
    source = Source()
    source.error = RuntimeError("down")
    results = await asyncio.gather(*(source.shared.get(30) for _ in range(20)), return_exceptions=True)
    assert results == [source.error] * 20
    assert source.loads == 1
    source.now += 1
    with pytest.raises(RuntimeError, match="down"):
        await source.shared.get(30)
    source.error = None
    source.now += 1
    assert await source.shared.get(30) == 3


async def test_a_caller_who_goes_away_leaves_the_others_served() -> None:
    source = Source()
    source.gate.clear()
    first = asyncio.ensure_future(source.shared.get(0))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(source.shared.get(0))
    await asyncio.sleep(0)
    first.cancel()
    source.gate.set()
    assert await second == 2
