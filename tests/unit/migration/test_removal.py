"""Before a collection is deleted, for whatever reason, every peer is asked whether an alias points at it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.migration.fake_qdrant import FakeAdmin
from tests.unit.migration.world import ALIAS, World

MANUAL = {"promotion": {"mode": "Manual"}}
THEIRS = "docs-live"


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def awaiting(world: World) -> str:
    """Green, which would cut over at a word."""
    world.edit(schemaVersion="v2", migration=MANUAL)
    assert world.until("AwaitingPromotion")
    return str(world.migration["target"])


def behind(monkeypatch: pytest.MonkeyPatch, **lagging: str | None) -> None:
    """The peer that is asked for the aliases shows these as they were; the peers that are asked as such do not."""
    told = FakeAdmin.aliases

    async def aliases(self: FakeAdmin) -> dict[str, str]:
        shown: dict[str, str | None] = {**await told(self), **lagging}
        return {alias: name for alias, name in shown.items() if name is not None}

    monkeypatch.setattr(FakeAdmin, "aliases", aliases)


def test_an_abort_does_not_drop_the_green_that_other_peers_serve(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alias has moved, and the peer that is asked has not followed."""
    blue, green = world.serving, awaiting(world)
    behind(monkeypatch, **{ALIAS: blue})
    world.server.aliases[ALIAS] = green
    world.annotate("abort")
    for _ in range(4):
        world.reconcile_in_time()
    assert world.server.aliases[ALIAS] == green
    assert world.reason == "StillServing"
    assert f"'{ALIAS}'" in world.trouble["message"]


def test_an_edit_does_not_drop_the_green_that_other_peers_serve(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    green = awaiting(world)
    behind(monkeypatch, **{THEIRS: None})
    world.server.aliases[THEIRS] = green
    world.edit(schemaVersion="v3")
    for _ in range(4):
        world.reconcile_in_time()
    assert world.server.aliases[THEIRS] == green
    assert world.reason == "StillServing"
    world.move_alias_away()
    world.edit(migration={"promotion": {"mode": "Automatic"}})
    world.until_ready()
    assert green not in world.server.names


def test_a_deleted_resource_keeps_what_somebody_elses_alias_names(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    blue = str(world.serving)
    behind(monkeypatch, **{THEIRS: None})
    world.server.aliases[THEIRS] = blue
    world.delete("Delete")
    outcome = world.reconcile()
    assert outcome
    assert not outcome.finished
    assert blue in world.server.names
    assert {world.server.aliases[ALIAS], world.server.aliases[THEIRS]} == {blue}
    assert [note.reason for note in outcome.notes] == ["StillServing"]
    del world.server.aliases[THEIRS]
    outcome = world.reconcile()
    assert outcome
    assert outcome.finished
    assert blue not in world.server.names
    assert blue not in world.server.aliases.values()


def test_its_own_preview_does_not_keep_an_abandoned_green(world: World) -> None:
    green = awaiting(world)
    assert world.server.aliases[f"{ALIAS}-next"] == green
    world.annotate("abort")
    for _ in range(4):
        world.reconcile_in_time()
    assert green not in world.server.names
    assert f"{ALIAS}-next" not in world.server.aliases
