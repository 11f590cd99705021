"""How fast and how much an embedder may be asked: requests per minute, pauses on its request, and tokens in
total.

A token budget protects money, so it is checked before a request is sent, including what running requests may
still cost. A request whose outcome is unknown counts as paid for.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from teal.sources.errors import BudgetExceededError

# Before the first answer: English text has about 0.25 tokens per byte, code and tables up to 0.4.
TOKENS_PER_BYTE = 1 / 3
MARGIN = 1.1


@dataclass(frozen=True)
class Backoff:
    """Waits between attempts (seconds): doubling, with jitter so that streams do not retry at the same time."""

    attempts: int = 6
    first: float = 0.5
    longest: float = 30.0

    def after(self, attempt: int) -> float:
        """The wait after attempt number `attempt` (from 1)."""
        return float(min(self.longest, self.first * 2 ** (attempt - 1)) * random.uniform(0.5, 1))


class Pacer:
    """Spreads requests evenly over the minute, and holds all of them back when the server asks for a pause."""

    def __init__(
        self,
        per_minute: int | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._interval = 60 / per_minute if per_minute else 0.0
        self._clock = clock
        self._sleep = sleep
        self._next = clock()

    async def turn(self) -> None:
        """Return when the next request may be sent."""
        now = self._clock()
        mine = max(now, self._next)
        self._next = mine + self._interval
        await self._sleep(mine - now)

    async def hold(self, seconds: float) -> None:
        """Send nothing for `seconds`; returns when they are over."""
        self._next = max(self._next, self._clock() + seconds)
        await self._sleep(seconds)


class Charge:
    """The cost of one request: nothing, unless it is settled."""

    def __init__(self, estimate: int) -> None:
        self.estimate = estimate
        self.tokens = 0
        self.estimated = False

    def settle(self, reported: int | None) -> None:
        """The request was, or may have been, processed; `reported` are the tokens that the server says it read."""
        self.tokens = self.estimate if reported is None else reported
        self.estimated = reported is None


class TokenBudget:
    """Counts tokens, and refuses a request that could exceed `limit` (None: only counts)."""

    def __init__(self, limit: int | None, spent: int = 0) -> None:
        self.limit = limit
        self.spent = spent
        self._reserved = 0
        self._tokens_per_byte: float | None = None
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def reserve(self, texts: Sequence[str]) -> AsyncIterator[Charge]:
        """Reserve budget for one request with `texts`; settle the charge inside if the request may have been
        processed.

        If only running requests use up the budget, it waits for them: usually they cost less than they reserved.

        Raises:
            BudgetExceededError: the budget does not suffice, and waiting does not help.
        """
        size = sum(len(text.encode()) for text in texts)
        async with self._changed:
            while not self._fits(self._estimate(size)):
                if not self._reserved:
                    raise BudgetExceededError(self.spent, self.limit or 0)
                await self._changed.wait()
            charge = Charge(self._estimate(size))
            self._reserved += charge.estimate
        try:
            yield charge
        finally:
            self._release(charge, size)
            async with self._changed:
                self._changed.notify_all()

    def _fits(self, estimate: int) -> bool:
        return self.limit is None or self.spent + self._reserved + estimate <= self.limit

    def _estimate(self, size: int) -> int:
        return math.ceil(size * (self._tokens_per_byte or TOKENS_PER_BYTE) * MARGIN)

    def _release(self, charge: Charge, size: int) -> None:
        self._reserved -= charge.estimate
        self.spent += charge.tokens
        if charge.tokens and not charge.estimated:
            self._tokens_per_byte = max(self._tokens_per_byte or 0.0, charge.tokens / size)
