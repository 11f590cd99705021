"""Deleting what a deleted resource owns, for `deletionPolicy: Delete` only.

Only collections that this resource created: an adopted one is released and stays. If a snapshot fails, or if
somebody else's alias points at a collection on any peer, nothing more is deleted. The spec is not resolved here,
because its EmbeddingSet may have been deleted before it.
"""

from __future__ import annotations

from teal.domain.observed import CollectionState
from teal.domain.ownership import Mine, mine
from teal.domain.plan import Identity
from teal.domain.schema import next_alias, version_alias
from teal.migration.contract import Note, Resource
from teal.migration.steps.release import is_adopted, release
from teal.qdrant import snapshots
from teal.qdrant.pool import Server
from teal.qdrant.removal import Removal


async def run(server: Server, resource: Resource, identity: Identity) -> list[Note]:
    """Remove all collections of the resource; returns when none is left."""
    spec = resource.manifest.spec
    adopted = spec.adopt.collection if spec.adopt else None
    observed = await server.observe(resource.manifest.alias, adopted, since=server.now())
    notes = []
    collections = mine(observed, identity)
    for name, state in collections.items():
        if is_adopted(state):
            await release(server, state)
            notes.append(
                Note("CollectionReleased", f"{name} was adopted, not created by Teal, so it is kept.", "Delete")
            )
            continue
        removal = _removal(identity.alias, state, collections)
        await removal.require_unused(server)
        wanted = spec.retention.snapshot and state.points
        taken = await snapshots.take_whole(server.admin, name) if wanted else []
        await removal.carry_out(server)
        text = f"{name} ({state.points:,} points) was deleted{snapshots.said(taken)}."
        notes.append(Note("CollectionDeleted", text, "Delete"))
    return notes


def _removal(alias: str, state: CollectionState, collections: Mine) -> Removal:
    """All aliases of the resource go with its collections; somebody else's keeps the one that it points at."""
    return Removal(
        state.name,
        own=(alias, next_alias(alias), version_alias(alias, state.schema.schema_version)),
        ours=collections,
        reason="StillServing",
        because=f"The resource is deleted with deletionPolicy Delete, but {state.name} is kept.",
    )
