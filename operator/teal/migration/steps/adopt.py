"""Adopting: a collection that Teal did not create becomes this resource's, because the spec names it.

Adoption writes marks and, if it is missing, the alias; it changes neither configuration nor data. Where the spec
declares something else than the collection has, that is an ordinary change afterwards.
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
        desired.identity.alias, state.name, schema.revision, schema.schema_version, now, adopted=True,
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
    """The schema of the collection, completed from the spec where Qdrant cannot tell.

    Qdrant stores neither encoder nor schema version. If the vectors have the declared sizes, they are assumed to
    be of the declared encoder. Other sizes mean another encoder: its model is unknown, and its version "adopted".
    """
    wanted = desired.schema
    shards = state.schema.shard_number if wanted.shard_number is not None else None
    schema = replace(state.schema, shard_number=shards)
    sizes = {v.name: v.size for v in schema.vectors}
    if sizes == {v.name: v.size for v in wanted.vectors}:
        return replace(schema, schema_version=wanted.schema_version, model=wanted.model)
    return replace(schema, schema_version="adopted", model=None)


async def claim(ctx: Context) -> Result:
    """The same resource under a new UID (deleted and applied again), or a mark that lacks the alias: renew it."""
    owner = ctx.the_subject().marks.owner
    if owner is None:
        raise LookupError("only an owned collection is claimed")
    renewed = replace(owner, uid=ctx.desired.identity.uid, alias=ctx.desired.identity.alias)
    await ctx.server.mark(ctx.subject, renewed)
    return Result()
