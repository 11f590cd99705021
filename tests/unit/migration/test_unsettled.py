"""A point that differs between the two sides, where nobody knows which side changed: left as it is, and shown."""

from __future__ import annotations

from collections.abc import Callable

from teal.domain.schema import version_alias
from teal.qdrant import wire
from tests.unit.migration.test_guarantee_stories import behind, in_step, move_to, unchecked
from tests.unit.migration.world import ALIAS, World

POINT = 1
OLD = version_alias(ALIAS, "v1")


def written_on_both_while_nobody_looked(made: Callable[..., World]) -> World:
    """Without `op_num`s there is no epoch, so after a restart only the sums of the buckets tell anything."""
    world = made()
    unchecked(world)
    world.server.telemetry = False
    move_to(world, "v2")
    in_step(world)
    world.application.write("upsert", POINT, "v1")
    world.application.write("upsert", POINT)
    world.restart()
    return world


def shown(world: World) -> int:
    return int(world.migration["writes"]["inStep"].get("unsettled", 0))


def test_it_stays_as_it_is_on_both_sides_and_is_shown(made: Callable[..., World]) -> None:
    world = written_on_both_while_nobody_looked(made)
    before = behind(world, ALIAS, POINT), behind(world, OLD, POINT)
    assert before[0] != before[1]
    in_step(world)
    world.restart()
    in_step(world)
    assert (behind(world, ALIAS, POINT), behind(world, OLD, POINT)) == before
    assert shown(world) == 1


def test_it_keeps_the_retained_collection_until_it_is_written_again(made: Callable[..., World]) -> None:
    world = written_on_both_while_nobody_looked(made)
    blue = world.server.aliases[OLD]
    world.wait(world.keep_for)
    for _ in range(6):
        world.reconcile_in_time()
    assert world.reason == "NotSettled"
    assert f"ids {POINT})" in world.trouble["message"]
    assert blue in world.server.names
    world.assert_no_fence()
    world.application.write("upsert", POINT)
    for _ in range(6):
        world.reconcile_in_time()
    assert blue not in world.server.names
    assert behind(world, ALIAS, POINT) == world.application.told[wire.raw_id(POINT)]["n"]
