"""Moving an alias, and seeing that every peer shows it."""

from __future__ import annotations

import contextlib

from teal.domain.errors import TransientError, UnknownOutcomeError
from teal.migration.context import Context

PEER_WAIT = 15.0


async def point_alias(ctx: Context, alias: str, target: str) -> None:
    """Point `alias` at `target` and return when every peer shows it. A lost answer is looked up, not assumed."""
    with contextlib.suppress(UnknownOutcomeError):
        await ctx.server.point_alias(alias, target)
    deadline = ctx.clock.monotonic() + PEER_WAIT
    while True:
        shown = {peer: found.get(alias) for peer, found in (await ctx.server.admin.aliases_by_peer()).items()}
        if all(name == target for name in shown.values()):
            return
        if ctx.clock.monotonic() > deadline:
            lagging = ", ".join(sorted(peer for peer, name in shown.items() if name != target))
            raise TransientError(
                "AliasNotOnAllPeers", f"The alias {alias!r} is not on {target!r} yet at {lagging}."
            )
        await ctx.clock.sleep(0.05)
