"""A barrier that is refused proves nothing, so a write that was sent before it may still be under way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import pytest

from teal.domain.epoch import Epoch, Replica
from teal.domain.errors import TransientError
from teal.domain.rest import Numbers
from teal.domain.schema import version_alias
from teal.migration.cutover.looks import Looks
from teal.migration.sync.memory import PairMemories
from teal.qdrant import wire
from teal.qdrant.barrier import Barriers
from tests.unit.migration.fake_qdrant.clients import FakeAdmin
from tests.unit.migration.test_guarantee_stories import move_to, unchecked
from tests.unit.migration.world import ALIAS, Trouble, World

Made = Callable[..., World]
SLOW_SECONDS = 200.0
FRESH = 31


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The collections on which barriers are refused."""
    names, real = set[str](), FakeAdmin.barrier

    async def barrier(admin: FakeAdmin, name: str, root: str) -> bool:
        if name in names:
            raise TransientError("QdrantBusy", "Rate limiting exceeded. Retry after 60s")
        return await real(admin, name, root)

    monkeypatch.setattr(FakeAdmin, "barrier", barrier)
    return names


def a_round(world: World) -> None:
    world.wait(120.0)
    world.reconcile()


def carry_slowly(world: World) -> str:
    """A point is being carried to the retained side: the answer is lost, and it arrives a long time later."""
    unchecked(world)
    move_to(world, "v2")
    for _ in range(3):
        a_round(world)
    blue, real = world.server.aliases[version_alias(ALIAS, "v1")], world.after_call
    world.application.write("upsert", FRESH)

    def slow_down(kind: str) -> None:
        real(kind)
        if kind in ("mark", "upsert"):
            world.server.pace.work = SLOW_SECONDS if kind == "mark" else 0.0

    world.after_call = slow_down  # type: ignore[method-assign]
    world.wait(120.0)
    world.reconcile([Trouble("upsert", "answer lost")])
    world.after_call = real  # type: ignore[method-assign]
    world.server.pace.work = 0.0
    assert world.server.shards[blue].replicas[0].unapplied, "it is under way"
    return blue


def test_a_round_that_may_not_have_seen_all_keeps_the_write_ahead_log(made: Made, refusing: set[str]) -> None:
    """Else what Teal has carried looks like the application's when it arrives, and is brought back."""
    world = made()
    blue = carry_slowly(world)
    world.application.write("delete", FRESH)
    refusing.add(blue)
    world.wait(60.0)
    world.reconcile()
    assert world.server.shards[blue].replicas[0].unapplied, "the round has not waited for it"
    refusing.clear()
    for _ in range(3):
        a_round(world)
    assert wire.raw_id(FRESH) not in world.server.points(str(world.serving)), "it is back"
    assert wire.raw_id(FRESH) not in world.server.points(blue)


def test_such_a_round_proves_no_rest_and_notes_no_floors(made: Made, refusing: set[str]) -> None:
    world = made()
    unchecked(world)
    move_to(world, "v2")
    for _ in range(3):
        a_round(world)
    (memory,) = world.session.part(PairMemories).pairs.values()
    assert all(memory.at_rest)
    covered = dict(memory.covered)
    world.application.write("change", 1)
    refusing.add(memory.retained)
    a_round(world)
    assert memory.to_retained == 1, "what is seen is carried"
    assert memory.covered == covered
    assert memory.at_rest == (None, None)
    refusing.clear()
    for _ in range(2):
        a_round(world)
    assert memory.covered != covered
    assert all(memory.at_rest)


def test_it_is_not_the_last_round_before_a_retirement(made: Made, refusing: set[str]) -> None:
    world = made(spec={"retention": {"keepFor": "1h"}})
    unchecked(world)
    world.server.deleting = lambda _: None
    move_to(world, "v2")
    blue = world.server.aliases[version_alias(ALIAS, "v1")]
    refusing.add(blue)
    world.application.write("change", 1)
    for _ in range(40):
        a_round(world)
    assert blue in world.server.names
    assert world.reason == "BarrierRefused"
    assert blue in world.trouble["message"]
    refusing.clear()
    for _ in range(5):
        a_round(world)
    assert blue not in world.server.names


def test_a_successor_does_not_scan_green_before_a_barrier_has_passed_there(made: Made, refusing: set[str]) -> None:
    """A point that arrives after the scan would have no row, and not be deleted when blue has lost it."""
    world = made()
    world.encode_by(schemaVersion="v2")
    assert world.until("Populating")
    green = str(world.migration["target"])
    world.restart()
    refusing.add(green)
    for _ in range(3):
        world.reconcile_in_time()
    assert world.reason == "BarrierRefused"
    assert green in world.trouble["message"]
    assert not world.server.points(green), "nothing was copied"
    refusing.clear()
    world.until_ready()


@dataclass
class Answers:
    """Barriers that pass or not, and numbers that rise by those that have passed."""

    passing: list[bool]
    told: bool = True
    epoch: Epoch = field(default_factory=lambda: Epoch("a", (Replica(0, 0),), ((0, "08:00"),)))
    passed: int = 0
    unsure: int = 0

    async def barrier(self) -> bool:
        passes = self.passing.pop(0)
        self.passed += passes
        self.unsure += not passes
        return passes

    async def look(self) -> Numbers | None:
        if not self.told:
            return None
        return Numbers({(0, 0): 7 + self.passed}, 0, self.passed, self.unsure, self.epoch)


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(
    ("passing", "quiet"),
    [((True, True), True), ((False, True), False), ((True, False), False), ((False, False), False)],
)
async def test_a_moment_is_quiet_only_between_barriers_that_have_passed(
    passing: tuple[bool, bool], quiet: bool, told: bool
) -> None:
    """Also where the numbers are not told, and passes that found nothing stand for them."""
    looks = Looks(still=1)
    barriers = cast("Barriers", Answers(list(passing), told))
    await looks.before_pass(barriers)
    assert await looks.after_pass(barriers, found_nothing=True) is quiet
    assert looks.busy == (0 if quiet else 1)
