"""The controller as a whole: watch events in, looks at resources out. It knows no kopf and no process.

Invariant: nothing is looked at before all objects were listed once, or an EmbeddingSet that is only late would
be taken for one that does not exist.
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
    """Feed it by `observe`; `start` it, and then `stop` it once."""

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
        """When (on `clock`) a watch last told something; at first: now."""
        metrics.watch_resources(self.cache.states)

    @property
    def synced(self) -> bool:
        """Whether all objects were listed once, so that work goes on."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        await self._synced.wait()

    def observe(self, kind: Kind, event: str | None, obj: RawObject) -> None:
        """Take in a watch event: `ADDED`, `MODIFIED`, `DELETED`, or (`None`) an item of the initial list."""
        self.last_event = self._clock()
        self._metrics.watch_events.labels(kind.value, event or "LISTED").inc()
        if event == "DELETED":
            self._notify(self.cache.remove(ref_of(kind, obj), uid_of(obj)))
        else:
            self._notify(self.cache.put(kind, obj), background=event is None)

    def start(self) -> None:
        """Begin: list, then work, and list again every `ControllerOptions.sweep` seconds."""
        self._sweeping = asyncio.create_task(self._sweep_for_ever(), name="sweeper")

    async def stop(self, grace: float) -> None:
        """Begin nothing new; steps under way have `grace` seconds to finish before they are cancelled."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait([self._sweeping])
        await self._dispatcher.stop(grace)

    async def sweep(self, patience: float = PATIENCE) -> int:
        """Hold a list against the cache now; see `Sweeper.sweep`."""
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
                logger.info("%d resources are known: work begins", len(self.cache))
                self._synced.set()
                self._dispatcher.start()
            await asyncio.sleep(self._options.sweep * random.uniform(0.8, 1.0))

    def _notify(self, concerned: Concerned, *, background: bool = False) -> None:
        for ref, after in concerned:
            self._dispatcher.add(ref, after, background=background)
