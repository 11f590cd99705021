"""The request that moves the alias, and no answer to it: applied or not, nothing is assumed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from devkit.qdrant import EmbeddedQdrant
from tests.faults.support import BLUE, GREEN, Crowd, Migrating, content, hasten, named, serves_all
from tests.integration.migration.support import EngineHarness, some_points
from tests.plugins.qdrant import Qdrant

MOVE_ALIAS = "POST /collections/aliases"


@pytest.mark.fault(7)
@pytest.mark.parametrize("fault", [{"when": "before", "drop": True}, {"when": "after", "status": 500}])
async def test_no_answer_to_the_cutover(migrating: Migrating, fault: dict[str, Any]) -> None:
    """Before it was applied: it never happens, and what was caught up for it is stale by the next attempt."""
    engine = migrating.engine
    engine.edit(migration={"promotion": {"quietWait": "0s", "maxFence": "2s"}})
    await engine.until_ready()
    with Crowd.around(engine) as crowd:
        engine.edit(**GREEN)
        await migrating.to("before alias create alias v2")
        engine.qdrant.need_faults().faults(match=MOVE_ALIAS, **fault)
        await migrating.go_on()
        await engine.until_ready()
        await crowd.write()
    crowd.lost_nothing()
    assert engine.serving() == named(engine, "v2")
    told = [reason for reason in engine.reasons() if reason in ("CutoverCompleted", "RollbackStarted")]
    assert told == ["CutoverCompleted"]


@pytest.mark.fault(7)
async def test_a_cutover_that_comes_true_after_all(migrating: Migrating) -> None:
    """Nobody heard of it and it does not show: it is given up, and happens then."""
    engine = migrating.engine
    await engine.declare()
    engine.edit(**GREEN, migration={"promotion": {"maxFence": "1s"}})
    await migrating.to("before alias create alias v2")
    engine.qdrant.need_faults().faults(match=MOVE_ALIAS, drop=True, times=0)
    going = asyncio.create_task(migrating.go_on())
    blue, green = named(engine, "v1"), named(engine, "v2")
    await hasten(engine, going)
    assert engine.serving() == blue
    engine.qdrant.need_faults().faults()
    engine.put(some_points(3, start=500))
    engine.call("POST", MOVE_ALIAS.partition(" ")[2], {
        "actions": [{"create_alias": {"alias_name": engine.alias, "collection_name": green}}],
    })  # fmt: skip
    expected = content(engine.points(blue))
    await engine.until_ready()
    serves_all(engine, expected)
    assert engine.serving() == green


@pytest.fixture
async def peers(tmp_path: Path, prefix: str) -> AsyncIterator[EngineHarness]:
    """On a cluster of three."""
    with EmbeddedQdrant.start(tmp_path, peers=3, faults=True) as server:
        own = Qdrant(server.url, server.grpc_port, embedded=server)
        async with EngineHarness.start(own, f"{prefix}docs", spec=BLUE) as engine:
            yield engine


async def awaiting(engine: EngineHarness) -> tuple[str, str]:
    """Blue and green, which would cut over at a word."""
    blue = await engine.declare()
    engine.edit(migration={"promotion": {"mode": "Manual"}}, **GREEN)
    await engine.until_phase("AwaitingPromotion")
    return blue, named(engine, "v2")


@pytest.mark.fault(7)
async def test_peers_that_lag(peers: EngineHarness) -> None:
    """They would still resolve the alias to blue, so it stays there, and writers are held back for `maxFence`
    only.
    """
    peers.edit(migration={"promotion": {"maxFence": "1s"}})
    blue, green = await awaiting(peers)
    peers.qdrant.need_faults().faults(peers_cut_off=True)
    peers.annotate("promote", peers.migration["planHash"])
    await peers.until(lambda: "AliasNotOnAllPeers" in peers.reasons())
    assert peers.serving() == blue
    peers.put(some_points(5, start=500))
    peers.delete([1, 2])
    peers.qdrant.need_faults().faults()
    await peers.until_phase("Ready")
    assert peers.serving() == green
    assert set(peers.points()) == {*range(3, 61), *range(500, 505)}


@pytest.mark.fault(7)
async def test_a_peer_that_still_shows_an_alias_keeps_the_collection_behind_it(peers: EngineHarness) -> None:
    blue, green = await awaiting(peers)
    peers.annotate("promote", peers.migration["planHash"])
    await peers.until_phase("Ready")
    other = {"alias_name": f"{peers.alias}-elsewhere"}
    path = MOVE_ALIAS.partition(" ")[2]
    peers.call("POST", path, {"actions": [{"create_alias": {**other, "collection_name": blue}}]})
    peers.qdrant.need_faults().faults(peers_cut_off=True)
    peers.call("POST", path, {"actions": [{"delete_alias": other}]})
    peers.clock.advance(3601.0)
    await peers.rest()
    assert blue in peers.collections()
    assert peers.condition("Reconciling")["reason"] == "RetirementBlocked"
    peers.qdrant.need_faults().faults()
    peers.clock.advance(301.0)
    await peers.until(lambda: blue not in peers.collections())
    assert peers.serving() == green
