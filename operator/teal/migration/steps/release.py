"""Releasing: an adopted collection is given back. It stays as it is, and is not Teal's any more.

Everything that would be believed if it were adopted again is removed, the owner mark among it. The mark of the
encoder stays: clients of the collection go on asking for it.
"""

from __future__ import annotations

from teal.domain.marks import Encoder, Key, is_mark
from teal.domain.observed import CollectionState
from teal.qdrant.pool import Server


async def release(server: Server, state: CollectionState) -> None:
    """Clear all marks but the encoder, in one request."""
    await server.mark(state.name, clear=_left_by_teal(state))


def is_adopted(state: CollectionState) -> bool:
    """Whether somebody else created it."""
    return state.marks.owner is not None and state.marks.owner.adopted


def _left_by_teal(state: CollectionState) -> list[Key]:
    metadata = state.config.get("metadata") or {}
    return [Key(key) for key in metadata if is_mark(key) and key != Encoder.KEY]
