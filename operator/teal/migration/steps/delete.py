"""Deleting what a deleted resource owns, for `deletionPolicy: Delete` only.

Only collections that this resource created: an adopted one is released and stays. If a snapshot fails, nothing
more is deleted. The spec is not resolved here, because its EmbeddingSet may have been deleted before it.
"""

from __future__ import annotations

from teal.domain.marks import Migration, Owner
from teal.domain.ownership import mine
from teal.domain.plan import Identity
from teal.migration.contract import Note, Resource
from teal.qdrant.pool import Server


async def run(server: Server, resource: Resource, identity: Identity) -> list[Note]:
    """Remove all collections of the resource; returns when none is left."""
    spec = resource.manifest.spec
    adopted = spec.adopt.collection if spec.adopt else None
    observed = await server.observe(resource.manifest.alias, adopted, since=server.now())
    notes = []
    for name, state in mine(observed, identity).items():
        owner = state.marks.owner
        if owner and owner.adopted:
            await server.mark(name, clear=(Owner.KEY, Migration.KEY))
            notes.append(
                Note("CollectionReleased", f"{name} was adopted, not created by Teal, so it is kept.", "Delete")
            )
            continue
        kept = (await server.admin.snapshot(name)).name if spec.retention.snapshot and state.points else None
        await server.delete(name)
        also = f"; its snapshot is {kept}" if kept else ""
        notes.append(Note("CollectionDeleted", f"{name} ({state.points:,} points) was deleted{also}.", "Delete"))
    return notes
