"""An adopted collection is given back when its retention ends: it is somebody else's, and stays as it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from teal.domain.marks import Encoder, is_mark
from tests.unit.domain.worlds import LEGACY
from tests.unit.migration.world import ALIAS, Trouble, World, adopting


@pytest.fixture
def world() -> Iterator[World]:
    made = adopting(LEGACY, metadata={"team": "search"})
    yield made
    made.close()


def let_the_retention_end(world: World) -> None:
    world.encode_by(schemaVersion="v2")
    world.until_ready()
    assert world.serving != LEGACY
    assert [row["collection"] for row in world.status["retained"]] == [LEGACY]
    world.wait(world.keep_for + 1.0)
    for _ in range(6):
        world.reconcile_in_time()
    assert "retained" not in world.status


def test_it_is_released_with_all_its_points(world: World) -> None:
    points = dict(world.server.points(LEGACY))
    let_the_retention_end(world)
    assert world.server.points(LEGACY).keys() == points.keys()
    metadata = world.server.model.collections[LEGACY].config["metadata"]
    assert {key for key in metadata if is_mark(key)} <= {Encoder.KEY}
    assert metadata["team"] == "search"
    assert LEGACY not in world.server.aliases.values()
    serving = str(world.serving)
    assert not world.state(serving).marks.partners, "what was noted about it would be believed later"
    told = [note for note in world.notes if note.reason == "CollectionReleased"]
    assert len(told) == 1
    assert LEGACY in told[0].message


def test_it_is_not_taken_again(world: World) -> None:
    let_the_retention_end(world)
    world.leave_to_others(LEGACY)
    for _ in range(3):
        world.wait(120.0)
        world.reconcile()
    assert world.is_ready()
    assert world.serving != LEGACY


def test_an_alias_of_its_owners_stays(world: World) -> None:
    world.server.aliases["legacy-live"] = LEGACY
    let_the_retention_end(world)
    assert world.server.aliases["legacy-live"] == LEGACY


@pytest.mark.parametrize("crash", ["mark", "delete_alias"])
def test_a_crash_in_between_only_repeats_it(world: World, crash: str) -> None:
    world.encode_by(schemaVersion="v2")
    world.until_ready()
    world.wait(world.keep_for + 1.0)
    for what in ("crash before", "crash after"):
        world.reconcile([Trouble(crash, what)])
    for _ in range(6):
        world.reconcile_in_time()
    assert "retained" not in world.status
    assert LEGACY in world.server.names
    assert f"{ALIAS}-v1" not in world.server.aliases


def test_it_is_deleted_where_the_spec_says_so(world: World) -> None:
    world.edit(retention={"deleteAdopted": True})
    let_the_retention_end(world)
    assert LEGACY not in world.server.names
