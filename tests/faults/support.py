"""A migration that can be held at any of its effects while something goes wrong, and the clients around it.

Two rules that every test here ends with: what was acknowledged to clients is what the alias serves (`Crowd`), or,
where nobody writes, `serves_all`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from devkit import corpus
from devkit.clients import Clients, Counts, Ledger, Workload, audit, load
from teal.domain.plan import Plan
from tests.e2e.gate import Gate
from tests.integration.migration.support import EngineHarness, some_points
from tests.plugins.qdrant import Qdrant

BLUE = {"schemaVersion": "v1", "distance": "Dot"}
GREEN = {"schemaVersion": "v2", "distance": "Euclid"}
POINTS = 60


class Migrating:
    """An engine whose road to Qdrant leads through a gate. The test itself, and clients, go past the gate."""

    def __init__(self, engine: EngineHarness, gate: Gate) -> None:
        self.engine = engine
        self.gate = gate
        self._host: asyncio.Task[None] | None = None

    @classmethod
    @asynccontextmanager
    async def start(cls, qdrant: Qdrant, alias: str, **given: Any) -> AsyncIterator[Migrating]:
        with Gate(qdrant, alias) as gate:
            behind = {"qdrant": {"url": gate.url, "grpcPort": gate.grpc_port}}
            spec = {**behind, **BLUE, **given.pop("spec", {})}
            async with EngineHarness.start(qdrant, alias, spec=spec, **given) as engine:
                migrating = cls(engine, gate)
                try:
                    yield migrating
                finally:
                    await migrating.die()

    async def to(self, *effects: str) -> None:
        """Reconcile up to one of these effects ("after create v2"), and hold there."""
        if self._host is None:
            self.gate.shut_at(lambda effect: str(effect) in effects)
            self._host = asyncio.create_task(self._reconcile())
        else:
            self.gate.go_on(lambda effect: str(effect) in effects)
        host = self._host
        met = await asyncio.to_thread(self.gate.wait_shut, 60.0, lambda: not host.done())
        if met is None:
            await host

    async def go_on(self) -> None:
        """Open the gate, and let the step that is held end."""
        host, self._host = self._host, None
        self.gate.go_on()
        if host:
            self._ending = True
            await host

    async def die(self) -> None:
        """The operator is killed where it is held; `engine` is the next one."""
        host, self._host = self._host, None
        if host:
            host.cancel()
            await asyncio.gather(host, return_exceptions=True)
        self.gate.abandon()
        await self.engine.restart()

    async def plan(self) -> Plan:
        """What somebody is told who asks, past the gate, what would be done next."""
        spec = self.engine.spec
        self.engine.spec = {
            **spec,
            "qdrant": {"url": self.engine.qdrant.url, "grpcPort": self.engine.qdrant.grpc_port},
        }
        try:
            return await self.engine.plan()
        finally:
            self.engine.spec = spec

    async def _reconcile(self) -> None:
        self._ending = False
        while not self._ending:
            outcome = await self.engine.step()
            await asyncio.sleep(min(0.05, outcome.requeue_after))


class Crowd:
    """Clients that read and write through the alias all the time."""

    def __init__(self, engine: EngineHarness, clients: Clients) -> None:
        self._engine = engine
        self.clients = clients

    @classmethod
    @contextmanager
    def around(cls, engine: EngineHarness, **workload: Any) -> Iterator[Crowd]:
        """Load what serves, and use it as long as the block runs."""
        qdrant, alias, entries = engine.qdrant, engine.alias, corpus.sample(300)
        ledger = load(qdrant.url, alias, entries, api_key=qdrant.api_key)
        rates = {"reads_per_second": 100, "writes_per_second": 100} | workload
        chosen = Workload(url=qdrant.url, alias=alias, api_key=qdrant.api_key, entries=entries, **rates)
        with Clients.start(chosen, ledger) as clients:
            yield cls(engine, clients)

    async def write(self, count: int = 40) -> None:
        """Wait until so many more writes, of whatever kind, have been acknowledged."""
        goal = self.clients.counts().all_writes + count
        await asyncio.to_thread(self.clients.wait_until, lambda counts: counts.all_writes >= goal)

    def lost_nothing(self) -> Counts:
        """After the block: what was acknowledged is there, nothing else is, and nobody met a failure."""
        counts = self.clients.counts()
        assert counts.failures == 0, counts
        self.holds_all()
        return counts

    def holds_all(self, ledger: Ledger | None = None) -> None:
        qdrant = self._engine.qdrant
        found = audit(qdrant.url, self._engine.alias, ledger or self.clients.ledger, api_key=qdrant.api_key)
        assert found.ok, found


def failures_outside(counts: Counts, since: float, until: float) -> int:
    """What clients met but for the server's own absence between these times (seconds since the epoch)."""
    explained = sum(1 for sent, known in counts.unanswered if sent <= until and known >= since)
    return counts.failures - explained


@contextmanager
def away(server: Any) -> Iterator[list[float]]:
    """The server is killed, and back after the block; when it went and came (seconds since the epoch)."""
    times = [time.time()]
    server.kill()
    try:
        yield times
    finally:
        server.restart()
        times.append(time.time())


def content(points: dict[int, Any]) -> dict[int, tuple[Any, ...]]:
    """Points in a form that compares: payload, and vector rounded as a wire format may."""
    return {
        name: (point["payload"], *(round(number, 5) for number in point["vector"]))
        for name, point in points.items()
    }


def serves_all(engine: EngineHarness, expected: dict[int, tuple[Any, ...]]) -> None:
    """The alias serves exactly these points, from a collection that is declared, and nothing is half done."""
    assert content(engine.points()) == expected
    serving = engine.serving()
    assert engine.status["active"]["collection"] == serving
    assert f"{engine.alias}-next" not in engine.aliases()
    retained = {row["collection"] for row in engine.status.get("retained") or ()}
    assert engine.collections() == {serving, *retained}
    for name in engine.collections():
        assert "teal.dev/fence" not in engine.marks(name)


def point_alias(engine: EngineHarness, name: str | None, alias: str | None = None) -> None:
    """By hand: point the alias (or another one) at a collection; `None` deletes it."""
    alias = alias or engine.alias
    if name is None:
        action: dict[str, Any] = {"delete_alias": {"alias_name": alias}}
    else:
        action = {"create_alias": {"alias_name": alias, "collection_name": name}}
    engine.call("POST", "/collections/aliases", {"actions": [action]})


def named(engine: EngineHarness, version: str) -> str:
    """The collection of a schemaVersion."""
    (found,) = (name for name in engine.collections() if name.startswith(f"{engine.alias}-{version}-"))
    return found


async def hasten(engine: EngineHarness, task: asyncio.Task[None]) -> None:
    """Let time pass quickly until a task has ended."""
    while not task.done():
        engine.clock.advance(1.0)
        await asyncio.sleep(0.05)
    await task


async def within(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Look until it holds, while others work."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


__all__ = ["BLUE", "GREEN", "POINTS", "Crowd", "Migrating", "some_points"]
