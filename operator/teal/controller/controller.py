"""The whole controller: watch events in, reconciles out. It knows no kopf and no process.

Invariant: no resource is reconciled before all objects were listed once. Otherwise an EmbeddingSet whose event
is only late would look as if it did not exist.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable

from teal.controller.cache import Cache, Concerned
from teal.controller.dispatcher import Dispatcher
from teal.controller.engine import Reconciles
from teal.controller.kube import ApiServerError, Kube
from teal.controller.metrics import Metrics
from teal.controller.objects import Kind, RawObject, Ref, ref_of, uid_of
from teal.controller.options import ControllerOptions
from teal.controller.queue import WorkQueue
from teal.controller.reconciler import Reconciler
from teal.controller.sweep import Sweeper

logger = logging.getLogger(__name__)

INITIAL_PATIENCE = 60.0
PATIENCE = 5.0
RETRY_SECONDS = 10.0


class Controller:
    """Feed it by `observe`; call `start`, and then `stop` once."""

    def __init__(
        self,
        kube: Kube,
        engine: Reconciles,
        metrics: Metrics,
        options: ControllerOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cache = Cache()
        self._metrics = metrics
        self._options = options
        self._clock = clock
        reconciler = Reconciler(kube, self.cache, engine, metrics, resync=options.resync)
        queue = WorkQueue[Ref](
            clock=clock,
            limit=options.concurrency,
            per_endpoint=options.per_endpoint,
            endpoint_of=self.cache.endpoint_of,
        )
        self._dispatcher = Dispatcher(queue, reconciler.process, metrics)
        self._sweeper = Sweeper(kube, self.cache, options.namespaces, self._notify, metrics)
        self._sweeping: asyncio.Task[None] | None = None
        self._synced = asyncio.Event()
        self.last_event = clock()
        """The time (on `clock`) of the last event of a watch; at first: now."""
        metrics.watch_resources(self.cache.states)

    @property
    def synced(self) -> bool:
        """Whether all objects have been listed once, so that work goes on."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        await self._synced.wait()

    def observe(self, kind: Kind, event: str | None, obj: RawObject) -> None:
        """Accept a watch event: `ADDED`, `MODIFIED`, `DELETED`, or (`None`) an item of the initial list."""
        self.last_event = self._clock()
        self._metrics.watch_events.labels(kind.value, event or "LISTED").inc()
        if event == "DELETED":
            self._notify(self.cache.remove(ref_of(kind, obj), uid_of(obj)))
        else:
            self._notify(self.cache.put(kind, obj), background=event is None)

    def start(self) -> None:
        """List all objects, start work, and list again every `ControllerOptions.sweep` seconds."""
        self._sweeping = asyncio.create_task(self._sweep_for_ever(), name="sweeper")

    async def stop(self, grace: float) -> None:
        """Start nothing new; running steps have `grace` seconds to finish before they are cancelled."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait([self._sweeping])
        await self._dispatcher.stop(grace)

    async def sweep(self, patience: float = PATIENCE) -> int:
        """Compare a list with the cache now; see `Sweeper.sweep`."""
        return await self._sweeper.sweep(patience)

    async def _sweep_for_ever(self) -> None:
        while True:
            try:
                await self.sweep(PATIENCE if self.synced else INITIAL_PATIENCE)
            except ApiServerError as error:
                logger.warning("The list of resources cannot be read: %s", error)
                await asyncio.sleep(min(RETRY_SECONDS, self._options.sweep))
                continue
            if not self.synced:
                logger.info("%d resources are known: work starts", len(self.cache))
                self._synced.set()
                self._dispatcher.start()
            await asyncio.sleep(self._options.sweep * random.uniform(0.8, 1.0))

    def _notify(self, concerned: Concerned, *, background: bool = False) -> None:
        for ref, after in concerned:
            self._dispatcher.add(ref, after, background=background)
