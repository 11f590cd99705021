"""Stories in which a fence or a deletion does more than it should, each as short as it could be told.

As in `test_guarantee_stories.py`, what happens in them has been seen on real servers.
"""

from __future__ import annotations

from collections.abc import Callable

from qdrant_client import grpc as qdrant

from tests.unit.migration.fake_qdrant.answers import Refused
from tests.unit.migration.fake_qdrant.bulk import Bulk
from tests.unit.migration.test_guarantee_stories import AWAITING, move_to, unchecked
from tests.unit.migration.world import ALIAS, World


def at_each_call(world: World, look: Callable[[str], None]) -> None:
    """Look at what there is after every call of Teal's."""
    real = world.after_call

    def after_call(kind: str) -> None:
        real(kind)
        look(kind)

    world.after_call = after_call  # type: ignore[method-assign]


def switch_under_a_fence(world: World) -> None:
    """To another version, while writers leave no quiet moment."""
    world.encode_by(schemaVersion="v2")
    assert world.until("AwaitingPromotion")
    blue = world.serving
    world.annotate("promote")
    for _ in range(60):
        world.reconcile_in_time(busy=2)
        if world.serving != blue:
            return
    raise TimeoutError(world.describe())


def test_a_fence_costs_no_replica(made: Callable[..., World]) -> None:
    """Two replicas and a `write_consistency_factor` of 1, as it is by default; writers go through all peers."""
    world = made(peers=3, spec={"replicationFactor": 2, "shardNumber": 3, **AWAITING})
    unchecked(world)
    world.server.pace.consensus[2] = 0.3
    lost: set[tuple[str, int, str]] = set()

    def look(kind: str) -> None:
        world.application.peer = world.calls % 3
        for name in world.server.names:
            lost.update((kind, each.peer, each.state) for each in world.server.shards[name].replicas)

    at_each_call(world, look)
    switch_under_a_fence(world)
    assert {state for _, _, state in lost} == {"Active"}, sorted(each for each in lost if each[2] != "Active")


def test_with_a_factor_of_all_replicas_a_fence_costs_none(made: Callable[..., World]) -> None:
    """The same story, and a proof that the fence stood: writers were refused."""
    world = made(peers=3, spec={"replicationFactor": 2, "writeConsistencyFactor": 2, "shardNumber": 3, **AWAITING})
    unchecked(world)
    world.server.pace.consensus[2] = 0.3
    states: set[str] = set()

    def look(_: str) -> None:
        world.application.peer = world.calls % 3
        for name in world.server.names:
            states.update(each.state for each in world.server.shards[name].replicas)

    at_each_call(world, look)
    switch_under_a_fence(world)
    assert states == {"Active"}
    assert world.application.refused


def test_a_fence_refuses_no_reader(made: Callable[..., World]) -> None:
    world = made(spec=AWAITING)
    unchecked(world)
    asleep = {"strict_mode_config": {"enabled": False, "max_query_limit": 30}}
    world.server.patch(str(world.serving), asleep)
    refused: list[str] = []
    request = qdrant.ScrollPoints(collection_name=ALIAS, limit=40).SerializeToString()

    def read(kind: str) -> None:
        try:
            Bulk(world.server, 0, None).answer("Scroll", request)
        except Refused as answer:
            refused.append(f"at {kind}: {answer.detail}")

    at_each_call(world, read)
    switch_under_a_fence(world)
    assert not refused


def test_what_is_retired_stands_whole_in_snapshots(made: Callable[..., World]) -> None:
    world = made(peers=2, spec={"shardNumber": 2, "retention": {"snapshot": True}})
    unchecked(world)
    blue = str(world.serving)
    move_to(world, "v2")
    kept: dict[str, tuple[int, int]] = {}

    def compare(name: str) -> None:
        taken = world.server.shards[name].snapshots
        kept[name] = len({point for each in taken for point in each.points}), len(world.server.points(name))

    world.server.deleting = compare
    world.wait(world.keep_for)
    for _ in range(12):
        world.reconcile_in_time()
    held, there = kept[blue]
    assert held == there, "points in the snapshots, and in the collection"


def test_a_single_peers_snapshot_is_whole(made: Callable[..., World]) -> None:
    """The story before with one peer."""
    world = made(spec={"shardNumber": 2, "retention": {"snapshot": True}})
    blue, real = str(world.serving), world.server.deleting
    move_to(world, "v2")
    kept: list[tuple[int, int]] = []

    def compare(name: str) -> None:
        real(name)
        taken = world.server.shards[name].snapshots
        kept.append((len({point for each in taken for point in each.points}), len(world.server.points(name))))

    world.server.deleting = compare
    world.wait(world.keep_for)
    for _ in range(12):
        world.reconcile_in_time()
    assert blue not in world.server.names
    assert kept == [(24, 24)]
