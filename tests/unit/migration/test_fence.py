"""The fence on a collection with replicas, whose peers learn of it one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from teal.domain.carry import UNLIMITED
from teal.domain.errors import TransientError
from teal.domain.fencing import is_raised
from teal.domain.marks import Fence
from teal.migration.clock import Clock
from teal.migration.context import Context
from teal.migration.cutover import fence
from teal.migration.cutover.fence import hold, lift_fence, prepare_fence, raise_fence
from teal.migration.cutover.watchdog import Watchdog
from teal.migration.options import Options
from teal.qdrant.barrier import Barriers
from teal.qdrant.peers import identify
from tests.unit.migration.peers import NAME, Cluster


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(fence, "LOOK_SECONDS", 0.0)


def context(cluster: Cluster) -> Context:
    return cast("Context", SimpleNamespace(server=cluster.server, clock=Clock(), options=Options()))


async def up(cluster: Cluster) -> None:
    ctx, admin = context(cluster), cluster.server.admin
    barriers = Barriers(admin, NAME, await identify(admin))
    old = await admin.collection(NAME)
    assert old is not None
    await prepare_fence(ctx, old, barriers)
    await raise_fence(ctx, old, barriers)


def mark(cluster: Cluster, peer: int = 0) -> Any:
    return cluster.shown[peer]["metadata"].get(Fence.KEY)


def raised(cluster: Cluster) -> list[bool]:
    return [is_raised(shown["strict_mode_config"]) for shown in cluster.shown]


def factors(cluster: Cluster) -> list[int]:
    return [shown["params"]["write_consistency_factor"] for shown in cluster.shown]


async def test_no_peer_ever_limits_writes_while_another_accepts_one_success() -> None:
    """Else a write that one replica takes and another refuses succeeds, and the one that refused is given up."""
    cluster, seen = Cluster(3, lag=3), 0

    def noticed() -> None:
        nonlocal seen
        seen += any(raised(cluster))
        assert not any(raised(cluster)) or min(factors(cluster)) == 3

    cluster.noticed = noticed
    await up(cluster)
    assert (raised(cluster), factors(cluster)) == ([True] * 3, [3] * 3)
    await lift_fence(cluster.server, NAME)
    assert not any(raised(cluster))
    assert factors(cluster)[0] == 1
    assert mark(cluster) is None
    assert seen > 2


async def test_the_mark_is_there_before_anything_is_changed() -> None:
    cluster = Cluster()
    cluster.noticed = lambda: None if mark(cluster) else _unchanged(cluster)
    await up(cluster)
    assert mark(cluster)["writeConsistencyFactor"] == 1
    cluster.noticed = lambda: None
    await lift_fence(cluster.server, NAME)
    _unchanged(cluster)


def _unchanged(cluster: Cluster) -> None:
    assert not raised(cluster)[0]
    assert factors(cluster)[0] == 1


async def test_a_factor_that_is_high_enough_is_left_alone() -> None:
    cluster = Cluster(factor=2)
    await up(cluster)
    await lift_fence(cluster.server, NAME)
    assert not [body for body in cluster.sent if "params" in body]


@pytest.mark.parametrize("state", ["Dead", "Partial", "Recovery"])
async def test_without_all_replicas_nothing_is_changed(state: str) -> None:
    cluster = Cluster()
    cluster.states[1] = state
    with pytest.raises(TransientError, match=f"shard 0 on peer 2 is {state}") as caught:
        await up(cluster)
    assert caught.value.reason == "ReplicasNotActive"
    assert cluster.sent == []


async def test_a_limit_that_cannot_be_neutralised_forbids_the_fence() -> None:
    cluster = Cluster(strict={"enabled": False, "max_wonders": 1})
    with pytest.raises(TransientError, match="max_wonders") as caught:
        await up(cluster)
    assert caught.value.reason == "FenceImpossible"
    assert cluster.sent == []


async def test_dormant_limits_sleep_on_and_come_back() -> None:
    own = {"enabled": False, "max_query_limit": 15, "search_allow_exact": False}
    cluster = Cluster(strict=own)
    await up(cluster)
    assert cluster.shown[0]["strict_mode_config"] == {
        "enabled": True,
        "write_rate_limit": 1,
        "max_query_limit": UNLIMITED,
        "search_allow_exact": True,
    }
    await lift_fence(cluster.server, NAME)
    assert cluster.shown[0]["strict_mode_config"] == own | {"write_rate_limit": UNLIMITED}


async def test_peers_that_do_not_follow_keep_the_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    """The factor stays raised, and whoever finds the mark lifts the fence in full."""
    cluster = Cluster()
    await up(cluster)
    cluster.lag = 10**9
    monkeypatch.setattr(fence, "LIFTED_SECONDS", 0.0)
    with pytest.raises(TransientError) as caught:
        await lift_fence(cluster.server, NAME)
    assert caught.value.reason == "PeersLagBehind"
    assert mark(cluster)
    assert factors(cluster) == [2, 2]
    cluster.lag = 1
    monkeypatch.undo()
    await lift_fence(cluster.server, NAME)
    assert mark(cluster) is None
    assert factors(cluster)[0] == 1


@dataclass
class Scripted:
    """Barriers whose outcomes are given; `through` are the peers that were asked, by their id."""

    peers: Any
    outcomes: list[bool]
    through: list[int] = field(default_factory=list)

    async def barrier(self, peer: Any = None) -> bool:
        self.through.append((peer or self.peers.found[0]).id)
        return self.outcomes.pop(0)


async def scripted(cluster: Cluster, *outcomes: bool) -> tuple[bool, list[int]]:
    old = await cluster.server.admin.collection(NAME)
    assert old is not None
    barriers = Scripted(await identify(cluster.server.admin), [*outcomes])
    passed = await hold(context(cluster), old, cast("Barriers", barriers))
    return passed, barriers.through


async def test_one_barrier_that_passes_has_taken_every_token() -> None:
    assert await scripted(Cluster(), True) == (True, [1])


async def test_after_a_refused_one_every_peer_is_asked_so_that_no_token_is_left() -> None:
    cluster = Cluster(3)
    assert await scripted(cluster, False, True, False) == (False, [1, 2, 3])
    assert cluster.sent == [], "a peer that follows late would fill its tokens again, unseen"


def test_a_watchdog_frees_the_writers_when_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("teal.migration.cutover.watchdog.GRACE_SECONDS", 0.0)
    sent: list[Any] = []
    server: Any = SimpleNamespace(admin=SimpleNamespace(patch_at_once=lambda *given: sent.append(given)))
    old: Any = SimpleNamespace(name=NAME, config={"strict_mode_config": {"enabled": True, "write_rate_limit": 60}})
    watchdog = Watchdog(server, Clock(), old, 0.0)
    watchdog.begin()
    assert watchdog._timer
    watchdog._timer.join()
    assert sent == [(NAME, {"strict_mode_config": {"enabled": True, "write_rate_limit": 60}})]
    with pytest.raises(TimeoutError):
        watchdog.check()
    watchdog.end()


def test_a_fence_that_was_lifted_in_time_is_left_alone() -> None:
    server: Any = SimpleNamespace(admin=None)
    old: Any = SimpleNamespace(name=NAME, config={})
    watchdog = Watchdog(server, Clock(), old, 60.0)
    watchdog.begin()
    timer = watchdog._timer
    watchdog.check()
    watchdog.end()
    assert timer
    timer.join()
    assert timer.finished.is_set()
    assert watchdog.stood >= 0.0
