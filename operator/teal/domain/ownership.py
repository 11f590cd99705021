"""Which resource owns a collection, by its marks, and whether it has ever served."""

from __future__ import annotations

from collections.abc import Mapping

from teal.domain.marks import Owner
from teal.domain.observed import CollectionState, Observed
from teal.domain.plan import Identity
from teal.domain.schema import revision_name
from teal.domain.transitions import HAS_SERVED, Stage

Mine = Mapping[str, CollectionState]
"""The collections of one resource, by name."""


def ours(state: CollectionState | None, identity: Identity) -> bool:
    """Whether `state` belongs to this resource.

    The alias must be the same, and the UID. A resource that was deleted and applied again has a new UID, but a
    cluster holds only one object of a name, so cluster, namespace and name together are as good.
    """
    owner = state.marks.owner if state else None
    if owner is None or not _of_alias(owner, identity.alias):
        return False
    return owner.uid == identity.uid or (owner.cluster, owner.namespace, owner.name) == (
        identity.cluster,
        identity.namespace,
        identity.name,
    )


def _of_alias(owner: Owner, alias: str) -> bool:
    """Whether the collection was made for this alias.

    Where an older mark does not name the alias, the name of a collection that Teal created begins with it. An
    adopted collection may have any name, so there the rest of the identity is enough.
    """
    if owner.alias or owner.adopted:
        return owner.alias in ("", alias)
    return owner.collection == revision_name(alias, owner.schema_version, owner.revision)


def mine(observed: Observed, identity: Identity) -> Mine:
    """The collections of one resource, in the order of their names."""
    return {name: state for name, state in sorted(observed.states.items()) if ours(state, identity)}


def stage_of(state: CollectionState) -> Stage:
    """The stage in the mark of a collection of ours. Without that mark it is not known to have served: `HELD`."""
    return state.marks.migration.stage if state.marks.migration else Stage.HELD


def has_served(state: CollectionState) -> bool:
    """Whether the alias ever pointed at it: such a collection is retained, never just dropped."""
    return stage_of(state) in HAS_SERVED


def owned(state: CollectionState | None) -> bool:
    """Whether it belongs to any resource, of any cluster."""
    return state is not None and state.marks.owner is not None


def owner_text(state: CollectionState | None) -> str:
    """The owner, as the end of a sentence about the collection."""
    owner = state.marks.owner if state else None
    if owner is None:
        return "was not created by Teal"
    alias = f" for the alias {owner.alias!r}" if owner.alias else ""
    cluster = owner.cluster or "unknown"
    return f"belongs to the VectorCollection {owner.namespace}/{owner.name} (cluster {cluster}){alias}"
