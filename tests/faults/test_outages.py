"""Qdrant goes away and comes back in each stage, or asks for another key: nothing begins anew for that."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from devkit.qdrant import EmbeddedQdrant
from teal.cli.manifests import FileSecrets
from tests.faults.support import GREEN, Crowd, Migrating, content, named, serves_all
from tests.plugins.qdrant import Qdrant

HOLDS = [
    "before upsert v2 in Populating",
    "after patch v2 migration Indexing",
    "after patch v2 migration Verifying",
    "before alias create alias v2",
]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Qdrant]:
    """A server that only this test uses, so it may be killed."""
    with EmbeddedQdrant.start(tmp_path / "data") as server:
        yield Qdrant(server.url, server.grpc_port, embedded=server)


@pytest.mark.fault(5)
@pytest.mark.fault(6)
async def test_a_server_that_crashes_in_each_stage(own: Qdrant) -> None:
    """Copying, indexing, verifying, before and in the cut-over. Clients meet the server's absence and no more."""
    server = own.need_faults()
    absences: list[tuple[float, float]] = []
    async with Migrating.start(own, "docs") as migrating:
        engine = migrating.engine
        await engine.until_ready()
        with Crowd.around(engine, reads_per_second=20, writes_per_second=50) as crowd:
            engine.edit(**GREEN)
            for effect in HOLDS:
                await migrating.to(effect)
                went = time.time()
                server.kill()
                await migrating.go_on()
                assert engine.condition("Ready")["status"] != "True"
                server.restart()
                absences.append((went, time.time()))
            await engine.until_ready()
            await crowd.write()
        counts = crowd.clients.counts()
        met = [at for at in counts.unanswered if not any(at[0] <= b and at[1] >= a for a, b in absences)]
        assert (met, counts.failures) == ([], len(counts.unanswered)), counts
        crowd.holds_all()
        assert engine.serving() == named(engine, "v2")
        assert migrating.gate.applied().count("create v2") == 1
        assert engine.migration["attempts"] == 1


BULK = "GRPC qdrant.Points/(Upsert|Query|Scroll|Get)"
FAILING = {
    "after upsert v2 in Populating": BULK,
    "after patch v2 migration Indexing": "GET /collections/.*/optimizations",
    "after patch v2 migration Verifying": BULK,
    "before patch v2 migration Promoting": BULK,
}
REPLICA = "The replica set for shard 0 on peer 1 does not have enough active replicas"


@pytest.mark.fault(5)
@pytest.mark.fault(19)
@pytest.mark.parametrize("why", [REPLICA, "Service internal error: Cannot allocate memory (os error 12)"])
async def test_a_replica_that_is_dead_or_out_of_memory(migrating: Migrating, why: str) -> None:
    """Whatever is asked of it fails for a while, wherever points are read or written: Teal waits and says so."""
    engine, server = migrating.engine, migrating.engine.qdrant.need_faults()
    engine.edit(migration={"parallelism": 1})
    blue = await engine.declare(1200)
    expected = content(engine.points())
    engine.edit(**GREEN)
    for effect, calls in FAILING.items():
        await migrating.to(effect)
        server.faults(match=calls, status=500, error=why, times=0)
        await migrating.go_on()
        await engine.rest(3)
        assert engine.condition("Stalled")["status"] == "absent"
        assert engine.serving() == blue
        server.faults()
    await engine.until_ready()
    serves_all(engine, expected)
    assert migrating.gate.applied().count("create v2") == 1
    assert migrating.gate.applied().count("upsert v2 in Populating") == 3
    assert why in " ".join(note.message for note in engine.notes)
    assert engine.migration["attempts"] == 1


def with_key(folder: Path, key: str, before: EmbeddedQdrant | None = None) -> EmbeddedQdrant:
    """A server that asks for `key`, in the place of `before`."""
    ports = {"rest_port": before.rest_port, "grpc_port": before.grpc_port} if before else {}
    if before:
        before.stop()
    return EmbeddedQdrant.start(folder, api_key=key, **ports)


@pytest.fixture
async def keyed(tmp_path: Path) -> AsyncIterator[tuple[Migrating, FileSecrets]]:
    """A migration on a server with a key, and the Secret that holds it."""
    server = with_key(tmp_path / "data", "first-key")
    secrets = FileSecrets(data={("search", "qdrant"): {"key": "first-key"}})
    asked = {"apiKeySecretRef": {"name": "qdrant", "key": "key"}}
    try:
        own = Qdrant(server.url, server.grpc_port, "first-key", server)
        async with Migrating.start(own, "docs", spec={}, secrets=secrets) as migrating:
            migrating.engine.spec["qdrant"] |= asked
            yield migrating, secrets
    finally:
        server.stop()


@pytest.mark.fault(25)
async def test_a_key_that_is_rotated_while_points_are_copied(
    keyed: tuple[Migrating, FileSecrets], tmp_path: Path
) -> None:
    """First the server has the new one, then the Secret: in between it is said, and then the copy goes on."""
    migrating, secrets = keyed
    engine = migrating.engine
    engine.edit(migration={"parallelism": 1})
    await engine.declare(1200)
    expected = content(engine.points())
    engine.edit(**GREEN)
    await migrating.to("after upsert v2 in Populating")
    with with_key(tmp_path / "data", "second-key", engine.qdrant.need_faults()) as server:
        await migrating.go_on()
        await engine.until(lambda: engine.condition("Stalled")["reason"] == "QdrantUnauthorized")
        assert engine.condition("Ready")["status"] != "True"
        assert "first-key" not in str(engine.status)
        secrets.data["search", "qdrant"] = {"key": "second-key"}
        engine.use(Qdrant(server.url, server.grpc_port, "second-key", server))
        await engine.until_ready()
        serves_all(engine, expected)
        assert migrating.gate.applied().count("create v2") == 1
        assert migrating.gate.applied().count("upsert v2 in Populating") == 3
