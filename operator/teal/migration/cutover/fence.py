"""The fence: while the alias moves, strict mode on the old side answers writers 429.

The mark that says how to lift it is written first, so whoever reads the mark can lift the fence.
"""

from __future__ import annotations

import contextlib
from uuid import uuid4

from teal.domain.carry import UNLIMITED
from teal.domain.errors import TransientError
from teal.domain.marks import Fence
from teal.domain.observed import CollectionState
from teal.migration.context import Context
from teal.qdrant import wire
from teal.qdrant.pool import Server

TOKENS_PER_SHARD = 4


async def raise_fence(ctx: Context, old: CollectionState) -> None:
    """First the mark that says how to lift it, then the fence.

    A crash in between leaves the mark without a fence. `lift_fence` then restores limits that were not changed;
    where there was no limit it sets `UNLIMITED`, because Qdrant cannot unset one.
    """
    strict = old.config.get("strict_mode_config") or {}
    fence = Fence(ctx.clock.now(), bool(strict.get("enabled")), strict.get("write_rate_limit"))
    await ctx.server.mark(old.name, fence)
    await ctx.server.patch(old.name, {"strict_mode_config": {"enabled": True, "write_rate_limit": 1}})


async def spend_tokens(ctx: Context, old: CollectionState) -> None:
    """The limit still allows one single-point write a minute on each shard: use it up by deleting ids that do not
    exist."""
    shards = old.schema.shard_number or 1
    for _ in range(1 if shards == 1 else shards * TOKENS_PER_SHARD):
        with contextlib.suppress(TransientError):
            await ctx.server.points.delete(old.name, [wire.raw_id(uuid4())])


async def lift_fence(server: Server, name: str) -> None:
    """Restore a collection's own strict mode. Idempotent: called after every fence, and again after a crash."""
    state = await server.admin.collection(name)
    if state is None or state.marks.fence is None:
        return
    fence = state.marks.fence
    own = {"enabled": fence.enabled, "write_rate_limit": fence.write_rate_limit or UNLIMITED}
    await server.patch(name, {"strict_mode_config": own})
    await server.mark(name, clear=(Fence.KEY,))
