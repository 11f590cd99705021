"""What a migration leaves on the collection that serves, and who wrote what: as the table of marks says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from teal.domain.marks import (
    Carried,
    Checkpoint,
    Declared,
    Declined,
    Encoder,
    InStep,
    Key,
    Mark,
    Migration,
    Owner,
    Stale,
    StoredVerdict,
)
from teal.domain.marks.table import TABLE
from teal.migration.steps import delete
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.pool import Server
from tests.unit.migration.fake_qdrant import server_of
from tests.unit.migration.world import ALIAS, ME, World

STAYS = {Owner.KEY, Migration.KEY, Declared.KEY, StoredVerdict.KEY}
ABOUT_ANOTHER = (InStep, Carried, Stale)


class Writers:
    """Which module wrote or cleared which mark."""

    def __init__(self) -> None:
        self.wrote: set[tuple[Key, str]] = set()
        self.cleared: set[tuple[Key, str]] = set()

    def note(self, module: str, marks: tuple[Mark, ...], clear: tuple[Key, ...]) -> None:
        name = module.removeprefix("teal.migration.").replace(".", "/")
        self.wrote |= {(mark.KEY, name) for mark in marks}
        self.cleared |= {(_kind(key), name) for key in clear}


def _kind(key: Key) -> Key:
    return next(row.kind.KEY for row in TABLE if key == row.kind.KEY or key.startswith(f"{row.kind.KEY}/"))


@pytest.fixture
def writers(monkeypatch: pytest.MonkeyPatch) -> Writers:
    found, original = Writers(), Server.mark

    async def mark(server: Server, name: str, *marks: Mark, clear: Any = ()) -> None:
        writer = sys._getframe(1)
        stage = tuple(mark for mark in marks if mark.KEY == Migration.KEY)
        found.note(writer.f_globals["__name__"], stage, ())
        while (
            writer.f_code.co_name == "write" and writer.f_globals["__name__"].endswith("stages") and writer.f_back
        ):
            writer = writer.f_back  # what is written together with a stage is its caller's
        others = tuple(mark for mark in marks if mark.KEY != Migration.KEY)
        found.note(writer.f_globals["__name__"], others, tuple(clear))
        await original(server, name, *marks, clear=clear)

    monkeypatch.setattr(Server, "mark", mark)
    return found


@pytest.fixture(params=[False, True], ids=["copied", "embedded"])
def world(request: pytest.FixtureRequest, writers: Writers) -> Iterator[World]:
    made = World(embeds=request.param)
    made.edit(watch={"duration": "20s"})
    yield made
    made.close()


def marks_of(world: World, name: str | None) -> set[str]:
    assert name
    return {key for key in world.server.model.collections[name].config["metadata"] if key.startswith("teal.dev/")}


def move_to(world: World, version: str) -> str:
    world.encode_by(schemaVersion=version)
    world.until_ready()
    assert world.serving
    return world.serving


def stays(world: World) -> set[str]:
    return STAYS | ({Encoder.KEY} if world.embedding_set else set())


@pytest.mark.parametrize("writes", ["CatchUp", "Frozen", "DualWrite"])
def test_after_its_retention_a_migration_leaves_what_stays_and_nothing_else(
    world: World, writers: Writers, writes: str
) -> None:
    blue = world.serving
    world.edit(migration={"writes": writes})
    green = move_to(world, "v2")
    assert marks_of(world, green) >= stays(world) | {InStep.about(str(blue))}
    world.edit(migration={"writes": "CatchUp"})
    world.come_to_rest()
    assert world.serving == green
    assert blue not in world.server.names
    assert marks_of(world, green) == stays(world)
    assert (Checkpoint.KEY, "steps/stages") in writers.cleared
    assert (InStep.KEY, "steps/partners") in writers.cleared


def test_what_a_rollback_needs_stays_as_long_as_blue_is_retained(world: World) -> None:
    blue, green = world.serving, move_to(world, "v2")
    about = {kind.about(str(blue)) for kind in ABOUT_ANOTHER}
    assert marks_of(world, green) - stays(world) <= about
    assert InStep.about(str(blue)) in marks_of(world, green)
    world.application.write("change", 1)
    assert move_to(world, "v1") == blue
    assert marks_of(world, blue) - stays(world) <= {kind.about(green) for kind in ABOUT_ANOTHER}
    world.come_to_rest()
    assert marks_of(world, blue) <= stays(world)


def test_marks_about_a_collection_that_somebody_deleted_go_before_the_next_migration(world: World) -> None:
    blue, green = world.serving, move_to(world, "v2")
    del world.server.shards[str(blue)]
    world.server.model.delete(str(blue))
    assert InStep.about(str(blue)) in marks_of(world, green)
    move_to(world, "v3")
    assert not marks_of(world, green) & {kind.about(str(blue)) for kind in ABOUT_ANOTHER}
    world.come_to_rest()


def test_what_was_adopted_is_released_with_its_encoder_alone(world: World) -> None:
    """Its clients go on asking for that; the rest would be believed when it is adopted once more."""
    name = str(world.serving)
    metadata = world.server.model.collections[name].config["metadata"]
    metadata[Owner.KEY]["adopted"] = True
    metadata["team"] = "search"
    server = server_of(world.server, world.line.carry, world.loop.time)(Endpoint("http://qdrant:6333"))
    notes = world._run(delete.run(server, world.resource, ME))
    assert [note.reason for note in notes] == ["CollectionReleased"]
    assert marks_of(world, name) == stays(world) - STAYS
    assert world.server.model.collections[name].config["metadata"]["team"] == "search"


def test_marks_are_written_and_cleared_by_the_modules_that_the_table_names(world: World, writers: Writers) -> None:
    world.edit(hnsw={"m": 24}, migration={"promotion": {"quietWait": "1s", "mode": "Manual"}})
    world.encode_by(schemaVersion="v2")
    assert world.until("AwaitingPromotion")
    world.annotate("promote")
    for _ in range(60):
        if world.phase == "Watching":
            break
        world.reconcile_in_time(busy=10)
    world.annotate("rollback")
    for _ in range(60):
        world.reconcile_in_time(busy=10)
    assert any(state.marks.declined for state in world.mine)
    world.annotate("retry")
    world.reconcile_in_time()
    world.edit(migration={"promotion": {"mode": "Automatic"}})
    world.until_ready()
    world.come_to_rest()
    written = {(row.kind.KEY, module) for row in TABLE for module in row.written_by}
    cleared = {(row.kind.KEY, module) for row in TABLE for module in row.clearing}
    assert writers.wrote - written == set()
    assert writers.cleared - cleared == set()
    assert (Declined.KEY, "steps/decline") in writers.wrote
    assert {key for key, _ in writers.wrote} >= {InStep.KEY, Checkpoint.KEY, StoredVerdict.KEY, Migration.KEY}
    assert ALIAS in world.server.aliases
