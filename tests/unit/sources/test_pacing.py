"""Requests a minute and tokens in all, with a clock of its own."""

from __future__ import annotations

import asyncio

import pytest

from teal.sources.errors import BudgetExceededError
from teal.sources.pacing import Backoff, Pacer, TokenBudget


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_turns_are_spread_evenly() -> None:
    clock = Clock()
    pacer = Pacer(30, clock=clock, sleep=clock.sleep)
    for _ in range(4):
        await pacer.turn()
    assert clock.slept == [0, 2, 4, 6]


async def test_time_that_was_not_used_is_not_made_up_for() -> None:
    clock = Clock()
    pacer = Pacer(60, clock=clock, sleep=clock.sleep)
    await pacer.turn()
    clock.now += 1000
    await pacer.turn()
    await pacer.turn()
    assert clock.slept == [0, 0, 1]


async def test_a_pause_holds_everybody_back() -> None:
    clock = Clock()
    pacer = Pacer(None, clock=clock, sleep=clock.sleep)
    await pacer.turn()
    await pacer.hold(10)
    await pacer.turn()
    assert clock.slept == [0, 10, 10]


async def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    clock = Clock()
    pacer = Pacer(None, clock=clock, sleep=clock.sleep)
    await pacer.hold(10)
    await pacer.hold(2)
    await pacer.turn()
    assert clock.slept == [10, 2, 10]


def test_backoff_doubles_up_to_its_longest_wait() -> None:
    backoff = Backoff(first=1, longest=5)
    for attempt, longest in enumerate([1, 2, 4, 5, 5], start=1):
        assert longest / 2 <= backoff.after(attempt) <= longest


async def test_a_request_waits_for_the_room_that_others_give_back() -> None:
    budget = TokenBudget(limit=60)
    text = "x" * 90  # 33 tokens by the first estimate: two do not fit
    order = []

    async def spend(name: str, tokens: int) -> None:
        async with budget.reserve([text]) as charge:
            order.append(f"{name} begins")
            await asyncio.sleep(0)
            charge.settle(tokens)
            order.append(f"{name} ends")

    await asyncio.gather(spend("one", 20), spend("two", 20))
    assert order == ["one begins", "one ends", "two begins", "two ends"]
    assert budget.spent == 40
    with pytest.raises(BudgetExceededError):
        await spend("three", 20)


async def test_an_unsettled_request_costs_nothing() -> None:
    budget = TokenBudget(limit=100)
    for _ in range(10):
        async with budget.reserve(["x" * 90]):
            pass
    assert budget.spent == 0


async def test_estimates_learn_from_what_is_reported() -> None:
    budget = TokenBudget(limit=1000)
    async with budget.reserve(["x" * 100]) as charge:
        charge.settle(200)
    async with budget.reserve(["x" * 100]) as charge:
        assert charge.estimate >= 200


async def test_estimates_learn_the_most_that_was_reported() -> None:
    """Text that costs little does not make text that costs much look cheap."""
    budget = TokenBudget(limit=1000)
    for tokens in (200, 10):
        async with budget.reserve(["x" * 100]) as charge:
            charge.settle(tokens)
    async with budget.reserve(["x" * 100]) as charge:
        assert charge.estimate >= 200


async def test_estimates_do_not_learn_from_estimates() -> None:
    """Each has a margin: learnt from, a margin on a margin would soon use the budget up."""
    budget = TokenBudget(limit=1000)
    estimates = []
    for _ in range(3):
        async with budget.reserve(["x" * 100]) as charge:
            estimates.append(charge.estimate)
            charge.settle(None)
    assert len(set(estimates)) == 1
