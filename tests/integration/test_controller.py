"""The operator against a real API server, with a fake engine: what happens is noticed, and little is written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml
from kubernetes.client import ApiClient, CustomObjectsApi, EventsV1Api

from devkit.control_plane import ControlPlane
from teal.api.common import GROUP, VERSION
from teal.controller.connection import connect
from teal.controller.controller import ControllerOptions
from teal.controller.kube import ApiServerError, ConflictError, GoneError
from teal.controller.kube_api import KubeApi
from teal.controller.metrics import Metrics
from teal.controller.objects import CLEANUP_FINALIZER, FENCE_FINALIZER, Kind, ref_of, uid_of
from teal.migration.contract import Note, Outcome, Resource
from teal.runtime.main import run
from teal.runtime.settings import Address, LeaseSettings, Settings
from tests.controller import fakes
from tests.controller.fakes import FakeEngine, ready, until

VCOL, ESET = Kind.VECTOR_COLLECTION, Kind.EMBEDDING_SET


class Cluster:
    """What users do, in one namespace. Calls are made in threads, because the operator runs in this loop."""

    def __init__(self, client: ApiClient, namespace: str) -> None:
        self._objects = CustomObjectsApi(client)
        self._events = EventsV1Api(client)
        self.namespace = namespace

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        manifest["metadata"]["namespace"] = self.namespace
        kind = Kind(manifest["kind"])
        call = self._objects.create_namespaced_custom_object
        return await asyncio.to_thread(call, *self._where(kind), manifest)

    async def edit(self, name: str = "docs", kind: Kind = VCOL, **patch: Any) -> dict[str, Any]:
        call = self._objects.patch_namespaced_custom_object
        return await asyncio.to_thread(
            call, *self._where(kind), name, patch, _content_type="application/merge-patch+json"
        )

    async def delete(self, name: str = "docs", kind: Kind = VCOL) -> None:
        await asyncio.to_thread(self._objects.delete_namespaced_custom_object, *self._where(kind), name)

    async def get(self, name: str = "docs", kind: Kind = VCOL) -> dict[str, Any]:
        return await asyncio.to_thread(self._objects.get_namespaced_custom_object, *self._where(kind), name)

    async def shows(self, phase: str, name: str = "docs") -> bool:
        return (await self.get(name)).get("status", {}).get("phase") == phase

    async def is_ready(self) -> bool:
        return await self.shows("Ready")

    async def exists(self, kind: Kind = VCOL) -> bool:
        found = await asyncio.to_thread(self._objects.list_namespaced_custom_object, *self._where(kind))
        return bool(found["items"])

    async def events(self) -> list[Any]:
        found = await asyncio.to_thread(self._events.list_namespaced_event, self.namespace)
        return list(found.items)

    def _where(self, kind: Kind) -> tuple[str, str, str, str]:
        return GROUP, VERSION, self.namespace, kind.plural


class Wire:
    """The line between operator and API server, which a test can cut."""

    def __init__(self, url: str) -> None:
        target = urlsplit(url)
        self._target = (target.hostname, target.port)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[Any]] = set()
        self.port = 0

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Connections are reset, and new ones refused."""
        if self._server:
            self._server.close()
            await self._server.wait_closed()
        while self._connections:
            for connection in self._connections:
                connection.cancel()
            await asyncio.wait(self._connections)

    def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._forward(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            upstream_reader, upstream = await asyncio.open_connection(*self._target)
            ends.append(upstream)
            await asyncio.gather(self._pump(reader, upstream), self._pump(upstream_reader, writer))
        except OSError:
            return
        finally:
            for end in ends:
                end.transport.abort()

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


class Running:
    """An operator in this process."""

    def __init__(self, address: Address) -> None:
        self.url = f"http://{address}"

    async def probe(self, path: str) -> int:
        async with httpx.AsyncClient() as client:
            return (await client.get(self.url + path)).status_code

    async def is_ready(self) -> bool:
        return await self.probe("/readyz") == 200

    async def metric(self, sample: str) -> float:
        async with httpx.AsyncClient() as client:
            text = (await client.get(f"{self.url}/metrics")).text
        values = [line.split()[-1] for line in text.splitlines() if line.startswith(f"{sample} ")]
        return float(values[0]) if values else 0.0


@pytest.fixture
def cluster(control_plane: ControlPlane, namespace: str) -> Iterator[Cluster]:
    with control_plane.api_client() as client:
        yield Cluster(client, namespace)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def wire(control_plane: ControlPlane) -> AsyncIterator[Wire]:
    wire = Wire(control_plane.url)
    await wire.mend()
    yield wire
    await wire.cut()


@pytest.fixture
def kubeconfig_over_wire(kubeconfig: Path, wire: Wire, tmp_path: Path) -> Path:
    config = yaml.safe_load(kubeconfig.read_text())
    for each in config["clusters"]:
        each["cluster"]["server"] = f"https://127.0.0.1:{wire.port}"
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


@asynccontextmanager
async def operating(kubeconfig: Path, engine: FakeEngine, options: ControllerOptions) -> AsyncIterator[Running]:
    """An operator with `engine`, from when it has listed everything until it has stopped.

    Without a lease: one that is cut off from the API server for long would end.
    """
    stop, address = asyncio.Event(), asyncio.get_running_loop().create_future()
    settings = Settings(options, Address("127.0.0.1", 0), kubeconfig, lease=LeaseSettings(wanted=False))
    task = asyncio.create_task(
        run(settings, engine_factory=lambda *_: engine, stop=stop, started=address.set_result)
    )
    try:
        await asyncio.wait({task, address}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        running = Running(await address)
        await eventually(running.is_ready)
        yield running
    finally:
        stop.set()
        await task
    assert engine.closed


@pytest.fixture
async def operator(kubeconfig: Path, cluster: Cluster, engine: FakeEngine) -> AsyncIterator[Running]:
    async with operating(kubeconfig, engine, ControllerOptions((cluster.namespace,))) as running:
        yield running


@pytest.fixture
async def cut_off(
    wire: Wire, kubeconfig_over_wire: Path, cluster: Cluster, engine: FakeEngine
) -> AsyncIterator[Running]:
    """An operator whose line to the API server can be cut, and that lists every second."""
    async with operating(
        kubeconfig_over_wire, engine, ControllerOptions((cluster.namespace,), sweep=1.0)
    ) as running:
        yield running


async def eventually(condition: Callable[[], Any]) -> None:
    """Until the awaitable that `condition` makes is true; the test's time limit is the only one."""
    while not await condition():  # noqa: ASYNC110 - of objects that announce nothing
        await asyncio.sleep(0.05)


async def seen(engine: FakeEngine, count: int) -> Resource:
    """The last resource, once the engine was asked `count` times."""
    await until(lambda: len(engine.seen) >= count)
    assert len(engine.seen) == count
    return engine.seen[-1]


async def test_creation_edit_and_deletion_are_noticed(
    operator: Running, cluster: Cluster, engine: FakeEngine
) -> None:
    obj = await cluster.create(fakes.vector_collection())
    first = await seen(engine, 1)
    assert (first.uid, first.generation) == (obj["metadata"]["uid"], 1)
    await cluster.edit(spec={"suspend": True})
    second = await seen(engine, 2)
    assert second.generation == 2
    assert second.manifest.spec.suspend
    await cluster.edit(metadata={"annotations": {"teal.dev/retry": "m1"}})
    assert (await seen(engine, 3)).annotations == {"teal.dev/retry": "m1"}
    await cluster.delete()
    await until(lambda: engine.forgotten)
    assert engine.forgotten == [obj["metadata"]["uid"]]


async def test_what_was_there_before_is_looked_at_after_a_start(
    kubeconfig: Path, cluster: Cluster, engine: FakeEngine
) -> None:
    await cluster.create(fakes.embedding_set())
    await cluster.create(fakes.vector_collection(embedding_set="minilm"))
    for _ in range(2):
        engine.seen.clear()
        async with operating(kubeconfig, engine, ControllerOptions((cluster.namespace,))):
            assert (await seen(engine, 1)).embedding_set is not None


async def test_an_edit_of_a_set_reaches_its_users(operator: Running, cluster: Cluster, engine: FakeEngine) -> None:
    await cluster.create(fakes.vector_collection(embedding_set="minilm"))
    assert (await seen(engine, 1)).embedding_set is None
    await cluster.create(fakes.embedding_set())
    assert (await seen(engine, 2)).embedding_set is not None
    await cluster.edit("minilm", ESET, spec={"dimensions": 8})
    found = (await seen(engine, 3)).embedding_set
    assert found
    assert found.spec.dimensions == 8

    async def users_are_known() -> bool:
        status = (await cluster.get("minilm", ESET))["status"]
        return status.get("usedBy") == ["docs"] and status["observedGeneration"] == 2

    await eventually(users_are_known)


async def test_a_look_that_finds_nothing_new_writes_nothing(
    operator: Running, cluster: Cluster, engine: FakeEngine
) -> None:
    await cluster.create(fakes.vector_collection())
    await eventually(cluster.is_ready)
    requests = 'teal_kubernetes_requests_total{code="200",method="PATCH",resource="vectorcollections"}'
    assert await operator.metric(requests) == 1
    for look in (2, 3):
        edited = await cluster.edit(metadata={"annotations": {"note": str(look)}})
        await seen(engine, look)
    unchanged = 'teal_reconciles_total{kind="VectorCollection",outcome="unchanged"}'

    async def is_counted() -> bool:
        return await operator.metric(unchanged) == 2

    await eventually(is_counted)
    assert await operator.metric(requests) == 1
    assert (await cluster.get())["metadata"]["resourceVersion"] == edited["metadata"]["resourceVersion"]


async def test_what_a_status_no_longer_says_is_gone(
    operator: Running, cluster: Cluster, engine: FakeEngine
) -> None:
    migrating = ready(phase="Populating", migration={"id": "m1", "progress": {"percent": 40}})
    engine.outcome = Outcome(migrating, requeue_after=600)
    await cluster.create(fakes.vector_collection())

    async def shows_migration() -> bool:
        return "migration" in (await cluster.get()).get("status", {})

    await eventually(shows_migration)
    engine.outcome = Outcome(ready(), requeue_after=600)
    await cluster.edit(spec={"suspend": True})

    async def shows_none() -> bool:
        status = (await cluster.get()).get("status", {})
        return status.get("phase") == "Ready" and "migration" not in status

    await eventually(shows_none)


async def test_a_wiped_status_comes_back(operator: Running, cluster: Cluster, engine: FakeEngine) -> None:
    obj = await cluster.create(fakes.vector_collection())
    await seen(engine, 1)
    replace = cluster._objects.replace_namespaced_custom_object_status
    await eventually(cluster.is_ready)
    obj = await cluster.get()
    await asyncio.to_thread(replace, *cluster._where(VCOL), "docs", {**obj, "status": {}})
    await eventually(cluster.is_ready)


async def test_a_finalizer_only_for_who_asks_for_deletion_and_until_it_is_done(
    operator: Running, cluster: Cluster, engine: FakeEngine
) -> None:
    await cluster.create(fakes.vector_collection("retained"))
    await cluster.create(fakes.vector_collection("deleted", deletionPolicy="Delete"))
    await seen(engine, 2)
    assert "finalizers" not in (await cluster.get("retained"))["metadata"]
    assert (await cluster.get("deleted"))["metadata"]["finalizers"] == [CLEANUP_FINALIZER]
    engine.outcome = Outcome(ready(phase="Deleting"), requeue_after=600)
    await cluster.delete("deleted")
    assert (await seen(engine, 3)).deleting
    assert (await cluster.get("deleted"))["metadata"]["deletionTimestamp"]
    engine.outcome = Outcome(ready(), finished=True)
    await cluster.edit("deleted", metadata={"annotations": {"look": "again"}})
    await cluster.delete("retained")

    async def is_gone() -> bool:
        return not await cluster.exists()

    await eventually(is_gone)
    await until(lambda: len(engine.forgotten) == 2)


async def test_a_finalizer_as_long_as_writers_may_be_held_back(
    operator: Running, cluster: Cluster, engine: FakeEngine
) -> None:
    """It is there before the engine is asked for what holds them back, and goes when that says so."""

    async def is_held() -> bool:
        return (await cluster.get())["metadata"].get("finalizers") == [FENCE_FINALIZER]

    async def is_free() -> bool:
        return not await is_held()

    engine.outcome = Outcome(ready(), requeue_after=0.2, needs_guard=True)
    await cluster.create(fakes.vector_collection())
    await eventually(is_held)
    engine.outcome = Outcome(ready(), requeue_after=0.2, needs_guard=False)
    await eventually(is_free)
    engine.outcome = Outcome(ready(), requeue_after=0.2, needs_guard=True)
    await eventually(is_held)
    engine.outcome = Outcome(ready(), finished=True)
    await cluster.delete()

    async def is_gone() -> bool:
        return not await cluster.exists()

    await eventually(is_gone)
    assert engine.seen[-1].deleting


async def test_events_are_there_once(operator: Running, cluster: Cluster, engine: FakeEngine) -> None:
    note = Note("MigrationStarted", "docs-v1 → docs-v2", action="Migrate")
    engine.outcome = Outcome(ready(), notes=[note], requeue_after=600)
    obj = await cluster.create(fakes.vector_collection())
    await seen(engine, 1)
    await cluster.edit(spec={"suspend": True})
    await seen(engine, 2)
    engine.outcome = Outcome(ready(), notes=[Note("Held", "bad", warning=True)], requeue_after=600)
    await cluster.edit(spec={"suspend": False})

    async def is_told() -> bool:
        return any(event.reason == "Held" for event in await cluster.events())

    await eventually(is_told)
    (started,) = [event for event in await cluster.events() if event.reason == "MigrationStarted"]
    assert started.regarding.uid == obj["metadata"]["uid"]
    assert (started.action, started.note, started.type) == ("Migrate", "docs-v1 → docs-v2", "Normal")
    assert started.reporting_controller == "teal.dev/operator"


async def test_kopf_leaves_no_trace(operator: Running, cluster: Cluster, engine: FakeEngine) -> None:
    await cluster.create(fakes.embedding_set())
    await cluster.create(fakes.vector_collection(embedding_set="minilm"))
    await until(lambda: engine.seen and engine.sets)
    await cluster.edit(spec={"suspend": True})
    await until(lambda: len(engine.seen) > 1)
    for obj in (await cluster.get(), await cluster.get("minilm", ESET)):
        assert "kopf" not in json.dumps(obj)
        assert "annotations" not in obj["metadata"]
        assert "finalizers" not in obj["metadata"]
        assert {each["manager"] for each in obj["metadata"]["managedFields"]} <= {"teal", "OpenAPI-Generator"}


async def test_a_restart_of_the_api_server_is_survived(
    local_control_plane: ControlPlane, operator: Running, cluster: Cluster, engine: FakeEngine
) -> None:
    await cluster.create(fakes.vector_collection())
    await eventually(cluster.is_ready)
    await asyncio.to_thread(local_control_plane.restart_api_server)
    await cluster.edit(spec={"suspend": True})
    assert (await seen(engine, 2)).manifest.spec.suspend
    assert await operator.probe("/livez") == 200
    assert await operator.metric("teal_informer_restarts_total") == 0


async def test_a_deletion_while_the_watch_expired_is_noticed(
    local_control_plane: ControlPlane, cut_off: Running, wire: Wire, cluster: Cluster, engine: FakeEngine
) -> None:
    """The watch begins anew from a list, which tells nothing of what is gone."""
    obj = await cluster.create(fakes.vector_collection("deleted"))
    await cluster.create(fakes.vector_collection("edited"))

    async def all_is_written() -> bool:
        return await cluster.shows("Ready", "deleted") and await cluster.shows("Ready", "edited")

    await eventually(all_is_written)
    await wire.cut()
    await cluster.delete("deleted")
    await cluster.edit("edited", spec={"suspend": True})
    await asyncio.to_thread(local_control_plane.expire_watches)
    assert engine.forgotten == []
    await wire.mend()
    await until(lambda: engine.forgotten)
    assert engine.forgotten == [obj["metadata"]["uid"]]
    missed = 'teal_watch_missed_total{kind="VectorCollection",what="deletion"}'
    assert await cut_off.metric(missed) == 1
    await until(lambda: any(each.manifest.spec.suspend for each in engine.seen))


async def test_a_partition_from_the_api_server_costs_only_time(
    cut_off: Running, wire: Wire, cluster: Cluster, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the engine did meanwhile is told afterwards, Event included."""
    monkeypatch.setattr("teal.controller.reconciler.API_SERVER_SECONDS", 1.0)
    await cluster.create(fakes.vector_collection())
    await seen(engine, 1)
    entered, gate = asyncio.Event(), asyncio.Event()

    async def reconcile(resource: Resource) -> Outcome:
        entered.set()
        await gate.wait()
        engine.seen.append(resource)
        return engine.answer(resource)

    engine.reconcile = reconcile  # type: ignore[method-assign]
    notes = [Note("MigrationStarted", "under way")]
    engine.answer = lambda _: Outcome(ready(phase="Populating"), notes=notes.copy(), requeue_after=600)
    await cluster.edit(spec={"suspend": True})
    unwritten = 'teal_reconciles_total{kind="VectorCollection",outcome="failed"}'
    await entered.wait()
    await wire.cut()
    gate.set()

    async def has_failed() -> bool:
        return await cut_off.metric(unwritten) >= 1

    await eventually(has_failed)
    notes.clear()
    assert await cut_off.probe("/livez") == 200
    await wire.mend()

    async def is_told() -> bool:
        told = [event.reason for event in await cluster.events()]
        return await cluster.shows("Populating") and told == ["MigrationStarted"]

    await eventually(is_told)


class TestApi:
    """What the controller relies on in the API server's own behaviour."""

    @pytest.fixture
    async def api(self, kubeconfig: Path) -> AsyncIterator[KubeApi]:
        async with KubeApi(lambda: connect(kubeconfig), Metrics()) as api:
            yield api

    async def test_a_write_never_hits_a_namesake(self, api: KubeApi, cluster: Cluster) -> None:
        first = await cluster.create(fakes.vector_collection())
        at = ref_of(VCOL, first)
        await cluster.delete()
        with pytest.raises(GoneError):
            await api.put_status(at, uid_of(first), {"phase": "Ready"})
        second = await cluster.create(fakes.vector_collection())
        with pytest.raises(ConflictError):
            await api.put_status(at, uid_of(first), {"phase": "Ready"})
        with pytest.raises(ConflictError):
            await api.set_finalizers(first, VCOL, [CLEANUP_FINALIZER])
        written = await api.put_status(at, uid_of(second), {"phase": "Ready"})
        assert written["status"]["phase"] == "Ready"
        with pytest.raises(ApiServerError, match=r"status\.phase: Unsupported"):
            await api.put_status(at, uid_of(second), {"phase": "Nonsense"})

    async def test_finalizers_are_set_on_the_known_version_only(self, api: KubeApi, cluster: Cluster) -> None:
        stale = await cluster.create(fakes.vector_collection())
        current = await cluster.edit(metadata={"finalizers": ["example.com/theirs"]})
        with pytest.raises(ConflictError):
            await api.set_finalizers(stale, VCOL, [CLEANUP_FINALIZER])
        with_ours = await api.set_finalizers(current, VCOL, [CLEANUP_FINALIZER])
        assert with_ours["metadata"]["finalizers"] == ["example.com/theirs", CLEANUP_FINALIZER]
        without = await api.set_finalizers(with_ours, VCOL, [])
        assert without["metadata"]["finalizers"] == ["example.com/theirs"]
        await api.set_finalizers(without, VCOL, [CLEANUP_FINALIZER])

    async def test_lists_are_paged_and_small(
        self, api: KubeApi, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("teal.controller.kube_api.PAGE", 2)
        created = [await cluster.create(fakes.vector_collection(f"docs-{number}")) for number in range(5)]
        found = [each async for each in api.list_metadata(VCOL, cluster.namespace)]
        assert [(each.uid, each.resource_version) for each in found] == [
            (uid_of(each), each["metadata"]["resourceVersion"]) for each in created
        ]
        assert {each.uid for each in found} <= {each.uid async for each in api.list_metadata(VCOL, None)}

    async def test_the_kinds_are_served_and_the_cluster_has_an_id(self, api: KubeApi) -> None:
        assert [await api.is_served(kind) for kind in Kind] == [True, True]
        assert await api.cluster_id() == await api.cluster_id() != ""
