"""One `Server` for every distinct Qdrant, shared by all resources that use it.

A thousand idle resources cost as little as one, because collections and aliases are listed once per interval for
all of them. The state of a collection is read once, and again only after a change, at the drift interval, or
when a caller needs a newer one. Finding the collections of one resource is a search in a sorted list.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from teal.domain.marks import Key, Mark
from teal.domain.observed import CollectionState, Observed, Version
from teal.qdrant import affinity, aliases
from teal.qdrant.admin import Admin
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.errors import require_supported
from teal.qdrant.feed import Feed
from teal.qdrant.peers import Peers
from teal.qdrant.points import Points
from teal.qdrant.shared import Shared
from teal.qdrant.together import all_of, both

LISTING_SECONDS = 30.0
DRIFT_SECONDS = 600.0
IDLE_SECONDS = 900.0
TOUCHED = "teal.dev/touched"
"""A key that no mark has: to remove it changes nothing."""


@dataclass(frozen=True)
class _Listing:
    """All collections and aliases of a server at one time, sorted for a search by prefix."""

    names: frozenset[str]
    aliases: Mapping[str, str]

    @cached_property
    def _sorted_names(self) -> list[str]:
        return sorted(self.names)

    @cached_property
    def _sorted_aliases(self) -> list[str]:
        return sorted(self.aliases)

    def concerning(self, alias: str, adopt: str | None) -> set[str]:
        """The collections that can matter to the resource with this alias."""
        prefix = f"{alias}-"
        aliases = [alias, *_beginning(self._sorted_aliases, prefix)]
        targets = {self.aliases[name] for name in aliases if name in self.aliases}
        own = {name for name in (alias, adopt) if name in self.names}
        return (targets | own | set(_beginning(self._sorted_names, prefix))) & self.names


class Server:
    """One Qdrant: its administrative side, its points, and what was read there recently.

    `requests` counts all calls, by name.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        streams: int = 4,
        listing_seconds: float = LISTING_SECONDS,
        drift_seconds: float = DRIFT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        admin: Admin | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.admin = admin or Admin(endpoint)
        self.requests: Counter[str] = self.admin.requests
        self.points = Points(endpoint, streams=streams, requests=self.requests)
        self._token = affinity.new_token()
        self._listing_seconds = listing_seconds
        self._drift_seconds = drift_seconds
        self._clock = clock
        self._version = Shared(self._load_version, clock)
        self._clustered = Shared(self._load_clustered, clock)
        self._listing = Shared(self._load_listing, clock)
        self._states: dict[str, Shared[CollectionState | None]] = {}

    async def close(self) -> None:
        await self.points.close()
        await self.admin.close()

    # Reads that are compared with each other: from one replica of each shard, where the server can be told so

    def reads(self, state: CollectionState) -> Points:
        """The points of this collection, read from one replica of each shard if that can be asked for."""
        return self.points if affinity.fans_out(state) else self.points.pinned(self._token)

    async def feed(self, state: CollectionState) -> Feed:
        """The version feed of this collection."""
        version = await self._version.get(self._drift_seconds)
        return Feed(self.reads(state), state, version, streams=self.points.streams)

    async def clustered(self) -> bool:
        """Whether what is decided can be shown later by one peer than by another."""
        return await self._clustered.get(self._drift_seconds)

    def now(self) -> float:
        """The monotonic clock of `observe`, in seconds."""
        return self._clock()

    async def observe(self, alias: str, adopt: str | None = None, *, since: float | None = None) -> Observed:
        """Everything that concerns the resource with this alias.

        Without `since`, the listings are at most `listing_seconds` old and the states `drift_seconds`, and
        Teal's own changes are always included. With `since`, everything is as it was at that moment of `now()`,
        or later.

        Raises:
            TerminalError: reason `QdrantTooOld` or `NotQdrant`, or as the methods of `Admin`.
        """
        version = await self._version.get(self._drift_seconds)
        began = self._clock()
        listing = await self._listing.since(began - self._listing_seconds if since is None else since)
        wanted = sorted(listing.concerning(alias, adopt))
        known = began - self._drift_seconds if since is None else since
        found = await all_of(self._state(name).since(known) for name in wanted)
        states = {state.name: state for state in found if state is not None}
        return Observed(version, listing.names, listing.aliases, states)

    # Writes to what `observe` shows: each also invalidates the cached state, even if its outcome is unknown.

    async def create(self, name: str, body: Mapping[str, Any]) -> bool:
        """As `Admin.create`."""
        with self._changing(name, listed=True):
            return await self.admin.create(name, body)

    async def delete(self, name: str) -> bool:
        """As `Admin.delete`. Only `removal.Removal` calls it, which asks every peer before."""
        with self._changing(name, listed=True):
            return await self.admin.delete(name)

    async def patch(self, name: str, body: Mapping[str, Any]) -> None:
        """As `Admin.patch`."""
        with self._changing(name):
            await self.admin.patch(name, body)

    async def create_index(self, name: str, field: str, schema: Mapping[str, Any]) -> None:
        """As `Admin.create_index`."""
        with self._changing(name):
            await self.admin.create_index(name, field, schema)

    async def delete_index(self, name: str, field: str) -> None:
        """As `Admin.delete_index`."""
        with self._changing(name):
            await self.admin.delete_index(name, field)

    async def mark(self, name: str, *marks: Mark, clear: Iterable[Key] = ()) -> None:
        """Write these marks, and remove those with the keys `clear`, all in one request."""
        changed: dict[str, Any] = {**dict.fromkeys(clear), **{mark.key: mark.as_json() for mark in marks}}
        if changed:
            with self._changing(name):
                await self.admin.mark(name, changed)

    async def touch(self, name: str) -> None:
        """A decision of the cluster's consensus that changes nothing: when it is answered, the peer that is asked
        shows all that was decided before.
        """
        with self._changing(name, listed=True):
            await self.admin.mark(name, {TOUCHED: None})

    async def set_alias(
        self,
        alias: str,
        to: str,
        *,
        expected: str | None,
        ours: Collection[str] = (),
        peers: Peers | None = None,
    ) -> None:
        """As `aliases.set_alias`: refused unless `alias` points at `expected` (`None`: does not exist)."""
        with self._changing(to, listed=True):
            await aliases.set_alias(self.admin, alias, to, expected=expected, ours=ours, peers=peers)

    async def remove_alias(self, alias: str, *, expected: str, ours: Collection[str] = ()) -> None:
        """As `aliases.remove_alias`: refused unless `alias` points at `expected` or does not exist."""
        with self._changing(expected, listed=True):
            await aliases.remove_alias(self.admin, alias, expected=expected, ours=ours)

    async def lagging_peers(self, alias: str, target: str, peers: Peers | None = None) -> list[str]:
        """The peers that do not show `alias` at `target` yet. When all do, `observe` shows it, too."""
        by_peer = await self.admin.aliases_by_peer(peers)
        lagging = sorted(peer for peer, found in by_peer.items() if found.get(alias) != target)
        if not lagging:
            self._listing.invalidate()
        return lagging

    @contextmanager
    def _changing(self, name: str, *, listed: bool = False) -> Iterator[None]:
        """`listed`: the list of collections and aliases may change, too."""
        try:
            yield
        finally:
            if listed:
                self._listing.invalidate()
            if name in self._states:
                self._states[name].invalidate()

    def _state(self, name: str) -> Shared[CollectionState | None]:
        if name not in self._states:
            self._states[name] = Shared(lambda: self.admin.collection(name), self._clock)
        return self._states[name]

    async def _load_version(self) -> Version:
        version = await self.admin.version()
        require_supported(version, self.endpoint.url)
        return version

    async def _load_clustered(self) -> bool:
        return (await self.admin.cluster()).get("status") == "enabled"

    async def _load_listing(self) -> _Listing:
        names, aliases = await both(self.admin.names(), self.admin.aliases())
        for gone in self._states.keys() - names:
            del self._states[gone]
        return _Listing(names, aliases)


@dataclass
class _Lease:
    server: Server
    users: int = 0
    left_at: float = 0.0


class QdrantPool:
    """Servers by endpoint, created when first used and closed after `idle_seconds` without use."""

    def __init__(
        self,
        *,
        make: Callable[[Endpoint], Server] | None = None,
        idle_seconds: float = IDLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make or partial(Server, clock=clock)
        self._idle_seconds = idle_seconds
        self._clock = clock
        self._leases: dict[Endpoint, _Lease] = {}

    @asynccontextmanager
    async def use(self, endpoint: Endpoint) -> AsyncIterator[Server]:
        """The server of this endpoint, which stays open at least until the block ends."""
        lease = self._leases.get(endpoint)
        if lease is None:
            lease = self._leases[endpoint] = _Lease(self._make(endpoint))
        lease.users += 1
        try:
            yield lease.server
        finally:
            lease.users -= 1
            lease.left_at = self._clock()
            await self._close_idle()

    @property
    def servers(self) -> list[Server]:
        """The open servers, for metrics."""
        return [lease.server for lease in self._leases.values()]

    async def close(self) -> None:
        """Close all servers, even those in use."""
        leases, self._leases = self._leases, {}
        for lease in leases.values():
            await lease.server.close()

    async def _close_idle(self) -> None:
        long_ago = self._clock() - self._idle_seconds
        idle = [end for end, lease in self._leases.items() if not lease.users and lease.left_at < long_ago]
        for lease in [self._leases.pop(endpoint) for endpoint in idle]:
            await lease.server.close()


def _beginning(ordered: list[str], prefix: str) -> Iterator[str]:
    """The strings of a sorted list that begin with `prefix`."""
    for index in range(bisect_left(ordered, prefix), len(ordered)):
        if not ordered[index].startswith(prefix):
            return
        yield ordered[index]
