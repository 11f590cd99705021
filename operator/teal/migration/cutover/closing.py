"""Closing a retained collection before it is deleted, so that no write goes with it.

A write that reaches it between the last round and the deletion would be lost. So, when no peer shows an alias on
it any more: the fence, until every peer shows it; the requests that were under way have ended; a barrier; the
numbers; a last round, which only carries out of it (under the fence Teal's own writes to it are refused, too); and
the numbers have not moved. They are looked at once more right before the deletion, under the same fence: the limit
lets one point a minute pass on each replica, so what has passed meanwhile is carried over, too.

`promotion.maxFence` does not bound this fence. It stands as long as the last round, the snapshots and the deletion
take, because its retention has ended and nobody is meant to write there any more. Readers go on. If the collection
is not deleted, the fence is lifted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from teal.domain.errors import TransientError
from teal.domain.observed import CollectionState
from teal.domain.rest import Numbers
from teal.migration.context import Context
from teal.migration.copying.circumstances import barriers_on
from teal.migration.cutover.fence import hold, lift_fence, prepare_fence, raise_fence, settle
from teal.migration.sync.memory import PairMemories
from teal.migration.sync.pairs import paired
from teal.migration.sync.round import Round
from teal.migration.sync.rounds import bring_to_serving
from teal.qdrant.barrier import Barriers

ROUNDS = 3
"""How many last rounds are made, at most, until one is not overtaken by writes."""
RESTLESS_SECONDS = 60.0
SAFE_SECONDS = 50.0
"""How long no replica can have another token, after the limit was set or its token was taken."""
AGAIN_SECONDS = 61.0
"""After which time all of them have one."""


@dataclass
class Closed:
    """A collection whose writers are held back; or not, and `unheld` says why, in a sentence.

    Attributes:
        newer: what it is kept in step with, if there is such a collection.
        since: a monotonic time, since when no replica can have got another token.
        numbers: those after the last round.
    """

    ctx: Context
    retained: CollectionState
    newer: CollectionState | None
    barriers: Barriers
    unheld: str | None
    since: float
    numbers: Numbers | None = None

    async def carry_last(self) -> None:
        """The last round: what was written to it alone goes to the newer one.

        Raises:
            TransientError: reason `NotAtRest`: it is not certain that the round has seen everything.
        """
        if self.newer is None:
            return
        ctx, pair = await paired(self.ctx, self.newer, self.retained)
        memory = ctx.session.part(PairMemories).of(self.newer.name, self.retained.name)
        self.numbers = await self.barriers.look()
        for _ in range(ROUNDS):
            found = await bring_to_serving(ctx, pair, memory)
            if await self._has_seen_all(found):
                return
        raise self._not_at_rest()

    async def carry_rest(self) -> None:
        """Right before the deletion: a round for what has passed the fence since the last one, if anything has.

        The limit gives each replica one token a minute, and taking snapshots may last longer.

        Raises:
            TransientError: as `carry_last`.
        """
        for _ in range(ROUNDS):
            if self.unheld is not None or await self._is_at_rest():
                return
            await self.carry_last()
        raise self._not_at_rest()

    async def _has_seen_all(self, found: Round) -> bool:
        before, self.numbers = self.numbers, await self.barriers.look()
        if found.overtaken or self.unheld is not None:
            return not found.overtaken
        if before is None and self.numbers is None:
            return not found.moved
        return found.exact and _rose_by_barriers(before, self.numbers)

    async def _is_at_rest(self) -> bool:
        """Whether nothing was applied since the last round, and no replica has a token for a write."""
        recent = self.ctx.clock.monotonic() - self.since < SAFE_SECONDS
        taken = recent or await self._take_tokens()
        before, self.numbers = self.numbers, await self.barriers.look()
        if before is None and self.numbers is None:
            return recent
        return taken and _rose_by_barriers(before, self.numbers)

    async def _take_tokens(self) -> bool:
        """A barrier takes the token of each replica, as soon as all have one; false if somebody else took one."""
        clock = self.ctx.clock
        await clock.sleep(max(0.0, self.since + AGAIN_SECONDS - clock.monotonic()))
        before = clock.monotonic()
        if not await self.barriers.barrier():
            return False
        self.since = before
        return True

    def _not_at_rest(self) -> TransientError:
        return TransientError(
            "NotAtRest",
            f"The retention of {self.retained.name} has ended, but it is kept: it does not come to rest, although "
            "no alias of Teal's points at it any more. Something writes to it by its name; stop that.",
            retry_after=RESTLESS_SECONDS,
        )


def _rose_by_barriers(before: Numbers | None, now: Numbers | None) -> bool:
    """Whether only Teal's own barriers were applied between two looks, as far as these replicas tell."""
    if before is None or now is None or before.op_nums.keys() != now.op_nums.keys():
        return False
    passed = now.barriers - before.barriers
    return not (before.queued or now.queued) and all(
        now.op_nums[replica] - number == passed for replica, number in before.op_nums.items()
    )


@asynccontextmanager
async def closed(ctx: Context, retained: CollectionState, newer: CollectionState | None) -> AsyncIterator[Closed]:
    """Hold the writers of `retained` back until this ends. `newer`: what it is kept in step with.

    Where that is not wanted or not possible, only the requests that were under way have ended.

    Raises:
        TransientError: reason `ReplicasNotActive`, `PeerUnreachable` or `PeersLagBehind`.
    """
    barriers = await barriers_on(ctx, retained)
    barriers.peers.require_reachable()
    try:
        since = ctx.clock.monotonic()
        unheld = await _hold_writers(ctx, retained, newer, barriers)
        yield Closed(ctx, retained, newer, barriers, unheld, since)
    finally:
        await asyncio.shield(lift_fence(ctx.server, retained.name))


async def _hold_writers(
    ctx: Context, retained: CollectionState, newer: CollectionState | None, barriers: Barriers
) -> str | None:
    """Raise the fence, and bring the collection to rest; or why there is none."""
    unheld = _unwanted(ctx, newer) or await _prepare(ctx, retained, barriers)
    if unheld is None:
        await raise_fence(ctx, retained, barriers)
        await hold(ctx, retained, barriers)
    else:
        await settle(ctx)
        await barriers.barrier()
    return unheld


def _unwanted(ctx: Context, newer: CollectionState | None) -> str | None:
    if newer is None:
        return "It is not kept in step with another collection."
    return None if ctx.options.fence else "promotion.fence is Never."


async def _prepare(ctx: Context, retained: CollectionState, barriers: Barriers) -> str | None:
    """Why no fence can be raised."""
    try:
        await prepare_fence(ctx, retained, barriers)
    except TransientError as error:
        if error.reason != "FenceImpossible":
            raise
        return error.message
    return None
