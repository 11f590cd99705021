"""Watches both kinds until it is stopped: kopf on a thread and an event loop of its own.

kopf needs its own thread because it takes over its event loop. When it ends, it cancels every task that was
created since it started, which would include steps of migrations. In the main thread it would also take over the
signals. In its own thread its end harms nothing, and it is simply started again.

kopf ends when one of its parts fails, for example when a definition is deleted between a list and a watch (404). A
watch that is waiting for the API server then may swallow its cancellation, and kopf would wait for it for ever,
with nobody watching. So once kopf has cleaned up, it is given `ENDING_SECONDS` and is then abandoned.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import kopf

from teal.controller.metrics import Metrics
from teal.controller.objects import Kind, RawObject
from teal.runtime import handlers
from teal.runtime.handlers import Connect, Deliver

logger = logging.getLogger(__name__)

RESTART_SECONDS = 5.0
CLOSING_SECONDS = 0.3
ENDING_SECONDS = 15.0
"""kopf itself cancels after 5 s what goes on after its end."""


class WatchingError(Exception):
    """The watches have ended in a way that they should not."""


class Informer:
    """Delivers events into the loop that calls `start`, until `stop`."""

    def __init__(
        self,
        connect: Connect,
        namespaces: Sequence[str],
        deliver: Deliver,
        until_served: Callable[[], Awaitable[None]],
        metrics: Metrics,
        *,
        restart_seconds: float = RESTART_SECONDS,
        ending_seconds: float = ENDING_SECONDS,
    ) -> None:
        """Empty `namespaces` mean all. `until_served` returns when the API server knows both kinds."""
        self._connect = connect
        self._namespaces = namespaces
        self._deliver = deliver
        self._until_served = until_served
        self._metrics = metrics
        self._restart_seconds = restart_seconds
        self._ending_seconds = ending_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="informer")
        self._stopping = False
        self._end: Callable[[], None] | None = None
        self._supervisor: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._supervisor = asyncio.create_task(self._supervise(), name="informer")

    async def stop(self) -> None:
        """Stop watching. Takes a moment, because open watches are closed in order."""
        self._stopping = True
        if self._end is not None:
            self._end()
        elif self._supervisor is not None:
            self._supervisor.cancel()
        if self._supervisor is not None:
            await asyncio.wait([self._supervisor])
        self._thread.shutdown()

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping:
            await self._until_served()
            try:
                await loop.run_in_executor(self._thread, asyncio.run, self._watch(loop))
            except Exception:
                logger.exception("Watching failed")
            if not self._stopping:
                logger.error("Watching ended; it starts again in %.0f s", self._restart_seconds)
                self._metrics.informer_restarts.inc()
                await asyncio.sleep(self._restart_seconds)

    async def _watch(self, main: asyncio.AbstractEventLoop) -> None:
        """Run kopf until it ends, in the thread of the informer."""
        loop, stop = asyncio.get_running_loop(), asyncio.Event()

        def deliver(kind: Kind, event: str | None, obj: RawObject) -> None:
            main.call_soon_threadsafe(self._deliver, kind, event, obj)

        def end() -> None:
            with suppress(RuntimeError):  # the loop has already closed
                loop.call_soon_threadsafe(stop.set)

        self._end = end
        try:
            if not self._stopping:
                await self._until_over(deliver, stop)
        finally:
            # aiohttp closes its transports in later iterations of the loop, which asyncio.run would not run.
            await asyncio.sleep(CLOSING_SECONDS)
            self._end = None

    async def _until_over(self, deliver: Deliver, stop: asyncio.Event) -> None:
        """Run kopf until it is over, or until it has not ended in time after it has cleaned up.

        Raises:
            WatchingError: it has not; what it has left running ends with the event loop.
        """
        cleaned_up = asyncio.Event()
        ending = asyncio.create_task(cleaned_up.wait())
        operator = asyncio.create_task(
            kopf.operator(
                registry=handlers.registry(deliver, self._connect, cleaned_up.set),
                settings=handlers.settings(),
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
                standalone=True,
                stop_flag=stop,
            )
        )
        await asyncio.wait({operator, ending}, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        done, _ = await asyncio.wait({operator}, timeout=self._ending_seconds)
        if not done:
            raise WatchingError(f"kopf has not ended within {self._ending_seconds:.0f} s; it is abandoned")
        operator.result()
