"""`<alias>-next` is for previews and dual writers: one that somebody else has is left alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.migration.world import World


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def belongs_to_others(world: World, name: str = "docs-archive") -> None:
    """Somebody else's alias with the name of ours."""
    world.server.aliases["docs-next"] = name
    world.leave_to_others()


@pytest.mark.parametrize("theirs", ["docs-archive", "docs-v2-theirs"], ids=["nobody's", "another resource's"])
@pytest.mark.parametrize("writes", ["CatchUp", "DualWrite"])
def test_a_preview_of_somebody_else_stays_where_it_is(world: World, writes: str, theirs: str) -> None:
    belongs_to_others(world, theirs)
    world.edit(migration={"writes": writes}, schemaVersion="v2")
    before = world.serving
    world.until_ready()
    assert world.serving != before
    assert world.server.aliases["docs-next"] == theirs
    told = [note.message for note in world.notes if note.warning and "'docs-next'" in note.message]
    assert len(told) == (writes == "DualWrite")
    assert all(f"points at {theirs!r}" in text and repr(world.serving) in text for text in told)


def test_a_collection_of_that_name_is_no_reason_to_stop(world: World) -> None:
    world.server._create("docs-next", {"vectors": {"size": 4, "distance": "Dot"}})
    world.leave_to_others("docs-next")
    world.edit(migration={"writes": "DualWrite"}, schemaVersion="v2")
    world.until_ready()
    assert "docs-next" not in world.server.aliases
    assert [note for note in world.notes if "'docs-next' is a collection" in note.message]


def test_dual_writers_find_green_by_it(world: World) -> None:
    world.edit(migration={"writes": "DualWrite"}, schemaVersion="v2")
    world.until("Populating")
    assert world.server.aliases["docs-next"] == world.migration["target"]
