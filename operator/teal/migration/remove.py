"""Deleting what a deleted resource owns, for `deletionPolicy: Delete` only.

Only collections that this resource's UID created: one that was adopted was somebody else's before, and stays.
A failed snapshot keeps everything.
"""

from __future__ import annotations

from teal.domain import marks
from teal.domain.decide import ours
from teal.domain.plan import Desired
from teal.migration.contract import Note
from teal.qdrant.pool import Server


async def run(server: Server, desired: Desired, snapshot: bool) -> list[Note]:  # noqa: FBT001 - a policy
    """Remove all collections of the resource; returns when none is left."""
    observed = await server.observe(desired.alias, desired.adopt, max_age=0.0)
    notes = []
    for name, state in sorted(observed.states.items()):
        owner = state.marks.owner
        if owner is None or not ours(state, desired.identity):
            continue
        if owner.adopted:
            await server.admin.mark(name, {marks.OWNER: None, marks.MIGRATION: None})
            notes.append(Note("CollectionReleased", f"{name} was adopted, not created: it stays.", "Delete"))
            continue
        kept = (await server.admin.snapshot(name)).name if snapshot and state.points else None
        await server.admin.delete(name)
        server.invalidate(name)
        also = f"; its snapshot is {kept}" if kept else ""
        notes.append(Note("CollectionDeleted", f"{name} ({state.points:,} points) was deleted{also}.", "Delete"))
    return notes
