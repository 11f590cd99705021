"""Late writes: they reached the old side of a cut-over, and the operator died before it could copy them.

The marks on the new side hold checksums by bucket of both sides right before the cut-over. So each late write is
found, and each point that the application has changed on the new side since is recognised and left as it is.
"""

from __future__ import annotations

from teal.domain.ledger import RawId, restore
from teal.domain.marks import InStep
from teal.domain.observed import CollectionState
from teal.domain.plan import same_encoder
from teal.migration.context import Context
from teal.migration.copying import conditional_writes
from teal.migration.copying.scan import versions_of
from teal.migration.copying.transform import across
from teal.qdrant import wire


async def carry_over(ctx: Context, old: CollectionState, new: CollectionState) -> int | None:
    """Bring what came late from `old` to `new`; how much it was, `None` if it has no vectors for the new side."""
    before, after = await versions_of(ctx, old), await versions_of(ctx, new)
    in_step = new.marks.in_step.get(old.name, InStep(old.name))
    at_rest = restore(before, in_step.there, len(before)).versions
    late = [p for p, version in before.items() if at_rest.get(p) != version]
    gone = [p for p in after if p not in before]
    left_alone = restore(after, in_step.here, len(after)).versions
    late = [p for p in await _different(ctx, old, new, late) if p in left_alone or p not in after]
    gone = [p for p in gone if p in left_alone]
    transform = across(ctx, old, new, ctx.embedder, ctx.desired.text_field)
    carried = len(await conditional_writes.delete(ctx.server.points, new, gone, after))
    if late and transform is None:
        return None
    size = ctx.options.carry_batch
    for start in range(0, len(late), size):
        points = await ctx.server.points.fetch(old.name, late[start : start + size])
        made = await transform(points) if transform else points
        carried += len((await conditional_writes.write(ctx.server.points, new, made, after)).written)
    return carried


async def _different(ctx: Context, old: CollectionState, new: CollectionState, points: list[RawId]) -> list[RawId]:
    """A digest that moved names a bucket; most of its points are equal on both sides."""
    same_vectors = same_encoder(old, new)
    found = []
    size = ctx.options.carry_batch
    for start in range(0, len(points), size):
        page = points[start : start + size]
        there = {p.id: p for p in await ctx.server.points.fetch(old.name, page, vectors=same_vectors)}
        here = {p.id: p for p in await ctx.server.points.fetch(new.name, page, vectors=same_vectors)}
        found += [
            point
            for point in page
            if point in there
            and (point not in here or wire.content_version(there[point]) != wire.content_version(here[point]))
        ]
    return found
