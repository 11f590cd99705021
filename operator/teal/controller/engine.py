"""What the controller needs of the engine; `teal.migration.engine` implements it, and tests use their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from teal.api.embedding_set import EmbeddingSet
from teal.migration.contract import Outcome, Resource


class Reconciles(Protocol):
    """Never called twice at the same time for one resource."""

    async def reconcile(self, resource: Resource) -> Outcome:
        """One bounded step for a VectorCollection; see `teal.migration.contract`."""
        ...

    async def inspect_embedding_set(
        self, embedding_set: EmbeddingSet, namespace: str, used_by: Sequence[str]
    ) -> Mapping[str, Any]:
        """The status of an EmbeddingSet that the VectorCollections `used_by` refer to; the caller adds `usedBy`.

        Raises:
            TealError: the conditions of the set show it; a transient error is tried again.
        """
        ...

    async def forget(self, uid: str) -> None:
        """The VectorCollection `uid` is gone: drop all memory of it."""
        ...

    async def close(self) -> None:
        """No more calls follow: close connections."""
        ...
