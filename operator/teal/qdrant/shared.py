"""One value that many callers need, fetched once for all of them.

The guarantee: a caller that asks for a value at most `max_age` old gets one whose request was *sent* within that
time. So with `max_age=0` it reflects everything that was done before the call. Callers that wait at the same
time share one request, and at most one request runs at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class _Known(Generic[T]):
    value: T
    asked_at: float


@dataclass(frozen=True)
class _Failed:
    error: Exception
    asked_at: float


class Shared(Generic[T]):
    """`load` fetches the value; `clock` is monotonic, in seconds."""

    def __init__(self, load: Callable[[], Awaitable[T]], clock: Callable[[], float] = time.monotonic) -> None:
        self._load = load
        self._clock = clock
        self._lock = asyncio.Lock()
        self._outcome: _Known[T] | _Failed | None = None
        self._generation = 0

    async def get(self, max_age: float) -> T:
        """The value, at most `max_age` seconds old; raises as `since` does."""
        return await self.since(self._clock() - max_age)

    async def since(self, moment: float) -> T:
        """The value as it was at that moment of the clock, or later.

        Raises:
            Exception: the error of `load`. All callers that waited for that request get the same error; later
                callers start a new request.
        """
        if (known := self._within(moment)) is not None:
            return known.value
        now = self._clock()
        async with self._lock:
            if (known := self._within(moment)) is not None:
                return known.value
            if isinstance(self._outcome, _Failed) and self._outcome.asked_at >= now:
                raise self._outcome.error
            return await self._ask()

    def invalidate(self) -> None:
        """Forget the value, and also the result of a running request: something has changed."""
        self._generation += 1
        self._outcome = None

    def _within(self, since: float) -> _Known[T] | None:
        outcome = self._outcome
        return outcome if isinstance(outcome, _Known) and outcome.asked_at >= since else None

    async def _ask(self) -> T:
        generation, asked_at = self._generation, self._clock()
        try:
            value = await self._load()
        except Exception as error:
            self._keep(_Failed(error, asked_at), generation)
            raise
        self._keep(_Known(value, asked_at), generation)
        return value

    def _keep(self, outcome: _Known[T] | _Failed, generation: int) -> None:
        if generation == self._generation:
            self._outcome = outcome
