"""What `teal plan` shows is what the engine does next, wherever a migration is; each action has its row."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest

from teal.domain.marks import Fence
from teal.domain.policy import Decision, Do, View
from teal.domain.policy.actions import OF_STAGE
from teal.migration.steps.registry import REGISTRY, may_hold_writers
from tests.unit.domain.builders import NOW, desired, observed
from tests.unit.migration.world import World

PATIENCE = 60
NEXT = set(Do) - {Do.KEEP_IN_STEP, Do.WAIT_HELD, Do.RETRY, Do.ABORT_FIRST, Do.ADOPT, Do.CLAIM}
"""What the story below comes by. Rounds go beside all that and are no part of a plan."""


class Decisions(logging.Handler):
    """What the engine says that it does, one decision after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[Do, str | None]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and isinstance(record.args[0], Do):
            self.made.append((record.args[0], str(record.args[1])))


@pytest.fixture
def decisions() -> Iterator[Decisions]:
    logger, handler = logging.getLogger("teal.migration.engine"), Decisions()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


class Teller:
    """Tells a story in which before every slice the plan is asked for."""

    def __init__(self, world: World, decisions: Decisions) -> None:
        self.world, self.decisions = world, decisions
        self.planned: list[Do] = []

    def slice(self) -> None:
        self.world.wait(self.world.next_wait)
        planned = self.world.plan()
        assert planned.error is None
        assert planned.decision
        self.decisions.made.clear()
        self.world.reconcile()
        made = [each for each in self.decisions.made if each[0] is not Do.KEEP_IN_STEP]
        if made:
            assert made[0] == (planned.decision.do, planned.decision.subject or "")
            self.planned.append(planned.decision.do)

    def until(self, *wanted: Do) -> None:
        """Go on until one of these was next, once more at least."""
        self.planned.append(Do.KEEP_IN_STEP)
        for _ in range(PATIENCE):
            if self.planned[-1] in wanted:
                return
            self.slice()
        raise AssertionError(f"never any of {wanted}: {self.world.describe()}")


@pytest.fixture
def world() -> Iterator[World]:
    """Calls are so slow that a slice is over after a step, so that each step is planned."""
    made = World(latency=0.3)
    yield made
    made.close()


def test_a_plan_names_what_the_engine_does_next(world: World, decisions: Decisions) -> None:
    story = Teller(world, decisions)
    story.until(Do.REST)
    world.edit(hnsw={"m": 32}, migration={"throttle": {"maxReadLatencyMillis": 10000}})
    story.until(Do.REST)
    world.edit(migration={"promotion": {"mode": "Manual", "maxFence": "60s"}})  # every call takes long here
    world.encode_by(schemaVersion="v2")
    story.until(Do.CATCH_UP)
    world.edit(hnsw={"m": 16})
    story.until(Do.INDEX)
    world.annotate("abort")
    story.until(Do.STAY)
    world.annotate("retry")
    story.until(Do.AWAIT_PROMOTION)
    before = world.serving
    world.annotate("promote")
    story.until(Do.PROMOTE)
    while world.serving == before:
        story.slice()
    left = Fence(world.clock.now(), enabled=False, write_rate_limit=None)
    world.server.model.mark(str(world.serving), {left.key: left.as_json()})
    story.until(Do.LIFT_FENCE)
    story.until(Do.WATCH)
    world.delete_alias()
    world.wait(60.0)  # until what is at rest looks at the aliases again
    story.until(Do.RESTORE_ALIAS)
    story.until(Do.REST)
    world.annotate("rollback")
    story.until(Do.STAY)
    world.annotate("retry")
    story.until(Do.REST)
    world.encode_by(schemaVersion="v3")
    story.until(Do.POPULATE)
    world.encode_by(schemaVersion="v2")
    story.until(Do.REST)
    world.wait(world.keep_for)
    story.until(Do.RETIRE)
    assert {*story.planned} == NEXT | {Do.KEEP_IN_STEP}


def test_each_thing_to_do_has_a_row() -> None:
    assert set(REGISTRY) == set(Do)


def test_the_row_of_a_stage_shows_the_stage() -> None:
    assert {do: REGISTRY[do].phase for do in OF_STAGE.values()} == {do: stage for stage, do in OF_STAGE.items()}


def test_the_writers_that_a_step_may_hold_back_are_those_of_the_source_or_of_what_is_retired() -> None:
    plan = replace(View(desired(), observed(), NOW).nothing, source="blue")
    held = {do: REGISTRY[do].holds_writers(Decision(do, plan, "subject")) for do in Do}
    assert {do: name for do, name in held.items() if name} == {
        Do.PROMOTE: "blue",
        Do.ROLL_BACK: "blue",
        Do.RETIRE: "subject",
    }
    without_source = replace(plan, source=None)
    assert may_hold_writers(Decision(Do.RETIRE, without_source, "subject"))
    assert not may_hold_writers(Decision(Do.PROMOTE, without_source, "green"))


def test_what_rests_is_what_is_decided_on_what_was_seen_lately() -> None:
    assert {do for do, action in REGISTRY.items() if action.rests} == {Do.REST, Do.STAY, Do.WAIT_HELD}
