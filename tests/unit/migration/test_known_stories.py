"""What Hypothesis found once, as short as it could be told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from teal.domain.keys import RawId
from teal.domain.ownership import stage_of
from teal.domain.transitions import Stage
from teal.migration.sync.memory import PairMemories
from teal.qdrant import wire
from tests.unit.migration.fake_qdrant import Stored
from tests.unit.migration.world import World


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def move_to(world: World, version: str) -> None:
    world.encode_by(schemaVersion=version)
    world.until_ready()


def test_what_was_written_to_the_retained_side_alone_reaches_the_other_one_after_a_return(world: World) -> None:
    """It was taken for a version that both sides have, so the side that was left never got it."""
    move_to(world, "v2")
    world.write_retained("upsert", 101)
    move_to(world, "v1")
    world.come_to_rest()


def test_it_is_there_when_the_alias_goes_forth_once_more(world: World) -> None:
    move_to(world, "v2")
    world.write_retained("upsert", 101)
    move_to(world, "v1")
    move_to(world, "v2")
    world.check()
    world.come_to_rest()


def test_what_was_written_until_the_retention_ended_goes_along_before_the_collection_goes(world: World) -> None:
    """An operator that was away at the end of the retention deleted it at once when it came back."""
    move_to(world, "v2")
    world.write_retained("upsert", 101)
    world.restart()
    world.wait(world.keep_for)
    world.come_to_rest()


def test_a_return_over_two_generations_takes_back_what_was_written_in_the_one_between(world: World) -> None:
    """Nothing was known of those two sides together, and that was read as nothing had changed."""
    move_to(world, "v2")
    world.application.write("upsert", 1)
    world.application.write("change", 2)
    world.application.write("delete", 3)
    move_to(world, "v3")
    move_to(world, "v1")
    world.come_to_rest()


def test_a_second_edit_right_after_the_cutover_leaves_nothing_stale_in_what_serves() -> None:
    """Both old collections learned late that they were replaced, by the same one: the older was taken for its
    pair, and its content went over what serves."""
    world = World(latency=0.05)
    first = world.serving
    world.encode_by(schemaVersion="v2")
    while world.serving == first:
        world.reconcile_in_time()
    assert [state.marks.replaced for state in world.mine] == [None, None]
    world.application.write("change", 1)
    world.application.write("delete", 3)
    move_to(world, "v3")
    for _ in range(3):
        world.wait(15.0)
        world.reconcile()
    world.come_to_rest()
    world.close()


def test_an_alias_that_is_deleted_right_after_a_cutover_comes_back_to_what_it_had_moved_to() -> None:
    """Neither side knew yet that one had replaced the other, and the one of the better name was taken."""
    world = World(latency=0.05)
    first = world.serving
    world.encode_by(distance="Dot")
    while world.serving == first:
        world.reconcile_in_time()
    second = world.serving
    world.application.write("change", 1)
    world.delete_alias()
    world.encode_by(schemaVersion="v2")
    world.until("Populating")
    assert world.serving == second
    world.come_to_rest()
    world.close()


def test_the_time_in_which_nobody_came_by_is_not_taken_for_work_on_a_round() -> None:
    """It was: a day away, and the pause after the round that had been left half-way was twenty days."""
    world = World(latency=0.1)
    world.edit(migration={"throttle": {"maxReadLatencyMillis": 1000}})
    move_to(world, "v2")
    while not (memory := world.session.part(PairMemories).newest) or memory.round is None:
        world.application.write("change", 1)
        world.wait(15.0)
        world.reconcile()
    world.wait(250.0)
    while memory.round is not None:
        world.reconcile()
    world.application.write("change", 2)
    world.come_to_rest()
    world.close()


def test_what_a_rollback_is_about_to_write_is_announced_before(world: World) -> None:
    """Else, after a crash, what the application deletes afterwards would come back to life."""
    first = world.serving
    move_to(world, "v2")
    second = world.serving
    told: list[int] = []

    def watched(name: str, changed: Mapping[RawId, Stored | None]) -> None:
        made = {point for point, stored in changed.items() if stored}
        if made and name == first and world.serving == second:
            assert second
            log = world.state(second).marks.carried_about(name)
            ids = {each for mark in log for each in mark.points.get(name, ())}
            assert made <= {wire.raw_id(int(each)) for each in ids}
            told.append(len(made))

    world.server.writing = watched
    world.encode_by(schemaVersion="v1")
    while world.serving == second:
        world.reconcile(busy=7)
    assert told
    world.come_to_rest()


def test_a_return_that_was_stopped_and_asked_for_again_does_not_stop_again(world: World) -> None:
    """Both annotations stayed, as they may, and named the same attempt: each undid what the other had done."""
    first = world.serving
    move_to(world, "v2")
    second = world.serving
    world.encode_by(schemaVersion="v1")
    while stage_of(world.state(str(first))) is not Stage.ROLLING_BACK:
        world.reconcile_in_time()
    world.annotate("abort")
    world.until("Held")
    assert world.serving == second
    stopped = world.state(str(first)).marks.migration
    world.annotate("retry")
    world.until_ready()
    assert world.serving == first
    retried = world.state(str(first)).marks.migration
    assert stopped
    assert retried
    assert retried.attempt == stopped.attempt + 1, "so that it could have been stopped again"
    assert [note.reason for note in world.notes].count("MigrationAborted") == 1
    world.come_to_rest()
