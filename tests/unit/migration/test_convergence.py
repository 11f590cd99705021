"""Whatever is found, whoever crashes, however often the spec changes: it ends well, and nothing is lost.

The real engine is set upon a Qdrant with a past. Some of its slices are cut off, some calls fail, the spec is
edited and migrations are stopped in between, and an application writes through the alias all the while.
"""

from __future__ import annotations

import os
from dataclasses import replace

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from teal.domain.errors import TerminalError
from teal.domain.ownership import has_served, stage_of
from teal.domain.plan import Desired
from teal.domain.policy import Do
from teal.domain.transitions import Stage
from tests.unit.domain.builders import DAY
from tests.unit.domain.qdrant_model import Qdrant
from tests.unit.domain.worlds import LEGACY, declarations, worlds
from tests.unit.migration.swift_loop import EPOCH
from tests.unit.migration.world import CRASHES, FAILURES, Trouble, World

BOUND = 60
"""Slices until rest. Five collections to claim, free, stamp and drop, and one migration, take about twenty."""

STORIES = int(os.environ.get("TEAL_HYPOTHESIS", "0"))
"""How many random worlds; unset: always the same 100."""

Interruption = tuple[str, int, int, Desired]

interruptions = st.lists(
    st.tuples(
        st.sampled_from([*CRASHES, *CRASHES, *FAILURES, "abort", "rollback", "edit", "go on", "restart"]),
        st.integers(1, 40) | st.integers(1, 150),
        st.sampled_from([0, 3, 10]),
        declarations,
    ),
    max_size=8,
)


@st.composite
def declared(draw: st.DrawFn, found: st.SearchStrategy[Qdrant]) -> tuple[Qdrant, Desired]:
    """A Qdrant with a past, and what is asked of it. Seldom is somebody to be adopted who is not there."""
    server, wanted = draw(found), draw(declarations)
    there = LEGACY in server.collections
    adopt = draw(st.sampled_from([None, LEGACY] if there else [*[None] * 9, LEGACY]))
    return server, replace(wanted, adopt=adopt)


def disturb(world: World, interruption: Interruption, adopt: str | None) -> None:
    what, at, busy, edited = interruption
    if what == "edit":
        world.declare(replace(edited, adopt=adopt))
    elif what == "restart":
        world.restart()
    elif what == "abort" or (what == "rollback" and all(state.marks.encoder for state in world.mine)):
        # Into an adopted collection whose encoder nobody knows no write goes back, and status says so.
        world.annotate(what)
    troubles = [Trouble(at, what)] if what in (*CRASHES, *FAILURES) else []
    world.wait(world.next_wait)
    world.reconcile(troubles, busy)


def needs_a_person(world: World) -> str | None:
    """Go on undisturbed until nothing is left to do, and shown so; the reason, if a person has to decide.

    Where Teal has stopped until somebody says `retry`, or moves an alias away, that is done.
    """
    for number in range(BOUND):
        try:
            decision = world.decide()
        except TerminalError as end:
            world.reconcile_in_time()
            assert world.condition("Stalled") == "True", world.describe()
            return end.reason
        if decision.do is Do.REST and world.is_ready():
            return None
        world.reconcile_in_time(busy=(10, 7, 0)[number % 3])  # so that no rhythm of calls meets one of writes
        if decision.do in (Do.STAY, Do.WAIT_HELD):
            world.annotate("retry")
        if world.reason in ("StillServing", "RetirementBlocked"):
            event(f"somebody moves an alias away: {world.reason}")
            world.move_alias_away()
    raise AssertionError(f"no rest after {BOUND} slices, {decision}: {world.describe()}")


def assert_nothing_lost(world: World) -> None:
    """Everything that is stored is still on one collection: one that has served, or what the alias points at."""
    whole = [s.name for s in world.mine if has_served(s) and not world.application.wrong(s.name)]
    assert whole or not world.application.told or not world.begun, world.describe()


@settings(
    max_examples=STORIES or 100,
    derandomize=not STORIES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(declared(worlds(EPOCH)), interruptions)
def test_every_world_comes_to_rest(situation: tuple[Qdrant, Desired], interrupted: list[Interruption]) -> None:
    """After each slice `World` sees to it, too, that nothing is lost and nothing of anybody else's is touched."""
    found, wanted = situation
    world = World(found=found, declared=wanted)
    try:
        for each in interrupted:
            disturb(world, each, wanted.adopt)
        if reason := needs_a_person(world):
            event(f"a person is needed: {reason}")
            world.assert_no_fence()
            assert_nothing_lost(world)
            return
        assert_as_declared(world)
        retained = [state for state in world.mine if state.name != world.serving]
        assert all(s.marks.replaced and has_served(s) for s in retained), "the others are retained"
        world.wait(10 * DAY)
        assert needs_a_person(world) is None
        assert_as_declared(world)
        assert [state.name for state in world.mine] == [world.serving], "after their retention they are gone"
    finally:
        world.close()


def assert_as_declared(world: World) -> None:
    assert world.serving is not None
    state = world.state(world.serving)
    assert stage_of(state) is Stage.READY
    assert not state.marks.replaced
    assert not world.application.wrong(world.serving), world.describe()
