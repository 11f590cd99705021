"""The fence: while the alias moves, strict mode on the old side answers writers 429.

The mark that says how to lift it is written first, so whoever reads the mark can lift the fence, whatever became
of the process that raised it. Every way out goes through `lift_fence`.

Peers learn of a change one after the other, and each replica limits writes by itself. Where a shard has several
replicas, `write_consistency_factor` is raised to their number, and every peer must know of it *before* the limit
and until *after* the limit is gone. Else a write that one replica takes and another refuses succeeds, and Qdrant
gives up the replica that refused. With the raised factor such a write fails. That needs all replicas: if one of
them is not Active there is no fence, or no write would pass at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from teal.domain.errors import TransientError
from teal.domain.fencing import (
    SWITCH,
    WRITES,
    FenceChange,
    Unfenceable,
    factor_to_raise,
    fence_change,
    is_raised,
    not_active,
    own_limits,
)
from teal.domain.marks import Fence
from teal.domain.observed import CollectionState
from teal.migration.context import Context
from teal.qdrant.barrier import Barriers
from teal.qdrant.peers import Peers
from teal.qdrant.pool import Server
from teal.qdrant.together import all_of

SETTLE_SECONDS = 0.15
"""How long a request may take from its check to its operation, or from the alias to its check. One that takes
longer is found afterwards: it is copied and counted.
"""
SETTLE_SHARE = 0.1
"""Of `maxFence`, at most, for each time that is waited so."""
HIDDEN_SECONDS = 1.0
"""How long peers that cannot be asked are given to learn of a change."""
LOOK_SECONDS = 0.02
LIFTED_SECONDS = 15.0


async def prepare_fence(ctx: Context, old: CollectionState, barriers: Barriers) -> None:
    """The mark, then the factor until every peer shows it. Writers notice nothing yet.

    A crash leaves the mark without a fence. `lift_fence` then restores what was not changed; where there was no
    limit it sets `UNLIMITED`, because Qdrant cannot unset one.

    Raises:
        TransientError: reason `FenceImpossible` or `ReplicasNotActive`; nothing was changed.
    """
    change = _change(old)
    own = _factor_of(old)
    factor = await _factor_to_raise(old, own, barriers)
    strict = old.config.get("strict_mode_config") or {}
    enabled, limit = bool(strict.get(SWITCH)), strict.get(WRITES)
    restored = own if factor is not None else None
    await ctx.server.mark(old.name, Fence(ctx.clock.now(), enabled, limit, change.dormant, restored))
    if factor is not None:
        await ctx.server.patch(old.name, {"params": {"write_consistency_factor": factor}})
        await _until_seen(ctx.server, old.name, barriers.peers, lambda state: _factor_of(state) >= factor)


async def raise_fence(ctx: Context, old: CollectionState, barriers: Barriers) -> None:
    """From now on writers are refused; returns when every peer shows it."""
    await ctx.server.patch(old.name, {"strict_mode_config": dict(_change(old).raised)})
    await _until_seen(ctx.server, old.name, barriers.peers, _is_raised)


async def hold(ctx: Context, old: CollectionState, barriers: Barriers) -> bool:
    """Use up the one write that each replica's limit still allows, and bring the collection to rest.

    The limit is one token a minute for each replica. A barrier takes them all, and when it has passed, everything
    before it is applied. If it is refused, somebody else had a token. Then every peer is asked, so that no token
    is left whoever had it, and the requests that took them are given time to end.

    Setting the limit once more fills the tokens again, for another try; but a peer that follows late would fill
    its tokens after the barrier, and that cannot be seen. So only a single node is asked again.

    Returns: Whether a barrier has passed.
    """
    await settle(ctx)
    if await barriers.barrier():
        return True
    for peer in barriers.peers.found[1:]:
        await barriers.barrier(peer)
    await settle(ctx)
    if not barriers.peers.single:
        return False
    await ctx.server.patch(old.name, {"strict_mode_config": {SWITCH: True, WRITES: 1}})
    if await barriers.barrier():
        return True
    await settle(ctx)
    return False


async def settle(ctx: Context) -> None:
    """Let requests that are under way come to their end."""
    await ctx.clock.sleep(min(SETTLE_SECONDS, SETTLE_SHARE * ctx.options.max_fence))


async def lift_fence(server: Server, name: str, freed: Callable[[], None] = lambda: None) -> None:
    """Restore a collection's own limits. Idempotent: called after every fence, and again after a crash.

    `freed` is called as soon as writers are no longer refused.

    Raises:
        TransientError: the mark stays, and it is tried again.
    """
    state = await server.admin.collection(name)
    if state is None or state.marks.fence is None:
        return
    fence = state.marks.fence
    await server.patch(name, {"strict_mode_config": own_limits(fence)})
    freed()
    if fence.write_consistency_factor is not None:
        peers = await server.admin.peers()
        await _until_seen(server, name, peers, lambda found: not _is_raised(found))
        await server.patch(name, {"params": {"write_consistency_factor": fence.write_consistency_factor}})
    await server.mark(name, clear=(Fence.KEY,))


def _change(old: CollectionState) -> FenceChange:
    change = fence_change(old.config.get("strict_mode_config"))
    if isinstance(change, Unfenceable):
        raise TransientError(
            "FenceImpossible",
            f"The strict mode of {old.name} is disabled, and a fence would wake {', '.join(change.limits)} there, "
            "which Teal cannot neutralise. Enable that strict mode, or set promotion.fence to Never.",
            retry_after=60.0,
        )
    return change


async def _factor_to_raise(old: CollectionState, own: int, barriers: Barriers) -> int | None:
    """The factor to raise to, if that is needed."""
    replicas = await barriers.replicas()
    if replicas is None:
        if int((old.config.get("params") or {}).get("replication_factor") or 1) > 1:
            raise TransientError(
                "FenceImpossible",
                f"The states of the replicas of {old.name} cannot be read, so no fence is raised: one that is not "
                "Active would make every write fail. Allow the key of Teal to read its /cluster.",
                retry_after=60.0,
            )
        return None
    inactive = not_active(replicas)
    if inactive:
        raise TransientError(
            "ReplicasNotActive",
            f"No fence is raised on {old.name} before all of its replicas are Active: {'; '.join(inactive)}.",
        )
    return factor_to_raise(replicas, own)


async def _until_seen(server: Server, name: str, peers: Peers, shown: Callable[[CollectionState], bool]) -> None:
    """Wait until every peer shows a change of the configuration."""
    deadline = server.now() + LIFTED_SECONDS
    while True:
        states = await all_of(server.admin.collection(name, peer.root) for peer in peers.found)
        if all(state is None or shown(state) for state in states):
            break
        if server.now() > deadline:
            raise TransientError(
                "PeersLagBehind", f"Not every peer knows the configuration of {name} that Teal has set."
            )
        await asyncio.sleep(LOOK_SECONDS)
    if not peers.whole:
        await asyncio.sleep(HIDDEN_SECONDS)


def _is_raised(state: CollectionState) -> bool:
    return is_raised(state.config.get("strict_mode_config"))


def _factor_of(state: CollectionState) -> int:
    return int((state.config.get("params") or {}).get("write_consistency_factor") or 1)
