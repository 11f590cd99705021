"""Moving an alias, and waiting until every peer shows it."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from teal.domain.errors import TransientError, UnknownOutcomeError
from teal.migration.context import Context
from teal.qdrant.peers import Peers

PEER_WAIT = 15.0
LOOK_SECONDS = 0.05
AGAIN_SECONDS = 1.0
"""How long an alias request may be without effect before it is sent again."""


async def point_alias(ctx: Context, alias: str, target: str, *, expected: str | None) -> None:
    """Move `alias` from `expected` (`None`: it was absent) to `target`; returns when every peer shows it.

    If the answer is lost, the alias is read back.
    """
    with contextlib.suppress(UnknownOutcomeError):
        await ctx.server.set_alias(alias, target, expected=expected, ours=ctx.mine)
    deadline = ctx.clock.monotonic() + PEER_WAIT
    while lagging := await ctx.server.lagging_peers(alias, target):
        if ctx.clock.monotonic() > deadline:
            raise _not_everywhere(alias, target, lagging)
        await ctx.clock.sleep(LOOK_SECONDS)


@dataclass
class Move:
    """An alias that moves from one collection to another while nobody may write: it is settled, or taken back.

    A request without an answer may still be decided much later. Requests through one peer are decided in their
    order, so one that is answered settles all those before it. Therefore all requests of one move go through the
    same peer, and as long as none is answered they are repeated.

    Attributes:
        open: whether a request may still have an effect that is not known.
        lagging: the peers that did not show the target at the last look.
    """

    ctx: Context
    alias: str
    old: str
    new: str
    peers: Peers
    open: bool = False
    lagging: tuple[str, ...] = ()

    async def forwards(self, until: float) -> bool:
        """Name the new side until every peer shows it; false if that is not so at the monotonic time `until`."""
        self.open = not await self._name(self.new, until)
        return not self.open

    async def back(self, until: float) -> None:
        """Name the old side again, and wait until every peer shows it: then no earlier request can have an effect.

        Raises:
            TransientError: reason `AliasNotOnAllPeers`: it is still open where the alias will point.
        """
        if not await self._name(self.old, until):
            raise _not_everywhere(self.alias, self.old, list(self.lagging))
        self.open = False

    async def _name(self, target: str, until: float) -> bool:
        answered = False
        while self.ctx.clock.monotonic() < until:
            if not answered:
                answered = await self._ask(target, until)
            look_until = min(until, self.ctx.clock.monotonic() + AGAIN_SECONDS)
            shown = await self._shown(target, until if answered else look_until)
            # What all show is settled if no request ever named anything else.
            if shown and (answered or target == self.new):
                return True
        return False

    async def _ask(self, target: str, until: float) -> bool:
        """Whether the request was answered."""
        left = until - self.ctx.clock.monotonic()
        expected = self.old if target == self.new else self.new
        try:
            async with asyncio.timeout(max(0.0, left)):
                await self.ctx.server.set_alias(
                    self.alias, target, expected=expected, ours=self.ctx.mine, peers=self.peers
                )
        except (TimeoutError, UnknownOutcomeError):
            self.open = True
            return False
        return True

    async def _shown(self, target: str, until: float) -> bool:
        """Whether every peer shows the target, before `until`."""
        while True:
            try:
                async with asyncio.timeout(max(0.0, until - self.ctx.clock.monotonic())):
                    self.lagging = tuple(await self.ctx.server.lagging_peers(self.alias, target, self.peers))
            except (TimeoutError, TransientError):
                self.lagging = self.lagging or tuple(peer.root for peer in self.peers.found)
            if not self.lagging:
                return True
            if self.ctx.clock.monotonic() >= until:
                return False
            await self.ctx.clock.sleep(LOOK_SECONDS)


def may_set(ctx: Context, alias: str) -> bool:
    """Whether a secondary alias is absent or points at a collection of ours: others may use its name."""
    at = ctx.observed.aliases.get(alias)
    return alias not in ctx.observed.names and (at is None or at in ctx.mine)


def _not_everywhere(alias: str, target: str, lagging: list[str]) -> TransientError:
    return TransientError(
        "AliasNotOnAllPeers", f"The alias {alias!r} is not on {target!r} yet at {', '.join(lagging)}."
    )
