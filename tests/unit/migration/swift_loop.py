"""An event loop in which nobody waits: when all sleep, time jumps to where the first of them wakes up.

So hours pass in milliseconds, and always in the same order: what Hypothesis finds can be played again. For the
same reason there are no threads: what is given to one is done in the loop's next turn.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable
from typing import Any, TypeVar

from teal.migration.clock import Clock

T = TypeVar("T")
EPOCH = 1_800_000_000.0


class _Jumping(selectors.SelectSelector):
    """Lets time pass instead of waiting for files, of which there are none."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise AssertionError("all wait for each other, and nothing will ever happen")
        self.now += max(0.0, timeout)
        return []


class SwiftLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._time = _Jumping()
        super().__init__(self._time)

    def time(self) -> float:
        return self._time.now

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        assert executor is None, "a thread of one's own would run beside the loop"

        async def run() -> T:
            return func(*args)

        return self.create_task(run())


class SwiftClock(Clock):
    """The loop's time, for the product."""

    def __init__(self, loop: SwiftLoop) -> None:
        self._loop = loop

    def now(self) -> float:
        return EPOCH + self._loop.time()

    def monotonic(self) -> float:
        return self._loop.time()
