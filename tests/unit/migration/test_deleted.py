"""The resource is deleted while a dead operator's fence stands: it goes only when the writers are free again.

That a fence stands is told by the mark on the collection; the status, which is lost here, does not matter. That
somebody has to come by is told by the finalizer on the object.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from teal.domain.marks import Encoder, Fence
from tests.unit.domain.worlds import LEGACY, POINTS
from tests.unit.migration.world import Trouble, World, adopting


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


@pytest.fixture
def adopted() -> Iterator[World]:
    made = adopting(LEGACY)
    yield made
    made.close()


def die_with_the_fence_up(world: World) -> str:
    """The operator dies right before the alias moves, and the status is lost; what is fenced."""
    blue = str(world.serving)
    world.encode_by(schemaVersion="v2")
    for _ in range(80):
        if world.guarded and world.phase == "Promoting" and world.state(blue).marks.fence:
            break
        fencing = [Trouble("point_alias", "crash before")] if world.phase == "Promoting" else []
        world.reconcile_in_time(troubles=fencing, busy=3)
    assert world.state(blue).marks.fence
    assert world.guarded
    world.status = {}
    return blue


def test_retained_the_fence_is_lifted_before_the_resource_goes(world: World) -> None:
    blue = die_with_the_fence_up(world)
    world.delete("Retain")
    world.leads = False
    outcome = world.reconcile()
    assert outcome
    assert not outcome.finished
    assert world.state(blue).marks.fence
    world.leads = True
    outcome = world.reconcile([Trouble("patch", "never sent")])
    assert outcome
    assert not outcome.finished, "it could not be sure"
    outcome = world.reconcile()
    assert outcome
    assert outcome.finished
    world.assert_no_fence()
    assert world.serving == blue
    refused = world.application.refused
    world.application.write("upsert", 1)
    assert world.application.refused == refused


def test_given_up_what_was_adopted_is_released_without_a_fence(adopted: World) -> None:
    blue = die_with_the_fence_up(adopted)
    assert blue == LEGACY
    adopted.delete("Delete")
    adopted.leads = False
    outcome = adopted.reconcile()
    assert outcome
    assert not outcome.finished
    adopted.leads = True
    outcome = adopted.reconcile()
    assert outcome
    assert outcome.finished
    left = adopted.server.model.collections[LEGACY].config
    assert left["strict_mode_config"]["write_rate_limit"] > 1 or not left["strict_mode_config"]["enabled"]
    assert not {Fence.KEY, "teal.dev/owner"} & left["metadata"].keys(), "nobody's, and open to everybody"
    assert [name for name in adopted.server.names if name.startswith("docs-v")] == ["docs-v2-theirs"]
    assert len(adopted.server.points(LEGACY)) >= len(POINTS) - 6
    assert Encoder.KEY in left["metadata"], "clients may go on asking"


def test_retained_without_a_finalizer_nobody_is_waited_for(world: World) -> None:
    world.delete("Retain")
    calls = world.calls
    outcome = world.reconcile()
    assert outcome
    assert outcome.finished
    assert world.calls == calls
