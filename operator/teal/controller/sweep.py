"""Finds changes that the watches missed: from time to time a list of metadata is compared with the cache.

An expired watch starts again from a list, and does not report the objects that were deleted in between. A watch
can also stop delivering without an error. So the sweep fetches objects that the list has in another version, and
removes objects that it does not have.

Invariant: an object that changed in the cache since before the list is left out, because there a watch is ahead
of the list. Watches that are only late get some time before an object is fetched.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from teal.controller.cache import Cache, Concerned, Entry
from teal.controller.kube import GoneError, Kube, ObjectMeta
from teal.controller.metrics import Metrics
from teal.controller.objects import Kind, Ref

logger = logging.getLogger(__name__)

POLL = 0.1


@dataclass(frozen=True)
class _Snapshot:
    """A list, and the content of the cache before the list was requested."""

    listed: Mapping[Ref, ObjectMeta]
    before: Mapping[Ref, Entry]


class Sweeper:
    """Compares the cache with the API server. `notify` gets the resources that a difference concerns."""

    def __init__(
        self,
        kube: Kube,
        cache: Cache,
        namespaces: Sequence[str],
        notify: Callable[[Concerned], None],
        metrics: Metrics,
    ) -> None:
        """Empty `namespaces` mean all."""
        self._kube = kube
        self._cache = cache
        self._scopes: Sequence[str | None] = namespaces or [None]
        self._notify = notify
        self._metrics = metrics

    async def sweep(self, patience: float) -> int:
        """Bring the cache up to date, and return how many changes and deletions the watches had missed.

        Differences that the watches resolve within `patience` seconds do not count.

        Raises:
            ApiServerError: the API server gave no answer; what was found until then has been notified.
        """
        snapshot = await self._list()
        await self._wait_for_watches(snapshot, patience)
        missing = self._missing(snapshot)
        ghosts = self._ghosts(snapshot)
        for entry in ghosts:
            self._metrics.missed.labels(entry.ref.kind.value, "deletion").inc()
            self._notify(self._cache.remove(entry.ref, entry.uid))
        for ref in missing:
            await self._fetch(ref)
        if ghosts or missing:
            logger.info(
                "A list showed %d changes and %d deletions that the watches had missed", len(missing), len(ghosts)
            )
        return len(ghosts) + len(missing)

    async def _list(self) -> _Snapshot:
        before = self._cache.entries()
        listed: dict[Ref, ObjectMeta] = {}
        for kind in Kind:
            for scope in self._scopes:
                async for each in self._kube.list_metadata(kind, scope):
                    listed[each.ref] = each
        return _Snapshot(listed, before)

    async def _wait_for_watches(self, snapshot: _Snapshot, patience: float) -> None:
        deadline = asyncio.get_running_loop().time() + patience
        while self._missing(snapshot) or self._ghosts(snapshot):
            if asyncio.get_running_loop().time() >= deadline:
                return
            await asyncio.sleep(POLL)

    def _missing(self, snapshot: _Snapshot) -> list[Ref]:
        return [ref for ref, meta in snapshot.listed.items() if self._differs(ref, meta, snapshot)]

    def _differs(self, ref: Ref, meta: ObjectMeta, snapshot: _Snapshot) -> bool:
        before, entry = snapshot.before.get(ref), self._cache.entry(ref)
        if entry is None:
            return before is None
        return entry is before and (entry.uid, entry.resource_version) != (meta.uid, meta.resource_version)

    def _ghosts(self, snapshot: _Snapshot) -> list[Entry]:
        return [
            entry
            for ref, entry in snapshot.before.items()
            if ref not in snapshot.listed and self._cache.entry(ref) is entry
        ]

    async def _fetch(self, ref: Ref) -> None:
        try:
            obj = await self._kube.get(ref)
        except GoneError:
            return
        self._metrics.missed.labels(ref.kind.value, "edit").inc()
        self._notify(self._cache.put(ref.kind, obj, authoritative=True))
