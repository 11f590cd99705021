"""In place: one PATCH and the payload indexes, then read back: a server may accept a change and ignore it."""

from __future__ import annotations

from teal.domain.errors import TerminalError
from teal.domain.tuning import difference
from teal.migration.context import Context, Result
from teal.migration.contract import Note


async def run(ctx: Context) -> Result:
    """Apply the changes to the serving collection and see that they hold."""
    changes, name, server = ctx.decision.in_place, ctx.subject, ctx.server
    for field in changes.drop_indexes:
        await server.delete_index(name, field)
    for field, schema in changes.create_indexes.items():
        await server.create_index(name, field, schema)
    if changes.patch:
        await server.patch(name, changes.patch)
    state = await server.admin.collection(name)
    left = difference(ctx.desired.tuning, state).changes if state else changes.changes
    if left:
        raise TerminalError(
            "NotApplied",
            f"Qdrant accepted the change of {name}, but still shows "
            + "; ".join(f"{c.path}: {c.old}" for c in left),
        )
    encoder = (ctx.desired.encoder,) if ctx.desired.encoder else ()
    await server.mark(name, ctx.desired.tuning.declared(), *encoder)
    message = f"{name}: " + "; ".join(str(change) for change in changes.changes)
    return Result(notes=(Note("ChangedInPlace", message, "Change"),))
