"""A new process on a cluster makes one decision before it believes anything; on a single node it makes none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.migration.world import Trouble, World

LAG_SECONDS = 5.0
AWAITING = {"migration": {"promotion": {"mode": "Manual"}}}


def unchecked(world: World) -> World:
    """Nothing else is asserted here."""
    world.check = lambda: None  # type: ignore[method-assign]
    return world


@pytest.mark.parametrize(("peers", "decisions"), [(1, 0), (3, 1)])
def test_at_rest_a_process_decides_once_and_only_on_a_cluster(
    made: Callable[..., World], peers: int, decisions: int
) -> None:
    world = made(peers=peers)
    before = world.server.consensus.commit
    for _ in range(3):
        world.reconcile_in_time()
    assert world.server.consensus.commit == before
    world.restart()
    for _ in range(3):
        world.reconcile_in_time()
    assert world.server.consensus.commit == before + decisions


def test_a_decision_without_an_answer_is_made_again(made: Callable[..., World]) -> None:
    world = made(peers=3)
    world.restart()
    world.reconcile([Trouble("mark", "no answer")])
    assert world.reason == "QdrantOutcomeUnknown"
    before = world.server.consensus.commit
    world.reconcile_in_time()
    assert world.server.consensus.commit == before + 1
    assert world.phase == "Ready"


def test_nothing_is_decided_by_who_does_not_lead(made: Callable[..., World]) -> None:
    world = made(peers=3)
    world.restart()
    world.leads = False
    before = world.server.consensus.commit
    world.reconcile()
    assert world.server.consensus.commit == before
    assert world.reason == "NotLeader"


def test_a_fence_is_found_although_the_peer_lags(made: Callable[..., World]) -> None:
    """The resource is deleted right then: nobody would ever lift it."""
    world = unchecked(made(peers=3, spec=AWAITING))
    world.encode_by(schemaVersion="v2")
    assert world.until("AwaitingPromotion")
    blue = str(world.serving)
    world.annotate("promote")
    while world.phase != "Promoting":
        world.reconcile_in_time()
    world.server.pace.consensus[1] = LAG_SECONDS
    real = world.after_call

    def die_behind_the_fence(kind: str) -> None:
        real(kind)
        if kind == "patch" and world.state(blue).marks.fence:
            world.line.cut = True

    world.after_call = die_behind_the_fence  # type: ignore[method-assign]
    while world.reconcile() is not None:
        world.wait(world.next_wait)
    world.after_call = real  # type: ignore[method-assign]
    assert world.state(blue).marks.fence
    assert not world.server.view(1).state(blue).marks.fence, "the peer lags"
    world.server.route = lambda _: 1
    world.deleted = True
    world.reconcile()
    world.assert_no_fence()
