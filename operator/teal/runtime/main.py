"""Builds one operator, runs it until it is told to stop, and shuts it down in order.

The order matters. Health is served from the first moment to the last. The controller starts before the watches
that feed it. At the end nothing new starts, running steps finish (each is bounded), and only then connections
close. Everything that only one process may do runs inside a lease: a process that waits for the lease watches
nothing and writes nothing, and a process that loses the lease ends.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable

import teal
from teal.controller.connection import Connection, connect
from teal.controller.controller import Controller
from teal.controller.election import Place
from teal.controller.engine import Reconciles
from teal.controller.kube import ApiServerError
from teal.controller.kube_api import KubeApi
from teal.controller.lease import Lease
from teal.controller.metrics import Metrics
from teal.controller.objects import Kind
from teal.controller.secrets import KubeSecrets
from teal.migration.contract import Reads
from teal.migration.engine import Engine
from teal.runtime.handlers import Connect
from teal.runtime.health import Health
from teal.runtime.http import serve
from teal.runtime.informer import Informer
from teal.runtime.settings import Address, Settings
from teal.runtime.tasks import running, unless

logger = logging.getLogger(__name__)

MayWrite = Callable[[], bool]
EngineFactory = Callable[[Reads, str, MayWrite], Reconciles]
"""Makes the engine. Arguments: how to read Secrets and ConfigMaps, the id of the cluster, and a function that
the engine asks before each change.
"""

RETRY_SECONDS = 5.0


async def run(
    settings: Settings,
    *,
    engine_factory: EngineFactory = Engine,
    stop: asyncio.Event | None = None,
    started: Callable[[Address], None] = lambda _: None,
) -> None:
    """Run an operator until `stop` is set or, without one, the process gets SIGTERM or SIGINT.

    `started` is called with the address of the HTTP server as soon as the server answers.

    Raises:
        NoClusterError: no configuration names an API server.
        OSError: the HTTP address cannot be bound.
        LeaseLostError: another process may lead by now. If the work does not end in time, the process exits at
            once with `lease.LOST_EXIT_CODE`.
    """
    stop = stop or _stopped_by_signals()

    async def connected() -> Connection:
        return await connect(settings.kubeconfig, settings.context)

    own = (await connected()).namespace  # now, so that a wrong kubeconfig ends the process with a clear message
    metrics = Metrics()
    async with KubeApi(connected, metrics) as electing:
        lease = _lease(settings, electing, own)
        may_write = lease.held if lease else lambda: True
        metrics.leader.set_function(may_write)
        async with KubeApi(connected, metrics, may_write) as kube:
            operator = Operator(settings, kube, connected, engine_factory, metrics, may_write)

            def last_contact() -> float:
                return max(electing.last_answer, operator.last_contact())

            def is_ready() -> bool:
                return operator.is_synced() or (lease is not None and lease.stands_by)

            health = Health(last_contact, is_ready, metrics.loop_lag.set)
            async with serve(settings.http, health, metrics) as address, running(health.measure()):
                logger.info("Teal %s answers on http://%s", teal.__version__, address)
                started(address)
                await _lead(operator, lease, stop)
    logger.info("Stopped")


def _lease(settings: Settings, electing: KubeApi, own: str) -> Lease | None:
    """The lease has a connection of its own, so that no other request delays a renewal."""
    chosen = settings.lease
    if not chosen.wanted:
        return None
    usual = Place.of(settings.controller.namespaces, own)
    place = Place(chosen.namespace or usual.namespace, chosen.name or usual.name)
    return Lease(electing, place, timing=chosen.timing)


async def _lead(operator: Operator, lease: Lease | None, stop: asyncio.Event) -> None:
    if lease is None:
        await operator.lead(stop)
    elif await unless(stop, lease.acquire()):
        await lease.hold(operator.lead, stop)


class Operator:
    """What one process does. `lead` contains everything that only one process may do at a time; it runs in a
    lease.
    """

    def __init__(
        self,
        settings: Settings,
        kube: KubeApi,
        connected: Connect,
        engine_factory: EngineFactory,
        metrics: Metrics,
        may_write: MayWrite,
    ) -> None:
        self._settings = settings
        self._kube = kube
        self._connected = connected
        self._engine_factory = engine_factory
        self._metrics = metrics
        self._may_write = may_write
        self._controller: Controller | None = None

    def is_synced(self) -> bool:
        """Whether all resources have been listed, so that work goes on."""
        return self._controller is not None and self._controller.synced

    def last_contact(self) -> float:
        """The time (`time.monotonic`) of the last answer of the API server, or the last event of a watch."""
        watched = self._controller.last_event if self._controller else 0.0
        return max(self._kube.last_answer, watched)

    async def lead(self, stop: asyncio.Event) -> None:
        """Serve the resources until `stop` is set; returns when nothing runs any more.

        Running steps get time to finish, except when they may no longer write.
        """
        cluster = await unless(stop, self._prepare())
        if cluster is None:
            return
        options, metrics = self._settings.controller, self._metrics
        engine = self._engine_factory(KubeSecrets(self._kube), cluster, self._may_write)
        controller = self._controller = Controller(self._kube, engine, metrics, options)
        watching = Informer(self._connected, options.namespaces, controller.observe, self._until_served, metrics)
        try:
            controller.start()
            watching.start()
            logger.info("Serving %s", ", ".join(options.namespaces) or "all namespaces")
            await stop.wait()
            logger.info("Stopping: running steps have %.0f s to finish", self._settings.grace)
        finally:
            await controller.stop(self._settings.grace if self._may_write() else 0.0)
            await watching.stop()
            await engine.close()

    async def _prepare(self) -> str:
        """Wait until the API server serves both kinds; returns the id of the cluster."""
        await self._until_served()
        while True:
            try:
                return await self._kube.cluster_id()
            except ApiServerError as error:
                logger.warning("The cluster's id (the uid of the namespace kube-system) cannot be read: %s", error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _until_served(self) -> None:
        """Wait until the API server answers and knows both kinds."""
        told = ""
        while trouble := await self._unserved():
            if trouble != told:
                logger.warning("Waiting: %s", trouble)
                told = trouble
            await asyncio.sleep(RETRY_SECONDS)

    async def _unserved(self) -> str | None:
        try:
            missing = [kind.value for kind in Kind if not await self._kube.is_served(kind)]
        except ApiServerError as error:
            return str(error)
        return f"the API server does not know {', '.join(missing)}: apply the CRDs in crds/" if missing else None


def _stopped_by_signals() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets; the second signal ends the process at once."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def on_signal() -> None:
        stop.set()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, on_signal)
    return stop
