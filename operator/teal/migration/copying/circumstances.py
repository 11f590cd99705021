"""Under which circumstances the versions of a collection are read (`domain.epoch`)."""

from __future__ import annotations

from dataclasses import replace

from teal.domain.epoch import Floors, Scan
from teal.domain.observed import CollectionState, Version
from teal.domain.rest import Numbers
from teal.migration.context import Context
from teal.qdrant import affinity
from teal.qdrant.barrier import Barriers

NOTHING = Scan(Floors(0, 0), None)
"""Circumstances that nobody tells: versions that are read in them are compared with nothing."""


async def barriers_on(ctx: Context, state: CollectionState) -> Barriers:
    """Barriers through the peers that are there now, and looks at the numbers that they tell."""
    return Barriers(ctx.server.admin, state.name, await ctx.server.admin.peers())


async def circumstances(ctx: Context, state: CollectionState, barriers: Barriers) -> Scan:
    """The present ones; without an epoch where a peer does not tell."""
    return await circumstances_on(ctx.observed.version, state, barriers)


async def circumstances_on(version: Version, state: CollectionState, barriers: Barriers) -> Scan:
    """As `circumstances`, on a server of this version."""
    return circumstances_of(await barriers.look(), version, state)


def circumstances_of(numbers: Numbers | None, version: Version, state: CollectionState) -> Scan:
    """Those in which these numbers were told, by a server of this version."""
    if numbers is None or numbers.epoch is None or numbers.missing:
        return NOTHING
    owner = state.marks.owner
    epoch = replace(
        numbers.epoch,
        instance=str(owner.created_at) if owner else "",
        fan_out=affinity.fans_out(state),
        pinned=version >= affinity.SINCE,
    )
    return Scan(Floors.of(numbers.op_nums.values()), epoch)
