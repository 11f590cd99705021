"""Runs the keys of the queue: one task for each running key, none for keys at rest.

Invariant: every key that was taken is reported back, whatever its work does. So no failure can lose a resource
or a slot.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from teal.controller.metrics import Metrics
from teal.controller.queue import Taken, WorkQueue

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Next:
    """When a key is due again: after `after` seconds, not by itself (`None`), or after its backoff."""

    after: float | None = None
    background: bool = False
    failed: bool = False


class Dispatcher(Generic[K]):
    """Works through the queue until it is stopped. Use it from one event loop only."""

    def __init__(self, queue: WorkQueue[K], process: Callable[[K], Awaitable[Next]], metrics: Metrics) -> None:
        self._queue = queue
        self._process = process
        self._metrics = metrics
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.Task[None] | None = None
        metrics.watch_queue(queue)

    def add(self, key: K, after: float = 0.0, *, background: bool = False) -> None:
        """See `WorkQueue.add`; may be called before `start`."""
        self._queue.add(key, after, background=background)
        self._wake.set()

    def start(self) -> None:
        self._loop = asyncio.create_task(self._run(), name="dispatcher")

    async def stop(self, grace: float) -> None:
        """Take no new key, give running ones `grace` seconds to finish, and cancel the rest."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait([self._loop])
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=grace)
        for task in late:
            task.cancel()
        if late:
            logger.warning("%d steps did not finish within %.0f s and were cancelled", len(late), grace)
            await asyncio.wait(late)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            while taken := self._queue.take():
                self._start(taken)
            await self._sleep(self._queue.wait())

    async def _sleep(self, seconds: float | None) -> None:
        """Return after `seconds`, or earlier if a key was added or is done."""
        timer = asyncio.get_running_loop().call_later(seconds, self._wake.set) if seconds is not None else None
        try:
            await self._wake.wait()
        finally:
            if timer is not None:
                timer.cancel()

    def _start(self, taken: Taken[K]) -> None:
        self._metrics.queue_wait.observe(taken.waited)
        task = asyncio.create_task(self._work(taken.key), name=f"reconcile {taken.key}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, key: K) -> None:
        outcome = Next(failed=True)
        try:
            outcome = await self._process(key)
        except Exception:
            logger.exception("Reconciling %s failed unexpectedly", key)
        finally:
            self._report(key, outcome)

    def _report(self, key: K, outcome: Next) -> None:
        if outcome.failed:
            self._queue.failed(key)
        else:
            self._queue.done(key, outcome.after, background=outcome.background)
        self._wake.set()
