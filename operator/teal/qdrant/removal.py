"""The gateway through which every collection is deleted.

Qdrant deletes a collection together with all aliases that point at it, without a question. A peer that lags behind
may show an old target of an alias while the others already send their clients to the collection, so right before
the deletion every peer is asked, and all of them must answer. Only aliases that are Teal's own and have no use
without the collection may still point at it; they are removed first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from teal.domain.errors import TransientError
from teal.qdrant.pool import Server

BLOCKED_SECONDS = 60.0
SEEN_SECONDS = 15.0
"""How long peers are given to learn that an alias is removed."""
LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Removal:
    """A collection that is to go.

    Attributes:
        own: the aliases that go with it.
        ours: all collections of the resource, for the gateway of aliases.
        reason: of the error while another alias points at it; `because` is how its message begins.
    """

    collection: str
    own: Collection[str]
    ours: Collection[str]
    reason: str
    because: str
    retry_after: float = BLOCKED_SECONDS

    async def require_unused(self, server: Server) -> set[str]:
        """Ask every peer; the aliases among `own` that point at the collection.

        Raises:
            TransientError: another alias points at it, or a peer does not answer.
        """
        by_peer = await server.admin.aliases_by_peer()
        found = {
            (alias, peer)
            for peer, aliases in by_peer.items()
            for alias, target in aliases.items()
            if target == self.collection
        }
        foreign = [(alias, peer) for alias, peer in found if alias not in self.own]
        if foreign:
            alias, peer = min(foreign)
            raise TransientError(
                self.reason,
                f"{self.because} At {peer} the alias {alias!r} points at it. Move or delete that alias.",
                retry_after=self.retry_after,
            )
        return {alias for alias, _ in found}

    async def remove_aliases(self, server: Server) -> None:
        """Remove its own aliases; when it returns, no peer shows any alias on the collection.

        Raises:
            TransientError: as `require_unused`; or a peer still shows one after a while.
        """
        await self._remove_own(server)
        deadline = server.now() + SEEN_SECONDS
        while left := await self.require_unused(server):
            if server.now() > deadline:
                raise TransientError(
                    self.reason,
                    f"{self.because} Not every peer knows yet that the alias {min(left)!r} is removed.",
                    retry_after=self.retry_after,
                )
            await asyncio.sleep(LOOK_SECONDS)

    async def carry_out(self, server: Server) -> bool:
        """Remove its own aliases and delete the collection; False if there was none.

        Raises:
            TransientError: as `require_unused`.
        """
        await self._remove_own(server)
        return await server.delete(self.collection)

    async def _remove_own(self, server: Server) -> None:
        for alias in sorted(await self.require_unused(server)):
            await server.remove_alias(alias, expected=self.collection, ours=self.ours)
