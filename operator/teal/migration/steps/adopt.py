"""Adopting: a collection that Teal did not create becomes this resource's, because the spec names it.

Adoption writes marks and, where there is none, the alias; it changes neither configuration nor data. What the
spec declares beyond the collection's own shape is then an ordinary change.
"""

from __future__ import annotations

from dataclasses import replace

from teal.domain.marks import Encoder, Mark, Migration, Owner
from teal.domain.observed import CollectionState
from teal.domain.plan import Desired
from teal.domain.schema import Schema
from teal.domain.transitions import Stage
from teal.migration.context import Context, Result
from teal.migration.contract import Note
from teal.migration.cutover.alias import point_alias
from teal.migration.steps import stages


async def adopt(ctx: Context) -> Result:
    """Stamp `subject` as ours and serve it."""
    state, desired, now = ctx.the_subject(), ctx.desired, ctx.clock.now()
    schema = as_declared(state, desired)
    owner = Owner(
        desired.identity.uid, desired.identity.cluster, desired.identity.namespace, desired.identity.name,
        state.name, schema.revision, schema.schema_version, now, adopted=True,
    )  # fmt: skip
    migration = Migration("adopted", "adopted", Stage.READY, None, now, stage_since=now)
    marks: list[Mark] = [owner]
    if schema.model and schema.main:
        marks.append(Encoder(schema.model, schema.schema_version, schema.main.size))
    await stages.write(ctx, state.name, migration, *marks)
    before = ctx.observed.aliases.get(desired.alias)
    if before != state.name:
        await point_alias(ctx, desired.alias, state.name, expected=before)
    message = f"{state.name} ({state.points:,} points) now belongs to this resource and serves {desired.alias!r}."
    return Result(notes=(Note("CollectionAdopted", message, "Adopt"),))


def as_declared(state: CollectionState, desired: Desired) -> Schema:
    """What the collection is, in the spec's terms where the two cannot be told apart.

    Qdrant knows neither encoder nor schema version, so vectors of the declared sizes are taken to be what the
    spec says that they are. Other sizes are another encoder's: its model is unknown, and its version "adopted".
    """
    wanted = desired.schema
    shards = state.schema.shard_number if wanted.shard_number is not None else None
    found = replace(state.schema, shard_number=shards)
    sizes = {v.name: v.size for v in found.vectors}
    if sizes == {v.name: v.size for v in wanted.vectors}:
        return replace(found, schema_version=wanted.schema_version, model=wanted.model)
    return replace(found, schema_version="adopted", model=None)


async def claim(ctx: Context) -> Result:
    """The same resource under a new UID (deleted and applied again): its collections follow it."""
    owner = ctx.the_subject().marks.owner
    if owner is None:
        raise LookupError("only an owned collection is claimed")
    renewed = replace(owner, uid=ctx.desired.identity.uid)
    await ctx.server.mark(ctx.subject, renewed)
    return Result()
