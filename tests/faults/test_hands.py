"""Somebody deletes or re-points the alias, green or blue by hand, in each stage of a migration."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.support import GREEN, Migrating, content, named, point_alias, serves_all
from tests.integration.migration.support import some_points

CREATED = "after create v2"
INDEXING, VERIFYING, AWAITING, PROMOTING = (
    f"after patch v2 migration {stage}" for stage in ("Indexing", "Verifying", "AwaitingPromotion", "Promoting")
)
WATCHING = "after patch v2 migration Watching"
BEFORE_CUTOVER = "before alias create alias v2"
CUT_OVER = "after alias create alias v2"


async def held(migrating: Migrating, effect: str, **spec: Any) -> tuple[str, str]:
    """A migration from blue to green (and to `spec`), held at `effect`; their names."""
    engine = migrating.engine
    blue = await engine.declare()
    engine.edit(**GREEN, **spec)
    await migrating.to(effect)
    return blue, named(engine, "v2")


@pytest.mark.fault(20)
@pytest.mark.parametrize("effect", [CREATED, VERIFYING, AWAITING, BEFORE_CUTOVER])
async def test_the_alias_under_way(migrating: Migrating, effect: str) -> None:
    """Deleted: it comes back. On a stranger: nothing is touched until it is put back, and then all goes on."""
    engine = migrating.engine
    blue, green = await held(migrating, effect)
    expected = content(engine.points(blue))
    point_alias(engine, None)
    await migrating.go_on()
    await engine.until(lambda: engine.alias in engine.aliases())
    stranger = f"{engine.alias}x-theirs"
    engine.call("PUT", f"/collections/{stranger}", {"vectors": {"size": 4, "distance": "Dot"}})
    engine.put(some_points(3), stranger)
    point_alias(engine, stranger)
    await engine.restart()
    await engine.until(lambda: engine.condition("Stalled")["reason"] == "AliasNotOwned")
    assert engine.condition("Ready")["status"] == "False"
    assert engine.serving() == stranger
    assert len(engine.points(stranger)) == 3
    point_alias(engine, blue)
    await engine.until_ready()
    engine.call("DELETE", f"/collections/{stranger}")
    serves_all(engine, expected)
    assert engine.serving() == green


@pytest.mark.fault(20)
@pytest.mark.parametrize("effect", [INDEXING, PROMOTING])
async def test_the_alias_on_green_too_early(migrating: Migrating, effect: str) -> None:
    """It goes back to what is complete, though green lacks only what was written last."""
    engine = migrating.engine
    blue, green = await held(migrating, effect)
    engine.put(some_points(3, start=500), blue)
    expected = content(engine.points(blue))
    point_alias(engine, green)
    await migrating.go_on()
    await engine.until_ready()
    serves_all(engine, expected)
    assert engine.serving() == green


@pytest.mark.fault(20)
@pytest.mark.parametrize("effect", [INDEXING, VERIFYING, AWAITING, BEFORE_CUTOVER])
async def test_green_under_way(migrating: Migrating, effect: str) -> None:
    """It is made again, from blue and not from memory."""
    engine = migrating.engine
    blue, green = await held(migrating, effect)
    expected = content(engine.points(blue))
    engine.call("DELETE", f"/collections/{green}")
    await migrating.go_on()
    assert engine.serving() == blue
    await engine.until_ready()
    serves_all(engine, expected)
    assert engine.serving() == green


@pytest.mark.fault(20)
@pytest.mark.parametrize("effect", [INDEXING, VERIFYING, PROMOTING])
async def test_blue_under_way(migrating: Migrating, effect: str) -> None:
    """Nothing is dropped that may be the last copy, and no success is told."""
    engine = migrating.engine
    blue, green = await held(migrating, effect)
    engine.call("DELETE", f"/collections/{blue}")
    await migrating.go_on()
    await engine.until(lambda: engine.condition("Stalled")["reason"] == "SourceGone")
    await engine.rest()
    assert set(engine.payloads(green)) == set(range(1, 61))
    assert engine.condition("Ready")["status"] == "False"
    assert engine.alias not in engine.aliases()


@pytest.mark.fault(20)
async def test_the_alias_while_green_is_watched(migrating: Migrating) -> None:
    """It comes back, on green."""
    engine = migrating.engine
    blue, green = await held(migrating, WATCHING, watch={"duration": "1s"})
    expected = content(engine.points(blue))
    point_alias(engine, None)
    await migrating.go_on()
    await engine.until(lambda: engine.aliases().get(engine.alias) == green)
    await engine.until_ready()
    serves_all(engine, expected)


@pytest.mark.fault(20)
async def test_blue_while_green_is_watched(migrating: Migrating) -> None:
    """There is nothing to go back to any more, and nothing else is different."""
    engine = migrating.engine
    blue, green = await held(migrating, WATCHING, watch={"duration": "1s"})
    expected = content(engine.points(blue))
    engine.call("DELETE", f"/collections/{blue}")
    await migrating.go_on()
    await engine.until_ready()
    await engine.rest()
    serves_all(engine, expected)
    assert (engine.serving(), engine.collections()) == (green, {green})


@pytest.mark.fault(20)
async def test_green_when_it_serves(migrating: Migrating) -> None:
    """Blue serves at once, and green is made from it again."""
    engine = migrating.engine
    blue, green = await held(migrating, "after alias create alias v2")
    await migrating.go_on()
    await engine.until_ready()
    engine.put(some_points(3, start=500))
    engine.clock.advance(11.0)
    await engine.until(lambda: 502 in engine.points(blue))
    expected = content(engine.points(blue))
    engine.call("DELETE", f"/collections/{green}")
    await engine.restart()
    await engine.step()
    assert engine.serving() == blue
    await engine.until_ready()
    serves_all(engine, expected)
    assert engine.serving() == green
