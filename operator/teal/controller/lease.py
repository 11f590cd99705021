"""Holds a Lease while work is done, and ends the work with it: the rules of `election` over the API server.

Whatever delays a renewal (a partition, a slow or stopped process), the process ends in one of two ways. In time:
the running work is cancelled, and its last action may be to lift a fence. Or at once, by a timer that needs no
task: if the process was stopped for long, the timer fires before steps that wait for answers continue.

`kubernetes.aio.leaderelection` does not fit: it continues to renew after its work crashed, never releases the
Lease, and waits for an answer without limit.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from teal.api.values import rfc3339
from teal.controller.election import Elector, Place, Record, Timing
from teal.controller.kube import ApiServerError, ConflictError

logger = logging.getLogger(__name__)

LOST_EXIT_CODE = 75
"""`EX_TEMPFAIL`: start the process again."""
TICK_SECONDS = 0.5


class LeaseLostError(Exception):
    """This process held the Lease and could not keep it: it has to end."""


class LeaseApi(Protocol):
    """The two calls that an election needs; both raise `ApiServerError`."""

    async def read_lease(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """The Lease as it is now; `None` if there is none."""
        ...

    async def write_lease(
        self, namespace: str, name: str, spec: Mapping[str, Any], version: str | None
    ) -> Mapping[str, Any]:
        """Replace the Lease if it still has this version, or (`None`) create it; returns it.

        Raises:
            ConflictError: it has another version by now, or it exists already.
        """
        ...


def boot_time() -> float:
    """Seconds that also pass while the machine sleeps, where the system supports that."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


def identity() -> str:
    """A new name for each process: a later process is never taken for this one."""
    return f"{socket.gethostname()}_{os.getpid()}_{secrets.token_hex(4)}"


def exit_at_once() -> None:
    """Exit without running any clean-up."""
    os._exit(LOST_EXIT_CODE)


class Lease:
    """One candidate in the election: `acquire`, then `hold` while the work is done."""

    def __init__(
        self,
        api: LeaseApi,
        place: Place,
        *,
        me: str | None = None,
        timing: Timing | None = None,
        clock: Callable[[], float] = boot_time,
        end: Callable[[], None] = exit_at_once,
    ) -> None:
        """`end` ends the process, whatever it does."""
        self._api = api
        self._place = place
        self._timing = timing or Timing()
        self._clock = clock
        self._end = end
        self._elector = Elector(me or identity(), self._timing)
        self._ticking: asyncio.TimerHandle | None = None
        self._trouble = ""

    @property
    def stands_by(self) -> bool:
        """Whether another candidate is known to hold it."""
        return self._elector.displaced

    def held(self) -> bool:
        """Whether we hold it: the condition of every write."""
        return self._elector.held(self._clock())

    async def acquire(self) -> bool:
        """Wait until we hold it, however long that takes; returns true."""
        while not await self._attempt(self._timing.deadline / 2):  # noqa: ASYNC110 - the API server is asked
            await asyncio.sleep(self._timing.retry * random.uniform(0.8, 1.2))
        logger.info("This process (%s) holds the lease %s", self._elector.me, self._place)
        return True

    async def hold(self, work: Callable[[asyncio.Event], Awaitable[None]], stop: asyncio.Event) -> None:
        """Do `work` and keep the lease meanwhile; the event given to `work` is set when it has to end.

        If `stop` was set, the lease is kept until the work has ended, and then released. If the lease is lost,
        the work is cancelled when its time is over.

        Raises:
            LeaseLostError: the lease is lost, and the work has ended in time.
        """
        over = asyncio.Event()
        keeping = asyncio.create_task(_before(over, self._keep), name="lease")
        stopping = asyncio.create_task(_before(over, stop.wait))
        self._tick()
        try:
            await work(over)
        finally:
            lost = keeping.done()
            keeping.cancel()
            stopping.cancel()
            await asyncio.wait({keeping, stopping})
            await self._let_go()
        if lost:
            raise LeaseLostError(f"the lease {self._place} is lost") from keeping.exception()

    async def _keep(self) -> None:
        """Renew as long as it can be done in time."""
        renewed = True
        while self.held():
            await asyncio.sleep(min(self._timing.renew if renewed else self._timing.retry, self._left()))
            renewed = await self._attempt(min(self._timing.deadline / 2, self._left()))
        logger.critical("The lease %s is lost: stopping", self._place)
        self._end_if_due()

    def _left(self) -> float:
        return max(0.0, self._elector.until - self._clock())

    def _end_if_due(self) -> None:
        """End the process, whatever it does, if another process holds the lease or soon may."""
        if self._clock() >= self._elector.until + self._timing.end - self._timing.deadline:
            logger.critical("Another process may hold the lease %s: exiting at once", self._place)
            self._end()

    def _tick(self) -> None:
        self._end_if_due()
        self._ticking = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    async def _attempt(self, seconds: float) -> bool:
        """Read the Lease and take it if nobody else holds it; returns whether we took it."""
        try:
            async with asyncio.timeout(seconds):
                await self._look()
                if not self._elector.is_free(self._clock()):
                    self._complain(f"{self._elector.holder} holds it")
                    return False
                await self._write(self._elector.claim(_now()))
        except ConflictError:
            self._complain("another candidate was faster")
            return False
        except (ApiServerError, TimeoutError) as error:
            self._complain(str(error) or "the API server does not answer in time")
            return False
        self._trouble = ""
        return True

    async def _look(self) -> None:
        found = await self._api.read_lease(self._place.namespace, self._place.name)
        record = Record.parse(found) if found is not None else None
        version = found["metadata"]["resourceVersion"] if found is not None else None
        self._elector.saw(record, version, self._clock())

    async def _write(self, record: Record) -> None:
        sent = self._clock()
        written = await self._api.write_lease(
            self._place.namespace, self._place.name, record.as_spec(), self._elector.version
        )
        self._elector.wrote(record, written["metadata"]["resourceVersion"], sent)

    async def _let_go(self) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
        if not self.held():
            return
        try:
            async with asyncio.timeout(self._timing.retry):
                await self._write(self._elector.release(_now()))
        except (ApiServerError, TimeoutError) as error:
            logger.warning(
                "The lease %s could not be released; others wait until it expires: %s", self._place, error
            )

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:
            logger.warning("Waiting for the lease %s: %s", self._place, trouble)
            self._trouble = trouble


async def _before(event: asyncio.Event, work: Callable[[], Awaitable[object]]) -> None:
    """Run `work`, and set the event at its end, whatever the result."""
    try:
        await work()
    finally:
        event.set()


def _now() -> str:
    return rfc3339(datetime.now(UTC), "microseconds")
