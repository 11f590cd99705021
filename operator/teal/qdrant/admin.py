"""Qdrant's administrative calls over REST, one small method each, with Qdrant's own names.

Three rules. Names are those of collections: Qdrant resolves aliases in some calls (PATCH) and not in others
(DELETE), so an alias must never be passed as the name of a collection. Nothing is retried here: a failed read
raises `TransientError`, a write without an answer raises `UnknownOutcomeError`, and the caller looks again. An
alias is moved by exactly one `create_alias` action, because up to 1.19 a list of actions can be applied in part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote
from uuid import uuid4

import httpx

from teal.domain.errors import TerminalError, TransientError
from teal.domain.observed import CollectionState, Version
from teal.qdrant.collection import (
    Optimizations,
    Quiescence,
    Readiness,
    Snapshot,
    parse_collection,
    parse_optimizations,
    parse_update_queues,
    readiness,
)
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.errors import from_httpx, from_response, not_qdrant
from teal.qdrant.peers import Peers, Silent, identify
from teal.qdrant.together import all_of, both

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
LONG_SECONDS = 900.0
CONNECTIONS = 16

MISSING = (404,)
CONFLICT = (409,)
NOT_TOLD = (403, 404, 501)
DECIDED = {
    "create", "patch", "mark", "delete", "create_index", "delete_index", "point_alias", "delete_alias",
}  # fmt: skip


class Admin:
    """The administrative side of one Qdrant.

    `requests` counts the calls, by method name, and `decisions` those that the cluster's consensus decides;
    `counted_by` is a random name of that count. Every method raises `TransientError` for what may pass by itself
    (`QdrantUnreachable`, `QdrantTLSFailed`, `QdrantBusy`, `QdrantFailed`, `CollectionGone`; a write without an
    answer raises its subclass `UnknownOutcomeError`) and `TerminalError` for what does not (`QdrantUnauthorized`,
    `QdrantRefused`, `NotQdrant`).
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        requests: Counter[str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.requests: Counter[str] = Counter() if requests is None else requests
        self.silent = Silent()
        self.decisions = 0
        self.counted_by = uuid4().hex[:12]
        self._verify = endpoint.ssl_context() if endpoint.tls else True
        self._http = httpx.AsyncClient(
            headers={"api-key": endpoint.api_key} if endpoint.api_key else {},
            verify=self._verify,
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS, pool=None),
            limits=httpx.Limits(max_connections=CONNECTIONS),
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    # The server

    async def version(self) -> Version:
        """The version of the server.

        Raises:
            TerminalError: reason `NotQdrant`, if something else answers at this URL.
        """
        response = await self._send("version", "GET", self.endpoint.root, "/")
        if response.status_code in (401, 403, 429) or response.status_code >= 500:
            raise from_response(response, self.endpoint.root, "version", write=False)
        try:
            return Version.parse(response.json()["version"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise not_qdrant(self.endpoint.url) from None

    async def time(self) -> float | None:
        """The clock of the server, in seconds since the epoch and to the second; `None` if the answer has no
        time.
        """
        response = await self._send("time", "GET", self.endpoint.root, "/")
        try:
            return parsedate_to_datetime(response.headers["date"]).timestamp()
        except (KeyError, ValueError):
            return None

    async def names(self) -> frozenset[str]:
        """All collections, by their own names, not by aliases."""
        result = await self._get("names", "/collections")
        return frozenset(entry["name"] for entry in result["collections"])

    async def aliases(self) -> dict[str, str]:
        """All aliases: alias → collection name, as the peer that answered knows them."""
        return await self._aliases_of(self.endpoint.root)

    async def cluster(self, root: str | None = None) -> Mapping[str, Any]:
        """What the peer at `root` says of itself and of its cluster: see `peers.identify`."""
        told: Mapping[str, Any] = await self._get("peers", "/cluster", root=root)
        return told

    async def peers(self) -> Peers:
        """The peers of the cluster, as they say who they are."""
        return await identify(self)

    async def aliases_by_peer(self, peers: Peers | None = None) -> dict[str, dict[str, str]]:
        """`aliases` as each peer knows them, by its REST root; where one address stands for several peers, as the
        one that answers knows them.

        Raises:
            TransientError: a peer does not answer.
        """
        known = peers or await self.peers()
        known.require_reachable()
        roots = [peer.root for peer in known.found]
        answers = await all_of(self._aliases_of(root) for root in roots)
        return dict(zip(roots, answers, strict=True))

    async def aliases_by_answering_peer(self, peers: Peers | None = None) -> dict[str, dict[str, str]]:
        """`aliases` as our own URL and each peer know them; peers that do not answer are left out."""
        known = peers or await self.peers()
        roots = sorted({self.endpoint.root, *(peer.root for peer in known.found)})
        answers = await all_of(self._aliases_if_told(root) for root in roots)
        return {root: aliases for root, aliases in zip(roots, answers, strict=True) if aliases is not None}

    async def _aliases_if_told(self, root: str) -> dict[str, str] | None:
        try:
            return await self._aliases_of(root)
        except TransientError:
            if root == self.endpoint.root:
                raise
            return None

    async def _aliases_of(self, root: str) -> dict[str, str]:
        result = await self._get("aliases", "/aliases", root=root)
        return {entry["alias_name"]: entry["collection_name"] for entry in result["aliases"]}

    # One collection

    async def collection(self, name: str, root: str | None = None) -> CollectionState | None:
        """The state of the collection, as the peer at `root` knows it; `None` if there is none of this name."""
        result = await self._get("collection", _path(name), root=root, none_for=MISSING)
        return None if result is None else parse_collection(name, result)

    async def create(self, name: str, body: Mapping[str, Any]) -> bool:
        """Create a collection; False if one of this name exists already, which is not changed then."""
        return await self._write("create", "PUT", _path(name), json=body, none_for=CONFLICT) is not None

    async def patch(self, name: str, body: Mapping[str, Any]) -> None:
        """Change parameters in place. Qdrant ignores what it does not know, so read the result back."""
        await self._write("patch", "PATCH", _path(name), json=body)

    def patch_at_once(self, name: str, body: Mapping[str, Any]) -> None:
        """As `patch`, without an event loop and on a connection of its own, for when the loop is blocked.

        Raises:
            httpx.HTTPError: it may not have been applied.
        """
        with httpx.Client(headers=self._http.headers, verify=self._verify, timeout=READ_SECONDS) as http:
            http.patch(self.endpoint.root + _path(name), json=dict(body)).raise_for_status()

    async def mark(self, name: str, marks: Mapping[str, Any]) -> None:
        """Set keys of the collection's metadata; a key with the value `None` is removed, other keys stay."""
        await self._write("mark", "PATCH", _path(name), json={"metadata": dict(marks)})

    async def delete(self, name: str) -> bool:
        """Delete a collection and every alias that points at it; False if there was none."""
        return bool(await self._write("delete", "DELETE", _path(name), seconds=LONG_SECONDS))

    async def create_index(self, name: str, field: str, schema: Mapping[str, Any] | str) -> None:
        """Create the payload index of `field`, or replace it if its schema differs; returns when it is built."""
        body = {"field_name": field, "field_schema": schema if isinstance(schema, str) else dict(schema)}
        path = _path(name, "index")
        await self._write("create_index", "PUT", path, json=body, wait="true", seconds=LONG_SECONDS)

    async def delete_index(self, name: str, field: str) -> None:
        """Delete the payload index of `field`; it is no error if there is none."""
        await self._write("delete_index", "DELETE", _path(name, "index", field), wait="true")

    async def count(self, name: str, *, exact: bool = True, filter: Mapping[str, Any] | None = None) -> int:  # noqa: A002 - Qdrant's name
        """How many points match `filter` (in the form of REST); an inexact count is the estimate of the
        optimizer.
        """
        body = {"exact": exact, **({"filter": filter} if filter else {})}
        path = _path(name, "points", "count")
        result = await self._call("count", "POST", path, json=body, seconds=LONG_SECONDS)
        return int(result["count"])

    async def facet(
        self,
        name: str,
        field: str,
        *,
        limit: int,
        filter: Mapping[str, Any] | None = None,  # noqa: A002
    ) -> dict[Any, int]:
        """The exact number of points for each value of `field`, for the `limit` most frequent values.

        Raises:
            TerminalError: reason `QdrantRefused`, if the field has no index that can count its values.
        """
        body = {"key": field, "limit": limit, "exact": True, **({"filter": filter} if filter else {})}
        result = await self._call("facet", "POST", _path(name, "facet"), json=body, seconds=LONG_SECONDS)
        return {hit["value"]: int(hit["count"]) for hit in result["hits"]}

    # Aliases

    async def point_alias(self, alias: str, name: str, root: str | None = None) -> None:
        """Make `alias` point at `name`, wherever it pointed before, in one atomic action.

        `root`: the peer that is asked. Those of its requests that it has answered are decided in their order.

        Raises:
            TerminalError: reason `AliasIsCollection`, if a collection has the name of the alias.
        """
        action = {"create_alias": {"collection_name": name, "alias_name": alias}}
        body = {"actions": [action]}
        path = "/collections/aliases"
        done = await self._write("point_alias", "POST", path, json=body, root=root, none_for=CONFLICT)
        if done is None:
            raise TerminalError(
                "AliasIsCollection",
                f"A collection is named {alias!r}, so Qdrant cannot have an alias of that name. Choose another "
                "spec.alias, or rename the application's collection.",
            )

    async def delete_alias(self, alias: str) -> None:
        """Remove an alias; it is no error if there is none."""
        actions = [{"delete_alias": {"alias_name": alias}}]
        await self._write("delete_alias", "POST", "/collections/aliases", json={"actions": actions})

    # Rest and readiness

    async def optimizations(self, name: str) -> Optimizations | None:
        """The work of the optimizers; `None` if the server does not tell."""
        result = await self._get("optimizations", _path(name, "optimizations"), none_for=NOT_TOLD)
        return None if result is None else parse_optimizations(result)

    async def ready(self, name: str) -> Readiness:
        """Whether the collection has finished processing its writes; rely on several polls in a row."""
        state, optimizations = await both(self.collection(name), self.optimizations(name))
        if state is None:
            return Readiness(ready=False, failed=f"the collection {name!r} is gone")
        return readiness(state, optimizations)

    async def quiescence(self, name: str) -> Quiescence | None:
        """The last operation number of all shards on all peers; `None` if a peer does not tell it, or if one
        address stands for several peers.

        Raises:
            TransientError: a peer does not answer.
        """
        peers = await self.peers()
        peers.require_reachable()
        if not peers.whole:
            return None
        found = await all_of(self._update_queues(name, peer.root) for peer in peers.found)
        told = [queues for queues in found if queues is not None]
        op_nums = {shard: number for queues in told for shard, number in queues.op_nums.items()}
        if len(told) < len(found) or not op_nums:
            return None
        return Quiescence(op_nums, sum(queues.queued for queues in told))

    async def _update_queues(self, name: str, peer: str) -> Quiescence | None:
        result = await self._get("telemetry", "/telemetry", root=peer, details_level="3", none_for=NOT_TOLD)
        return None if result is None else parse_update_queues(name, peer, result)

    async def telemetry(self, root: str) -> Mapping[str, Any] | None:
        """What the peer at `root` tells of its own shards; `None` if it does not."""
        told: Mapping[str, Any] | None = await self._get(
            "telemetry", "/telemetry", root=root, details_level="3", none_for=NOT_TOLD
        )
        return told

    async def placement(self, name: str, root: str | None = None) -> Mapping[str, Any] | None:
        """Where the replicas of a collection are, as the peer at `root` knows it; `None` if it does not tell."""
        told: Mapping[str, Any] | None = await self._get(
            "placement", _path(name, "cluster"), root=root, none_for=(403, 501)
        )
        return told

    async def barrier(self, name: str, root: str) -> bool:
        """A write that changes nothing, reaches every shard and is answered when it is applied: see `barrier.py`.

        A deletion by filter is sent to every shard; by id it would reach one. Whether all shards have applied it.
        """
        body = {"filter": {"must": [{"has_id": [str(uuid4())]}]}}
        path = _path(name, "points", "delete")
        result = await self._write("barrier", "POST", path, json=body, root=root, wait="true")
        return bool(result["status"] == "completed")

    # Snapshots

    async def snapshot(self, name: str, root: str | None = None) -> Snapshot:
        """Take a snapshot of the shards on the peer at `root`; returns when it is complete."""
        path = _path(name, "snapshots")
        result = await self._write("snapshot", "POST", path, root=root, wait="true", seconds=LONG_SECONDS)
        return _snapshot(result)

    async def snapshots(self, name: str, root: str | None = None) -> list[Snapshot]:
        """The snapshots of a collection on the peer at `root`; empty if there is no such collection."""
        result = await self._get("snapshots", _path(name, "snapshots"), root=root, none_for=MISSING)
        return [_snapshot(entry) for entry in result or ()]

    async def delete_snapshot(self, name: str, snapshot: str, root: str | None = None) -> None:
        """Delete one snapshot on the peer at `root`, and wait until it is gone."""
        path = _path(name, "snapshots", snapshot)
        await self._write("delete_snapshot", "DELETE", path, root=root, wait="true")

    # Transport

    async def _get(
        self, kind: str, path: str, *, root: str | None = None, none_for: Collection[int] = (), **params: str
    ) -> Any:
        return await self._call(kind, "GET", path, root=root, params=params, none_for=none_for)

    async def _write(
        self,
        kind: str,
        method: str,
        path: str,
        *,
        root: str | None = None,
        json: Any = None,
        seconds: float = READ_SECONDS,
        none_for: Collection[int] = (),
        **params: str,
    ) -> Any:
        self.decisions += kind in DECIDED
        return await self._call(
            kind, method, path, root=root, json=json, params=params, seconds=seconds, none_for=none_for, write=True
        )

    async def _call(
        self,
        kind: str,
        method: str,
        path: str,
        *,
        root: str | None = None,
        json: Any = None,
        params: Mapping[str, str] | None = None,
        seconds: float = READ_SECONDS,
        none_for: Collection[int] = (),
        write: bool = False,
    ) -> Any:
        """The `result` of the answer; `None` for a status in `none_for`: the caller knows what it means."""
        root = root or self.endpoint.root
        response = await self._send(
            kind, method, root, path, json=json, params=params, seconds=seconds, write=write
        )
        if response.status_code in none_for:
            return None
        if not response.is_success:
            raise from_response(response, root, kind, write=write)
        try:
            return response.json()["result"]
        except (ValueError, KeyError, TypeError):
            raise not_qdrant(root) from None

    async def _send(
        self,
        kind: str,
        method: str,
        root: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, str] | None = None,
        seconds: float = READ_SECONDS,
        write: bool = False,
    ) -> httpx.Response:
        self.requests[kind] += 1
        timeout = httpx.Timeout(seconds, connect=CONNECT_SECONDS, pool=None)
        try:
            return await self._http.request(method, root + path, json=json, params=params, timeout=timeout)
        except httpx.TransportError as error:
            raise from_httpx(error, root, kind, write=write) from error


def _path(name: str, *parts: str) -> str:
    return "/".join(["/collections", *(quote(part, safe="") for part in (name, *parts))])


def _snapshot(result: Mapping[str, Any]) -> Snapshot:
    return Snapshot(str(result["name"]), int(result["size"]), str(result.get("creation_time") or ""))
