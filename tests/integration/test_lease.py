"""Two operators on a real API server: the Lease decides, the other writes nothing, and one takes over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from kubernetes.client import CoordinationV1Api

from devkit.control_plane import ControlPlane
from teal.controller.controller import ControllerOptions
from teal.controller.election import NAME, Timing
from teal.controller.lease import LeaseLostError
from teal.migration.contract import Outcome, Resource
from teal.runtime.main import run
from teal.runtime.settings import Address, LeaseSettings, Settings
from tests.controller import fakes
from tests.controller.fakes import FakeEngine, ready, until
from tests.integration import test_controller
from tests.integration.test_controller import Cluster, Running, Wire, eventually

cluster, wire = test_controller.cluster, test_controller.wire
kubeconfig_over_wire = test_controller.kubeconfig_over_wire

QUICK = Timing(renew=0.3, retry=0.2, deadline=2.0, end=2.6, duration=4)
LEADER = "teal_leader"


class Contender:
    """An operator with a lease and an engine of its own, which does what the test says."""

    def __init__(self, kubeconfig: Path, namespace: str, lease: LeaseSettings) -> None:
        self.engine = FakeEngine()
        self.stop = asyncio.Event()
        self.address: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
        settings = Settings(
            ControllerOptions((namespace,), sweep=1.0), Address("127.0.0.1", 0), kubeconfig, lease=lease
        )
        self.task = asyncio.create_task(
            run(
                settings,
                engine_factory=lambda *_: self.engine,
                stop=self.stop,
                started=self.address.set_result,
            )
        )

    async def running(self) -> Running:
        return Running(await self.address)


@asynccontextmanager
async def contending(
    kubeconfig: Path, namespace: str, lease: LeaseSettings | None = None
) -> AsyncIterator[tuple[Contender, Running]]:
    """A contender that is ready: it works, or it stands by."""
    each = Contender(kubeconfig, namespace, lease or LeaseSettings(timing=QUICK))
    try:
        await asyncio.wait({each.task, each.address}, return_when=asyncio.FIRST_COMPLETED)
        running = await each.running()
        await eventually(running.is_ready)
        yield each, running
    finally:
        each.stop.set()
        await asyncio.wait({each.task})
        if (error := each.task.exception()) is not None and not isinstance(error, LeaseLostError):
            raise error


@pytest.fixture
def leases(control_plane: ControlPlane) -> Iterator[CoordinationV1Api]:
    with control_plane.api_client() as client:
        yield CoordinationV1Api(client)


async def lease_of(leases: CoordinationV1Api, namespace: str) -> Any:
    return (await asyncio.to_thread(leases.read_namespaced_lease, NAME, namespace)).spec


async def leads(running: Running) -> bool:
    return await running.metric(LEADER) == 1


async def requests(running: Running) -> list[str]:
    """The metrics of all requests to the API server, one for each method, resource and status."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{running.url}/metrics")).text
    return [line for line in text.splitlines() if line.startswith("teal_kubernetes_requests_total{")]


async def test_one_works_and_the_other_neither_watches_nor_writes(
    kubeconfig: Path, cluster: Cluster, leases: CoordinationV1Api
) -> None:
    async with contending(kubeconfig, cluster.namespace) as (one, first):
        assert await leads(first)
        async with contending(kubeconfig, cluster.namespace) as (other, second):
            await cluster.create(fakes.vector_collection())
            await until(lambda: one.engine.seen)
            assert await second.probe("/readyz") == 200
            assert not await leads(second)
            assert not other.engine.seen
            counted = await requests(second)
            assert counted
            assert all('resource="leases"' in line for line in counted)
            assert all('method="GET"' in line for line in counted)
            one.stop.set()
            await one.task
            await until(lambda: other.engine.seen)
            assert await leads(second)
            assert (await lease_of(leases, cluster.namespace)).lease_transitions == 1
    assert not (await lease_of(leases, cluster.namespace)).holder_identity


async def test_a_holder_that_is_cut_off_ends_and_writes_nothing_more(
    wire: Wire, kubeconfig: Path, kubeconfig_over_wire: Path, cluster: Cluster
) -> None:
    """Its step under way is cancelled; what it would have told is never told, although the line is whole again."""
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def reconcile(_: Resource) -> Outcome:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    async with contending(kubeconfig_over_wire, cluster.namespace) as (one, _):
        one.engine.reconcile = reconcile  # type: ignore[method-assign]
        await cluster.create(fakes.vector_collection())
        await begun.wait()
        async with contending(kubeconfig, cluster.namespace) as (other, second):
            other.engine.outcome = Outcome(ready(phase="Populating"), requeue_after=600)
            assert not await leads(second)
            await wire.cut()
            with pytest.raises(LeaseLostError):
                await one.task
            assert cancelled.is_set()
            assert not other.engine.seen
            await wire.mend()
            await until(lambda: other.engine.seen)

            async def is_told() -> bool:
                return (await cluster.get()).get("status", {}).get("phase") == "Populating"

            await eventually(is_told)


async def test_the_lease_is_kept_until_the_last_step_has_finished(
    kubeconfig: Path, cluster: Cluster, leases: CoordinationV1Api
) -> None:
    begun, end = asyncio.Event(), asyncio.Event()

    async def reconcile(_: Resource) -> Outcome:
        begun.set()
        await end.wait()
        return Outcome(ready(phase="Populating"), requeue_after=600)

    async with contending(kubeconfig, cluster.namespace) as (one, _):
        one.engine.reconcile = reconcile  # type: ignore[method-assign]
        await cluster.create(fakes.vector_collection())
        await begun.wait()
        one.stop.set()
        before = await lease_of(leases, cluster.namespace)

        async def is_renewed() -> bool:
            return (await lease_of(leases, cluster.namespace)).renew_time > before.renew_time

        for _ in range(3):
            await eventually(is_renewed)
            before = await lease_of(leases, cluster.namespace)
        assert before.holder_identity
        end.set()
        await one.task
    assert (await cluster.get())["status"]["phase"] == "Populating"
    assert not (await lease_of(leases, cluster.namespace)).holder_identity


async def test_without_a_lease_nobody_waits(kubeconfig: Path, cluster: Cluster, leases: CoordinationV1Api) -> None:
    without = LeaseSettings(wanted=False)
    async with (
        contending(kubeconfig, cluster.namespace),
        contending(kubeconfig, cluster.namespace, without) as other,
    ):
        assert await leads(other[1])
        await cluster.create(fakes.vector_collection())
        await until(lambda: other[0].engine.seen)


async def test_chosen_names_are_used(kubeconfig: Path, cluster: Cluster, leases: CoordinationV1Api) -> None:
    chosen = LeaseSettings(name="mine", timing=QUICK)
    async with (
        contending(kubeconfig, cluster.namespace),
        contending(kubeconfig, cluster.namespace, chosen) as other,
    ):
        assert await leads(other[1])
        found = await asyncio.to_thread(leases.list_namespaced_lease, cluster.namespace)
        assert sorted(each.metadata.name for each in found.items) == ["mine", NAME]
