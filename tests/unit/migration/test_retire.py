"""The last snapshot of a retained collection: taken after all writes, seen, and said."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.migration.world import Trouble, World


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    made.edit(retention={"snapshot": True})
    yield made
    made.close()


def retention_ended(world: World) -> str:
    """Blue, whose retention has just ended; the finalizer that its fence needs is set."""
    blue = str(world.serving)
    world.edit(schemaVersion="v2")
    world.until_ready()
    for _ in range(3):
        world.wait(120.0)
        world.reconcile()
    world.wait(world.keep_for)
    assert not world.guarded
    world.reconcile()
    assert world.guarded
    assert blue in world.server.names
    return blue


def until_gone(world: World, blue: str) -> str:
    """What was told when it was deleted."""
    for _ in range(6):
        if blue not in world.server.names:
            break
        world.reconcile_in_time()
    (told,) = [note.message for note in world.notes if note.reason == "CollectionRetired"]
    return told


def names(world: World, blue: str) -> list[str]:
    return [each.name for each in world.server.shards[blue].snapshots]


def test_an_old_snapshot_is_not_taken_for_the_final_one(world: World) -> None:
    """Whenever it was taken: one from after the retention may lack writes, too."""
    blue = retention_ended(world)
    world.server.snapshot(blue, 0)
    (old,) = names(world, blue)
    told = until_gone(world, blue)
    assert "its snapshots are" in told
    assert old not in told


def test_a_snapshot_of_an_attempt_that_died_is_deleted_and_taken_again(world: World) -> None:
    blue = retention_ended(world)
    world.server.snapshot(blue, 0)
    (theirs,) = names(world, blue)
    world.reconcile([Trouble("delete", "crash before")])
    first = names(world, blue)
    assert len(first) == 2
    world.reconcile([Trouble("delete", "crash before")])
    second = names(world, blue)
    assert len(second) == 2
    assert set(first) & set(second) == {theirs}


def test_status_says_where_the_snapshots_are(world: World) -> None:
    blue = retention_ended(world)
    world.reconcile([Trouble("delete", "never sent")])
    (row,) = world.status["retained"]
    (name,) = names(world, blue)
    assert row["snapshot"] == f"{name} at http://qdrant:6333"
    until_gone(world, blue)
    last = world.status["history"][0]
    assert (last["from"], last["to"], last["outcome"]) == (blue, world.serving, "Retired")
    assert "http://qdrant:6333" in last["message"]
    assert "does not list them any more" in last["message"]


def test_without_a_snapshot_where_none_is_asked_for(world: World) -> None:
    world.edit(retention={"snapshot": False})
    blue = retention_ended(world)
    assert "snapshot" not in until_gone(world, blue)
