"""In place: one PATCH and the payload indexes, then read back, because a server may accept and ignore."""

from __future__ import annotations

from typing import Any

from teal.domain import marks
from teal.domain.errors import TerminalError
from teal.domain.plan import Desired
from teal.domain.tuning import difference
from teal.migration.context import Context, Result
from teal.migration.contract import Note


async def run(ctx: Context) -> Result:
    """Apply the changes to the serving collection and see that they hold."""
    changes, name, admin = ctx.decision.in_place, ctx.subject, ctx.server.admin
    for field in changes.drop_indexes:
        await admin.delete_index(name, field)
    for field, schema in changes.create_indexes.items():
        await admin.create_index(name, field, schema)
    if changes.patch:
        await admin.patch(name, changes.patch)
    ctx.server.invalidate(name)
    state = await admin.collection(name)
    left = difference(ctx.desired.tuning, state).changes if state else changes.changes
    if left:
        raise TerminalError(
            "NotApplied",
            f"Qdrant accepted the change of {name}, but still shows "
            + "; ".join(f"{c.path}: {c.old}" for c in left),
        )
    await admin.mark(name, _marks(ctx.desired))
    ctx.server.invalidate(name)
    message = f"{name}: " + "; ".join(str(change) for change in changes.changes)
    return Result(notes=(Note("ChangedInPlace", message, "Change"),))


def _marks(desired: Desired) -> dict[str, Any]:
    written: dict[str, Any] = {marks.DECLARED: desired.tuning.declared()}
    if desired.encoder:
        written[marks.ENCODER] = desired.encoder.as_metadata()
    return written
