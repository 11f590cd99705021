"""Stories in which a promise was broken, each as short as it could be told.

What happens in them has been seen on real servers; the application only does what any application may do, and
compares what it was told with what the alias serves in the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from teal.domain.schema import next_alias, version_alias
from teal.migration.contract import Resource
from teal.qdrant import wire
from tests.unit.migration.world import ALIAS, Trouble, World

LAG_SECONDS = 8.0
AWAITING = {"migration": {"promotion": {"mode": "Manual"}}}


def move_to(world: World, version: str) -> None:
    world.encode_by(schemaVersion=version)
    world.until_ready()


def in_step(world: World, rounds: int = 4) -> None:
    """Time enough for the two live collections to be compared again and again."""
    for _ in range(rounds):
        world.wait(120.0)
        for _ in range(3):
            world.reconcile()


def behind(world: World, alias: str, number: int) -> int | None:
    """What the point's field `n` is behind an alias, on every replica."""
    name = world.server.aliases[alias]
    found = {
        wire.payload_value(copy[point].payload, "n") if (point := wire.raw_id(number)) in copy else None
        for copy in world.server.copies(name)
    }
    assert len(found) == 1, f"the replicas differ in {number}: {found}"
    return found.pop()


def unchecked(world: World) -> None:
    """The story asserts by itself what it is about."""
    world.check = lambda: None  # type: ignore[method-assign]
    world._assert_complete = lambda *_, **__: None  # type: ignore[method-assign]


def test_an_acknowledged_write_that_is_still_applied_is_behind_the_alias_after_the_cut_over(
    made: Callable[..., World],
) -> None:
    """`wait=false`: the operation has left the queue, `op_num` has not risen, and that is taken for rest."""
    world = made(spec=AWAITING)
    world.encode_by(schemaVersion="v2")
    assert world.until("AwaitingPromotion")
    unchecked(world)
    blue, real = world.serving, world.after_call

    def write_after_the_scan(kind: str) -> None:
        real(kind)
        if kind == "versions" and world.phase == "Promoting" and not world.application.unanswered:
            world.after_call = real  # type: ignore[method-assign]
            world.server.pace.work, world.application.wait = 30.0, False
            world.application.write("change", 1)
            world.server.pace.work = 0.0

    world.after_call = write_after_the_scan  # type: ignore[method-assign]
    world.annotate("promote")
    while world.serving == blue:
        world.reconcile_in_time()
    assert world.application.told[wire.raw_id(1)]["n"] > 24, "the write was acknowledged"
    world.until("Ready")
    proof = world.migration["writes"]["proof"], world.migration["writes"].get("cutOver")
    assert behind(world, ALIAS, 1) == world.application.told[wire.raw_id(1)]["n"], proof


def test_a_scan_that_another_replica_answers_finds_no_changes(made: Callable[..., World]) -> None:
    """Each replica has its own numbers; after the switch the retained side is read from the other one."""
    world = made(peers=2, spec={"replicationFactor": 2})
    unchecked(world)
    make_second_replica_anew(world, batch=5)
    blue, real = world.serving, world.after_call

    def delete_after_the_switch(kind: str) -> None:
        real(kind)
        if world.serving != blue:
            world.after_call = real  # type: ignore[method-assign]
            world.application.write("delete", 3)
            world.server.wander = lambda replicas: replicas[-1]

    world.after_call = delete_after_the_switch  # type: ignore[method-assign]
    move_to(world, "v2")
    in_step(world)
    assert behind(world, ALIAS, 3) is None


def test_a_change_is_seen_whichever_replica_tells_its_version(made: Callable[..., World]) -> None:
    world = made(peers=2, spec={"replicationFactor": 2, **AWAITING})
    unchecked(world)
    for _ in range(6):
        world.application.write("change", 1)
    make_second_replica_anew(world, batch=1)
    for number in range(2, 7):
        world.application.write("change", number)
    world.encode_by(schemaVersion="v2")
    assert world.until("AwaitingPromotion")
    point, (first, second) = wire.raw_id(1), world.server.shards[str(world.serving)].shards[0]
    noted = first.points[point].version
    world.application.write("change", 1)
    assert second.points[point].version == noted, "the number that the first replica had for it"
    world.server.wander = lambda replicas: replicas[-1]
    world.annotate("promote")
    world.until_ready()
    in_step(world)
    assert behind(world, ALIAS, 1) == world.application.told[point]["n"]


def test_a_shard_that_is_moved_hides_no_write(made: Callable[..., World]) -> None:
    """`stream_records` numbers the points anew, from low numbers: these are the numbers that they had."""
    world = made(peers=2, spec=AWAITING)
    unchecked(world)
    blue = str(world.serving)
    world.encode_by(schemaVersion="v2")
    assert world.until("AwaitingPromotion")
    for number in (1, 2, 3):
        world.application.write("change", number)
    world.server.move_shard(blue, 0, 1)
    world.annotate("promote")
    world.until_ready()
    in_step(world)
    lost = [n for n in (1, 2, 3) if behind(world, ALIAS, n) != world.application.told[wire.raw_id(n)]["n"]]
    assert not lost, f"acknowledged, then lost for good: {lost}"


def test_a_restart_loses_no_write_of_those_who_use_the_versions_own_alias(made: Callable[..., World]) -> None:
    """Two live revisions of two shards, each written to alone, and other points on the other one."""
    world = made(spec={"shardNumber": 2})
    unchecked(world)
    move_to(world, "v2")
    in_step(world)
    old = version_alias(ALIAS, "v1")
    alone = (1, 2, 3, 4, 5, 6)
    for number in alone[:4]:
        world.application.write("change", number, "v1")
    for number in alone[4:]:
        world.application.write("delete", number, "v1")
    for number in range(7, 25):
        world.application.write("change", number)
    world.restart()
    in_step(world)
    told = {n: world.application.told.get(wire.raw_id(n), {}).get("n") for n in alone}
    assert {n: behind(world, ALIAS, n) for n in told} == told
    assert {n: behind(world, old, n) for n in told} == told


def test_a_kill_right_after_the_alias_moved_loses_no_late_write(made: Callable[..., World]) -> None:
    world = made(spec={"shardNumber": 2, **AWAITING})
    unchecked(world)
    blue = world.serving
    world.encode_by(schemaVersion="v2")
    assert world.until("AwaitingPromotion")
    world.annotate("promote")
    while world.phase != "Promoting":
        world.reconcile_in_time()
    for number in (1, 2, 3):
        world.application.begin("change", number)
    while world.serving == blue:
        world.wait(world.next_wait)
        world.reconcile([Trouble("point_alias", "crash after")])
    while world.application.pending:
        world.application.land(0)
    for number in range(4, 25):
        world.application.write("change", number)
    world.until_ready()
    in_step(world)
    lost = [n for n in (1, 2, 3) if behind(world, ALIAS, n) != world.application.told[wire.raw_id(n)]["n"]]
    assert not lost, f"{lost} of the late writes are lost: {[note.message for note in world.notes[-4:]]}"


def test_a_restart_brings_back_nothing_that_was_deleted_though_one_shard_is_far_ahead(
    made: Callable[..., World],
) -> None:
    """Which shard a point is on is not known, so a version between the two floors says nothing."""
    world = made(spec={"shardNumber": 2})
    unchecked(world)
    for _ in range(40):
        world.application.write("change", 1)
    for number in range(2, 25):
        world.application.write("change", number)
    blue = world.serving
    move_to(world, "v2")
    gone = range(2, 9)
    for number in gone:
        world.application.write("delete", number)
    world.restart()
    world.annotate("rollback")
    assert world.until("Held")
    assert world.serving == blue
    back = [number for number in gone if behind(world, ALIAS, number) is not None]
    assert not back, f"deleted, then back after the rollback: {back}"


def test_an_alias_request_that_commits_after_its_time_out_undoes_no_deletion(made: Callable[..., World]) -> None:
    """Teal gives up and the writers go on by the old side; then the alias moves after all."""
    world = made(spec=AWAITING)
    unchecked(world)
    blue = world.serving
    world.encode_by(schemaVersion="v2")
    assert world.until("AwaitingPromotion")
    world.annotate("promote")
    while world.phase != "Promoting":
        world.reconcile_in_time()
    world.server.losing_aliases = 1
    while world.server.losing_aliases:
        world.reconcile_in_time()
    for number in (1, 2, 3):
        world.application.write("change", number)
    world.server.commit_late()
    assert world.serving != blue
    for number in (1, 2):
        world.application.write("delete", number, looks=False)
    world.until_ready()
    in_step(world)
    told = {n: world.application.told.get(wire.raw_id(n), {}).get("n") for n in (1, 2, 3)}
    assert {n: behind(world, ALIAS, n) for n in told} == told


def test_an_abort_drops_nothing_that_any_peer_serves(made: Callable[..., World]) -> None:
    """Behind one address there are several peers; the one that tells the aliases has not followed the switch."""
    world = made(peers=3, spec=AWAITING)
    unchecked(world)
    world.encode_by(schemaVersion="v2")
    assert world.until("AwaitingPromotion")
    migration = world.migration["id"]
    del world.server.aliases[next_alias(ALIAS)]  # somebody has looked at it
    switch_all_but_the_peer_that_tells(world)
    green = world.serving
    world.annotations["teal.dev/abort"] = migration
    for _ in range(6):
        world.reconcile_in_time()
    assert green in world.server.names, [note.message for note in world.notes[-3:]]


def test_an_edit_drops_nothing_that_any_peer_serves(made: Callable[..., World]) -> None:
    world = made(peers=3, spec=AWAITING)
    unchecked(world)
    world.encode_by(schemaVersion="v2")
    assert world.until("AwaitingPromotion")
    switch_all_but_the_peer_that_tells(world)
    green = world.serving
    world.encode_by(schemaVersion="v3")
    for _ in range(6):
        world.reconcile_in_time()
    assert green in world.server.names, [note.message for note in world.notes[-3:]]


def switch_all_but_the_peer_that_tells(world: World) -> None:
    """As by a request of a process that has died since: one that lives would take it back."""
    world.server.deleting = lambda _: None
    world.annotate("promote")
    while world.phase != "Promoting":
        world.reconcile_in_time()
    green = next(state.name for state in world.mine if state.name != world.serving)
    world.server.pace.consensus[1] = float("inf")
    world.server.consensus.decide(lambda shown: shown.aliases.update({ALIAS: green}))
    world.application.write("upsert", 50)
    world.server.route = lambda kind: 1 if kind == "aliases" else 0


def test_a_kill_in_a_round_that_carries_very_much_undoes_no_deletion(made: Callable[..., World]) -> None:
    world = made()
    unchecked(world)
    world.server.page, world.batch = 10_000, 250
    move_to(world, "v2")
    in_step(world, rounds=1)
    blue = world.server.aliases[version_alias(ALIAS, "v1")]
    many = range(1000, 6200)
    for number in many:
        world.application.write("upsert", number)
    real = world.after_call

    def cut_when_all_is_carried(kind: str) -> None:
        real(kind)
        if kind == "upsert" and len(world.server.points(blue)) == 24 + len(many):
            world.after_call = real  # type: ignore[method-assign]
            world.line.cut = True

    world.after_call = cut_when_all_is_carried  # type: ignore[method-assign]
    world.wait(120.0)
    while world.reconcile() is not None:
        world.wait(world.next_wait)
    gone = range(1000, 6200, 4)
    for number in gone:
        world.application.write("delete", number)
    in_step(world, rounds=2)
    back = [n for n in gone if wire.raw_id(n) in world.server.points(str(world.serving))]
    assert not back, f"{len(back)} deleted points are back"


def test_a_successor_whose_peer_lags_brings_back_nothing_that_was_deleted(made: Callable[..., World]) -> None:
    """What its predecessor was about to write, shortly before its end, is not shown there yet."""
    world = made(peers=3)
    unchecked(world)
    move_to(world, "v2")
    in_step(world)
    blue = world.server.aliases[version_alias(ALIAS, "v1")]
    fresh, real = range(31, 36), world.after_call
    for number in fresh:
        world.application.write("upsert", number)
    world.server.pace.consensus[1] = LAG_SECONDS

    def cut_when_all_is_carried(kind: str) -> None:
        real(kind)
        if kind == "upsert" and all(wire.raw_id(number) in world.server.points(blue) for number in fresh):
            world.after_call = real  # type: ignore[method-assign]
            world.line.cut = True

    world.after_call = cut_when_all_is_carried  # type: ignore[method-assign]
    world.wait(120.0)
    while world.reconcile() is not None:
        world.wait(world.next_wait)
    for number in fresh:
        world.application.write("delete", number)
    world.server.route = lambda _: 1
    assert not world.server.consensus.has_followed(1)
    world.reconcile()
    in_step(world)
    assert [behind(world, ALIAS, number) for number in fresh] == [None] * len(fresh), "they are back"


def test_two_manifests_of_one_name_leave_each_others_collections_alone(made: Callable[..., World]) -> None:
    world = made()
    unchecked(world)
    world.server.deleting = lambda _: None
    other = Other(world, "docs-staging")
    other.until(lambda: other.phase == "Ready")
    other.spec["schemaVersion"] = "v2"
    other.until(lambda: other.phase == "Populating")
    green = other.status["migration"]["target"]
    for _ in range(5):
        world.reconcile_in_time()
    assert green in world.server.names, [note.message for note in world.notes[-3:]]


def test_a_second_manifest_of_a_name_does_not_serve_the_first_ones_collection(made: Callable[..., World]) -> None:
    world = made()
    unchecked(world)
    world.server.deleting = lambda _: None
    other = Other(world, "docs-staging")
    other.until(lambda: other.phase == "Ready")
    world.server._delete(str(world.serving))
    for _ in range(5):
        world.reconcile_in_time()
    assert world.server.aliases["docs"] != world.server.aliases["docs-staging"]


class Other:
    """A second resource of the same name, applied to the same Qdrant; its alias is another one."""

    def __init__(self, world: World, alias: str) -> None:
        self._world = world
        self.spec = {**world.spec, "alias": alias}
        self.status: dict[str, Any] = {}

    @property
    def phase(self) -> str:
        return str(self.status.get("phase"))

    def until(self, reached: Callable[[], bool]) -> None:
        for _ in range(60):
            if reached():
                return
            self._apply()
        raise TimeoutError(f"{self.status}")

    def _apply(self) -> None:
        world = self._world
        kept, world.spec, status, world.status = world.spec, self.spec, world.status, self.status
        try:
            resource: Resource = world.resource
        finally:
            world.spec, world.status = kept, status
        outcome = world._run(world._engine.reconcile(resource))
        self.status = dict(outcome.status)
        world.wait(outcome.requeue_after)


def make_second_replica_anew(world: World, batch: int) -> None:
    """As after its node was replaced: the same points under other numbers."""
    server, name = world.server, str(world.serving)
    _, second = server.shards[name].shards[0]
    server.shards[name].put_in_place(0, second, second.made_anew(second.peer, batch, server.now()))


@pytest.mark.parametrize("which", [0, 1], ids=["one replica", "the other replica"])
def test_what_is_carried_reaches_all_replicas_though_a_refused_write_has_left_them_apart(
    made: Callable[..., World], which: int
) -> None:
    """Under a fence, one replica of a shard took a deletion and the other one refused it: the client was told 429.

    An upsert that only inserts, or only updates, is judged by each replica for itself.
    """
    world = made(peers=2, spec={"replicationFactor": 2})
    unchecked(world)
    blue, point = str(world.serving), wire.raw_id(1)
    move_to(world, "v2")
    in_step(world)
    del world.server.shards[blue].shards[0][which].points[point]
    world.application.write("change", 1)
    in_step(world)
    held = {
        wire.payload_value(copy[point].payload, "n") if point in copy else None
        for copy in world.server.copies(blue)
    }
    assert held == {world.application.told[point]["n"]}


def test_of_two_writes_to_a_point_a_cut_over_that_is_taken_back_keeps_the_later_one(
    made: Callable[..., World],
) -> None:
    """Teal dies right before the alias moves back; the next process cannot know whether it had moved meanwhile."""
    world = made()
    unchecked(world)
    blue = world.serving
    move_to(world, "v2")
    in_step(world)
    world.annotate("rollback")
    crash = [Trouble("point_alias", "crash before")]
    while crash:
        world.wait(world.next_wait)
        world.reconcile(crash)
        crash = crash if world.server.state(str(blue)).marks.cutover_begun is None else []
    real = world.after_call

    def write_to_both_when_the_fence_is_lifted(kind: str) -> None:
        real(kind)
        if world.server.state(str(world.serving)).marks.fence is None:
            world.after_call = real  # type: ignore[method-assign]
            world.application.write("change", 1, "v1")
            world.application.write("change", 1)

    world.after_call = write_to_both_when_the_fence_is_lifted  # type: ignore[method-assign]
    assert world.until("Held")
    in_step(world)
    assert world.serving == blue
    assert behind(world, ALIAS, 1) == world.application.told[wire.raw_id(1)]["n"]


def test_a_write_between_a_scan_and_the_read_of_its_suspects_is_not_overwritten(
    made: Callable[..., World],
) -> None:
    """After a restart only versions tell what is unchanged, and the content that is read may be a later one."""
    world = made()
    unchecked(world)
    move_to(world, "v2")
    in_step(world)
    world.restart()
    in_step(world)
    world.application.write("change", 1, "v1")
    real, scans = world.after_call, []

    def write_after_the_scans(kind: str) -> None:
        real(kind)
        scans.extend([kind] if kind == "versions" else [])
        if len(scans) == 4:  # of each side: whether it answers formulas, and all of it
            world.after_call = real  # type: ignore[method-assign]
            world.application.write("change", 1, looks=False)

    world.after_call = write_after_the_scans  # type: ignore[method-assign]
    in_step(world)
    assert world.after_call == real, "both sides were scanned"
    newest = world.application.told[wire.raw_id(1)]["n"]
    assert (behind(world, ALIAS, 1), behind(world, version_alias(ALIAS, "v1"), 1)) == (newest, newest)


def test_what_is_deleted_while_nobody_copies_is_not_left_on_green(made: Callable[..., World]) -> None:
    """The process that had copied it is gone, and the next one never sees it on the serving collection."""
    world = made()
    unchecked(world)
    world.encode_by(schemaVersion="v2")
    assert world.until("Populating")
    while not (copied := _on_green(world)):
        world.reconcile([Trouble("upsert", "crash after")])
    point = next(number for number in range(1, 25) if wire.raw_id(number) in copied)
    world.application.write("delete", point)
    world.until_ready()
    assert behind(world, ALIAS, point) is None


def _on_green(world: World) -> set[wire.RawId]:
    green = world.migration.get("target")
    return set(world.server.points(green)) if green in world.server.names else set()


def test_a_return_to_a_collection_that_is_no_partner_of_the_serving_one_loses_no_write(
    made: Callable[..., World],
) -> None:
    """v3 serves and v1 is its partner; v2 is kept in step with v1 alone, and lags behind."""
    world = made()
    unchecked(world)
    move_to(world, "v2")
    in_step(world)
    move_to(world, "v1")
    for number in range(1, 7):
        world.application.write("change", number)
    move_to(world, "v3")
    for number in range(4, 10):
        world.application.write("change", number)
    move_to(world, "v2")
    told = {n: world.application.told[wire.raw_id(n)]["n"] for n in range(1, 10)}
    assert {n: behind(world, ALIAS, n) for n in told} == told


def test_what_teal_has_carried_after_a_restart_hides_no_deletion_of_the_rounds_that_follow(
    made: Callable[..., World],
) -> None:
    """Under a writer every round leaves something over, so the note of the earlier process goes on to decide. What
    Teal has carried meanwhile changes the sums of the retained side."""
    world = made(spec={"shardNumber": 2})
    unchecked(world)
    for _ in range(40):
        world.application.write("change", 1)
    for number in range(2, 25):
        world.application.write("change", number)
    blue, real = world.serving, world.after_call
    move_to(world, "v2")
    for number in range(2, 8):
        world.application.write("delete", number)
    world.application.write("change", 1)
    world.restart()

    def write_after_each_read(kind: str) -> None:
        real(kind)
        if kind == "get":
            world.application.write("change", 1, looks=False)

    world.after_call = write_after_each_read  # type: ignore[method-assign]
    in_step(world, rounds=1)
    for number in range(8, 14):
        world.application.write("delete", number)
    world.annotate("rollback")
    assert world.until("Held")
    assert world.serving == blue
    back = [number for number in range(2, 14) if behind(world, ALIAS, number) is not None]
    assert not back, f"deleted, then back after the rollback: {back}"
