"""An alias request without an answer: repeated, or taken back, and never left open."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import cast

import httpx
import pytest

from teal.domain.errors import TransientError
from teal.migration.clock import Clock
from teal.migration.context import Context
from teal.migration.cutover import alias
from teal.migration.cutover.alias import Move
from teal.qdrant.peers import identify
from tests.unit.migration.peers import Cluster

SOON = 0.3
LOST = httpx.ReadTimeout("timed out")


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alias, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(alias, "AGAIN_SECONDS", 0.02)


async def move_of(cluster: Cluster) -> Move:
    ctx = cast(
        "Context", SimpleNamespace(server=cluster.server, clock=Clock(), mine={"blue": None, "green": None})
    )
    return Move(ctx, "docs", "blue", "green", await identify(cluster.server.admin))


def named(cluster: Cluster) -> list[str]:
    return [sent["docs"] for sent in cluster.sent]


def until(seconds: float = 30.0) -> float:
    return time.monotonic() + seconds


async def test_one_request_that_is_answered_is_enough() -> None:
    cluster = Cluster(3, lag=3)
    move = await move_of(cluster)
    assert await move.forwards(until())
    assert named(cluster) == ["green"]
    assert [aliases["docs"] for aliases in cluster.aliases] == ["green"] * 3
    assert not move.open


async def test_a_request_without_an_answer_is_repeated() -> None:
    cluster = Cluster()
    cluster.alias_answers = [LOST, LOST]
    move = await move_of(cluster)
    assert await move.forwards(until())
    assert named(cluster) == ["green"] * 3
    assert cluster.pending == []


async def test_one_that_was_decided_all_the_same_is_seen() -> None:
    cluster = Cluster()
    cluster.alias_answers = [LOST]
    move = await move_of(cluster)
    cluster.noticed = lambda: None
    asked = cluster._alias

    def and_decide(body: dict[str, object]) -> object:
        try:
            return asked(body)
        finally:
            cluster.commit_late()

    cluster._alias = and_decide  # type: ignore[method-assign]
    assert await move.forwards(until())
    assert named(cluster) == ["green"]
    assert not move.open


async def test_what_stays_without_an_answer_is_overruled_by_one_that_has_one() -> None:
    """Whatever was asked before is decided before it: the old side stays, however late that is."""
    cluster = Cluster()
    cluster.alias_answers = [LOST] * 1000
    move = await move_of(cluster)
    assert not await move.forwards(until(SOON))
    assert move.open
    cluster.alias_answers = []
    await move.back(until())
    assert not move.open
    assert named(cluster)[-1] == "blue"
    cluster.commit_late()
    assert [aliases["docs"] for aliases in cluster.aliases] == ["blue"] * 2


async def test_the_old_side_is_not_settled_by_being_seen() -> None:
    """All peers still show it, because the request is not decided yet: that proves nothing."""
    cluster = Cluster()
    cluster.alias_answers = [LOST] * 1000
    move = await move_of(cluster)
    assert not await move.forwards(until(SOON))
    with pytest.raises(TransientError) as caught:
        await move.back(until(SOON))
    assert caught.value.reason == "AliasNotOnAllPeers"
    assert move.open


async def test_an_alias_that_somebody_else_moved_is_left_alone() -> None:
    cluster = Cluster()
    cluster.aliases[0]["docs"] = "theirs"
    move = await move_of(cluster)
    with pytest.raises(TransientError) as caught:
        await move.forwards(until())
    assert caught.value.reason == "AliasNotOwned"
    assert named(cluster) == []
    assert not move.open
