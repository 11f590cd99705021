"""Between the last round and the deletion nobody may write to a retained collection: stories of writers by name.

A collection's name cannot be taken away from an application, as an alias can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from teal.domain.schema import version_alias
from teal.qdrant import wire
from tests.unit.migration.fake_qdrant import Stored
from tests.unit.migration.test_fence_stories import at_each_call
from tests.unit.migration.test_guarantee_stories import behind, move_to, unchecked
from tests.unit.migration.world import ALIAS, Line, Trouble, World

OWN = version_alias(ALIAS, "v1")
KEPT = {"retention": {"snapshot": True}}
NEW = range(201, 600)


class Writer:
    """An application that has resolved the alias of a version once, and goes on to write by the name behind it."""

    def __init__(self, world: World) -> None:
        self.world, self.blue, self.numbers = world, str(world.serving), iter(NEW)
        move_to(world, "v2")

    def write(self) -> None:
        """Insert a new point, which is nowhere else."""
        application, number = self.world.application, next(self.numbers, None)
        there = self.blue in self.world.server.names
        if there and number is not None and application.begin("upsert", number, name=self.blue):
            application.land(len(application.pending) - 1)

    @property
    def stored(self) -> list[int]:
        """What was acknowledged."""
        return [number for number in NEW if wire.raw_id(number) in self.world.application.told]

    def lost(self) -> list[int]:
        """What was acknowledged, and does not serve."""
        told = self.world.application.told
        return [n for n in self.stored if behind(self.world, ALIAS, n) != told[wire.raw_id(n)]["n"]]

    def settle(self) -> None:
        """Do what the message asks for: write the points on the serving side."""
        for number in self.lost():
            self.world.application.write("upsert", number)

    def until_gone(self, slices: int = 30) -> None:
        for _ in range(slices):
            if self.blue not in self.world.server.names:
                return
            if self.world.reason == "NotSettled":
                self.settle()
            self.world.reconcile_in_time()
        raise AssertionError(self.world.describe())


def writer_of(world: World) -> Writer:
    """Whose retention has just ended."""
    unchecked(world)
    writer = Writer(world)
    world.wait(world.keep_for)
    return writer


def retired(world: World) -> str:
    (told,) = [note.message for note in world.notes if note.reason == "CollectionRetired"]
    return told


@pytest.mark.parametrize("shape", [{}, {"peers": 3, "spec": {"replicationFactor": 2, "shardNumber": 2, **KEPT}}])
@pytest.mark.parametrize("version", [True, False], ids=["by op_num", "by content"])
def test_what_is_written_until_the_deletion_goes_along(
    made: Callable[..., World], shape: dict[str, object], version: bool
) -> None:
    """It went with the collection: a write at each call of Teal's, between last round and deletion, too."""
    world = made(**{"spec": KEPT, **shape})
    world.server.telemetry = version
    writer = writer_of(world)
    world.reconcile()
    at_each_call(world, lambda _: writer.write())
    writer.until_gone()
    assert writer.lost() == []
    assert writer.stored
    assert world.application.refused, "some came while it was closed"
    assert "not held back" not in retired(world)


def test_the_alias_of_the_version_is_gone_on_every_peer_before_the_fence(made: Callable[..., World]) -> None:
    world = made(peers=3, spec={"shardNumber": 3})
    writer = writer_of(world)
    world.server.pace.consensus[2] = 0.5
    shown: list[bool] = []

    def look(_: str) -> None:
        if writer.blue in world.server.names and world.state(writer.blue).marks.fence:
            shown.append(any(OWN in world.server.view(peer).aliases for peer in range(3)))

    at_each_call(world, look)
    writer.until_gone()
    assert shown
    assert not any(shown)


EFFECTS = ("delete_alias", "mark", "patch", "barrier", "upsert", "snapshot", "delete")


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("what", ["crash before", "crash after"])
def test_a_kill_at_an_effect_of_a_retirement_leaves_no_fence_and_loses_nothing(
    made: Callable[..., World], effect: str, what: str
) -> None:
    """At the first one, the second one, and so on, until there is no further one.

    The next process may not know what to make of points that were carried when the first one died: then it keeps
    the collection until somebody settles them.
    """
    for number in range(9):
        world = made(spec=KEPT)
        writer = writer_of(world)
        world.reconcile()
        at_each_call(world, lambda _, by=writer: by.write())  # type: ignore[misc]
        if not killed(world, effect, what, number):
            assert number, f"a retirement comes by no {effect}"
            return
        writer.until_gone()
        assert writer.lost() == [], number
        assert "CollectionRetired" in [note.reason for note in world.notes] or effect in ("delete", "mark")
    raise AssertionError(f"there are more than 9 {effect}")


def killed(world: World, effect: str, what: str, number: int) -> bool:
    """Whether the process died at this effect, so many others of its kind later."""
    real, left = world.meet_trouble, number

    def meet(line: Line, kind: str) -> str | None:
        nonlocal left
        failure = real(line, kind)
        if kind != effect:
            return failure
        left -= 1
        if left != -1:
            return failure
        line.cut = what == "crash before"
        return failure if line.cut else what

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "meet_trouble", meet)
        return world.reconcile() is None


@pytest.mark.parametrize("failing", ["patch", "telemetry", "barrier", "versions", "snapshot", "delete", "mark"])
@pytest.mark.parametrize("what", ["never sent", "answer lost"])
def test_a_failure_in_between_leaves_no_fence(made: Callable[..., World], failing: str, what: str) -> None:
    world = made(spec=KEPT)
    writer = writer_of(world)
    world.reconcile()
    at_each_call(world, lambda _: writer.write())
    world.reconcile([Trouble(failing, what)])
    writer.until_gone()
    assert writer.lost() == []


def test_it_is_kept_and_open_again_if_something_cannot_be_carried(made: Callable[..., World]) -> None:
    """A point without a text for the encoder of what serves, which came after the round before the retirement."""
    world = made(embeds=True)
    unchecked(world)
    blue = str(world.serving)
    move_to(world, "v2")
    world.wait(world.keep_for)
    world.reconcile()
    vectors = next(iter(world.server.points(blue).values())).vectors
    fenced: list[bool] = []

    def comes_late(kind: str) -> None:
        fenced.append(any(state.marks.fence for state in world.mine))
        if kind == "delete_alias":
            world.server.write(blue, {wire.raw_id(999): Stored((), vectors)})

    at_each_call(world, comes_late)
    world.reconcile()
    assert world.reason == "NotCarried"
    assert any(fenced)
    world.assert_no_fence()
    world.server.write(blue, {wire.raw_id(999): None})
    world.wait(world.next_wait)
    for _ in range(6):
        world.reconcile_in_time()
    assert "CollectionRetired" in [note.reason for note in world.notes]


def test_a_write_that_the_fence_lets_pass_during_a_long_snapshot_goes_along(made: Callable[..., World]) -> None:
    """The limit gives each replica a token a minute."""
    world = made(spec=KEPT)
    writer = writer_of(world)
    world.reconcile()
    passed: list[int] = []

    def snapshots_take_long(kind: str) -> None:
        slow, world.latency = world.latency > 1.0, 70.0 if kind == "snapshot" else 0.001
        if slow and not passed:
            writer.write()
            passed.extend(writer.stored)

    at_each_call(world, snapshots_take_long)
    writer.until_gone()
    assert passed
    assert writer.lost() == []


def test_a_write_that_slips_in_while_the_last_round_reads_goes_along(made: Callable[..., World]) -> None:
    """As one that got the token before Teal's barrier did."""
    world = made(spec=KEPT)
    writer = writer_of(world)
    world.reconcile()
    seen: list[str] = []

    def slip_in(kind: str) -> None:
        if writer.blue not in world.server.names or not world.state(writer.blue).marks.fence:
            return
        seen.append(kind)
        if kind == "telemetry" and "versions" in seen and not writer.stored:
            world.server.patch(writer.blue, {"strict_mode_config": {"enabled": False}})
            writer.write()
            world.server.patch(writer.blue, {"strict_mode_config": {"enabled": True}})

    at_each_call(world, slip_in)
    writer.until_gone()
    assert writer.stored
    assert writer.lost() == []


def test_a_process_that_is_stopped_in_between_lifts_its_fence(made: Callable[..., World]) -> None:
    world = made(spec=KEPT)
    writer = writer_of(world)
    world.reconcile()
    work = world.loop.create_task(world._slice())

    def stop(kind: str) -> None:
        if kind == "snapshot":
            work.cancel()

    at_each_call(world, stop)
    with pytest.raises(asyncio.CancelledError):
        world._run(work)
    assert writer.blue in world.server.names
    world.assert_no_fence()


def test_what_does_not_come_to_rest_is_kept(made: Callable[..., World]) -> None:
    """Somebody lifts the fence again and again, and writes."""
    world = made(spec=KEPT)
    writer = writer_of(world)
    world.reconcile()

    def lifted(kind: str) -> None:
        if kind == "telemetry" and world.state(writer.blue).marks.fence:
            world.server.patch(writer.blue, {"strict_mode_config": {"enabled": False}})
            writer.write()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "after_call", lifted)
        world.reconcile()
    assert world.reason == "NotAtRest"
    assert writer.stored
    writer.until_gone()
    assert writer.lost() == []


def test_without_a_fence_it_is_said(made: Callable[..., World]) -> None:
    world = made(spec={**KEPT, "migration": {"promotion": {"fence": "Never"}}})
    writer = writer_of(world)
    fenced: list[bool] = []
    at_each_call(world, lambda _: fenced.append(any(state.marks.fence for state in world.mine)))
    writer.until_gone()
    assert retired(world).endswith("not held back before the deletion: promotion.fence is Never.")
    assert fenced
    assert not any(fenced)


def test_where_no_fence_is_possible_it_is_said(made: Callable[..., World]) -> None:
    world = made(spec=KEPT)
    writer = writer_of(world)
    world.server.patch(writer.blue, {"strict_mode_config": {"enabled": False, "max_wonders": 1}})
    writer.until_gone()
    assert "not held back" in retired(world)
    assert "max_wonders" in retired(world)


def test_it_waits_for_all_replicas(made: Callable[..., World]) -> None:
    world = made(peers=2, spec={"replicationFactor": 2, **KEPT})
    writer = writer_of(world)
    _, second = world.server.shards[writer.blue].shards[0]
    second.state = "Dead"
    for _ in range(4):
        world.reconcile_in_time()
    assert world.reason == "ReplicasNotActive"
    assert writer.blue in world.server.names
    second.state = "Active"
    writer.until_gone()


def test_the_first_that_was_replaced_goes_first(made: Callable[..., World]) -> None:
    """What is written to it reaches what serves only through the later one."""
    world = made()
    unchecked(world)
    first = str(world.serving)
    move_to(world, "a2")
    second = str(world.serving)
    move_to(world, "v3")
    assert second < first
    gone: list[str] = []
    world.server.deleting = gone.append
    world.wait(world.keep_for)
    for _ in range(12):
        world.reconcile_in_time()
    assert gone == [first, second]
