"""Six ways in which another operator's migration by shadow collection goes wrong, and Teal's does not."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.support import GREEN, Migrating, content, named, serves_all
from tests.integration.migration.support import EngineHarness, some_points

MANY = 12_000


async def test_a_cutover_that_cannot_be_verified_deletes_nothing(migrating: Migrating) -> None:
    engine = migrating.engine
    blue = await engine.declare()
    expected = content(engine.points())
    engine.edit(**GREEN)
    await migrating.to("after alias create alias v2")
    green = engine.serving()
    engine.qdrant.need_faults().faults(match="GET /aliases", status=500, times=0)
    await migrating.go_on()
    await engine.rest()
    await engine.restart()
    await engine.rest()
    assert engine.condition("Ready")["status"] != "True"
    engine.qdrant.need_faults().faults()
    assert (engine.serving(), engine.collections()) == (green, {blue, green})
    await engine.until_ready()
    serves_all(engine, expected)
    assert migrating.gate.applied().count("alias create alias v2") == 1


async def test_changes_in_place_during_the_copy_are_seen_though_the_count_is_equal(migrating: Migrating) -> None:
    engine = migrating.engine
    await engine.declare()
    engine.edit(**GREEN)
    for stage in ("CatchingUp", "Indexing", "Verifying"):
        await migrating.to(f"after patch v2 migration {stage}")
        engine.put(some_points(20, start=1 + len(stage), stage=stage))
        path = f"/collections/{engine.alias}/points"
        engine.call("POST", f"{path}/payload?wait=true", {"payload": {"seen": stage}, "points": [30, 31]})
        engine.call("PUT", f"{path}/vectors?wait=true", {"points": [{"id": 40, "vector": [0.1, 0.2, 0.3, 0.4]}]})
        engine.delete([50])
        engine.put(some_points(1, start=50, again=stage))
    expected = content(engine.points())
    assert len(expected) == 60
    await migrating.to("before alias create alias v2")
    assert content(engine.points(named(engine, "v2"))) == expected
    await migrating.go_on()
    await engine.until_ready()
    serves_all(engine, expected)


async def test_green_has_all_that_blue_was_declared_with(engine: EngineHarness) -> None:
    engine.edit(
        hnsw={"m": 24, "efConstruct": 77},
        quantization={"scalar": {"type": "int8", "quantile": 0.99, "alwaysRam": True}},
        optimizers={"indexingThreshold": 5000},
        onDiskPayload=True,
        strictMode={"enabled": True, "maxQueryLimit": 5000},
        sparseVectors=[{"name": "words", "modifier": "Idf"}],
        payloadIndexes=[{"field": "n", "type": "integer"}, {"field": "text", "type": "keyword", "isTenant": True}],
    )
    await engine.until_ready()
    blue = engine.serving()
    engine.call("PATCH", f"/collections/{blue}", {"metadata": {"team": "search"}})
    # Before the cut-over: its fence leaves a limit on blue that limits nothing, because none can be unset.
    was = configured(engine, blue)
    engine.edit(**GREEN)
    await engine.until_ready()
    assert engine.serving() != blue
    now = configured(engine, engine.serving())
    assert was["vectors"].pop("distance") == "Dot"
    assert now["vectors"].pop("distance") == "Euclid"
    assert now == was
    assert now["hnsw_config"]["m"] == 24
    assert now["quantization_config"]["scalar"]["quantile"] == pytest.approx(0.99)
    assert set(now["indexes"]) == {"n", "text"}
    assert now["own"] == {"team": "search"}


def configured(engine: EngineHarness, name: str) -> dict[str, Any]:
    """All that a collection was configured with, but for Teal's own marks."""
    info = engine.call("GET", f"/collections/{name}")
    config, params = info["config"], info["config"]["params"]
    return {
        **{key: value for key, value in config.items() if key not in ("params", "metadata")},
        **params,
        "indexes": {
            field: (found["data_type"], found.get("params")) for field, found in info["payload_schema"].items()
        },
        "own": {key: value for key, value in config["metadata"].items() if not key.startswith("teal.dev/")},
    }


async def test_one_look_moves_as_much_as_its_time_allows(engine: EngineHarness) -> None:
    """Neither so many points a reconcile nor a status write for each batch."""
    await engine.until_ready()
    for start in range(1, MANY, 3000):
        engine.put(some_points(3000, start=start))
    engine.edit(**GREEN)
    looks: list[str] = []

    def populated() -> bool:
        looks.append(engine.phase)
        return engine.phase not in ("Provisioning", "Populating", "Ready")

    await engine.until(populated)
    assert MANY / looks.count("Populating") > 500, looks
    await engine.until_ready()
    assert engine.status["active"]["points"] == MANY


async def test_a_strangers_collection_under_greens_name_stays_whatever_is_declared(engine: EngineHarness) -> None:
    blue = await engine.declare()
    engine.edit(**GREEN)
    taken = (await engine.plan()).target
    engine.call("PUT", f"/collections/{taken}", {"vectors": {"size": 4, "distance": "Euclid"}})
    engine.put(some_points(7), taken)
    theirs = content(engine.points(taken))
    await engine.until(lambda: engine.condition("Stalled")["reason"] == "CollectionNotOwned")
    await engine.rest()
    assert engine.serving() == blue
    engine.edit(schemaVersion="v3")
    await engine.until_ready()
    engine.edit(retention={"keepFor": "1m"})
    engine.clock.advance(61.0)
    await engine.until(lambda: blue not in engine.collections())
    engine.edit(**GREEN)
    await engine.until(lambda: engine.condition("Stalled")["reason"] == "CollectionNotOwned")
    await engine.restart()
    await engine.rest()
    assert content(engine.points(taken)) == theirs
    assert engine.serving() == named(engine, "v3")


TROUBLES: list[dict[str, Any]] = [
    {"match": ".*", "drop": True, "times": 0},
    {"match": "(GET|PUT|PATCH|POST) .*", "status": 500, "times": 0},
    {"match": "PUT /collections/[^/]+", "status": 400, "times": 0},
    {"disk_full": True},
]


async def test_trouble_is_never_ready(engine: EngineHarness) -> None:
    """In a migration `Ready` is said when what is declared serves, and not before, whatever is in the way."""
    server = engine.qdrant.need_faults()
    await engine.declare()
    engine.edit(**GREEN)
    for trouble in TROUBLES:
        server.faults(**trouble)
        for _ in range(3):
            await engine.step()
            assert engine.condition("Ready")["status"] != "True", engine.describe()
            assert {engine.condition(kind)["status"] for kind in ("Reconciling", "Stalled")} == {"True", "absent"}
        server.faults()
    await engine.until_ready()
    assert engine.serving() == named(engine, "v2")


async def test_a_qdrant_that_is_away_is_not_ready_at_rest(engine: EngineHarness) -> None:
    await engine.declare()
    engine.qdrant.need_faults().faults(match=".*", drop=True, times=0)
    await engine.restart()
    await engine.step()
    assert (engine.condition("Ready")["status"], engine.condition("Available")["status"]) == ("Unknown", "Unknown")
    engine.qdrant.need_faults().faults()
    await engine.until_ready()
