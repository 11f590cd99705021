"""Moving an alias, and waiting until every peer shows it."""

from __future__ import annotations

import contextlib

from teal.domain.errors import TransientError, UnknownOutcomeError
from teal.migration.context import Context

PEER_WAIT = 15.0


async def point_alias(ctx: Context, alias: str, target: str, *, expected: str | None) -> None:
    """Move `alias` from `expected` (`None`: it was absent) to `target`; returns when every peer shows it.

    If the answer is lost, the alias is read back.
    """
    with contextlib.suppress(UnknownOutcomeError):
        await ctx.server.set_alias(alias, target, expected=expected, ours=ctx.mine)
    deadline = ctx.clock.monotonic() + PEER_WAIT
    while lagging := await ctx.server.lagging_peers(alias, target):
        if ctx.clock.monotonic() > deadline:
            raise TransientError(
                "AliasNotOnAllPeers", f"The alias {alias!r} is not on {target!r} yet at {', '.join(lagging)}."
            )
        await ctx.clock.sleep(0.05)


def may_set(ctx: Context, alias: str) -> bool:
    """Whether a secondary alias is absent or points at a collection of ours: others may use its name."""
    at = ctx.observed.aliases.get(alias)
    return alias not in ctx.observed.names and (at is None or at in ctx.mine)
