"""`Admin` and `Points` as they are, but that their one call to a server goes to the one in memory.

Every call goes through a `Line`, on which a test may delay it, lose it or its answer, or cut off the caller for
ever. A write returns when it is acknowledged, a decision when the asked peer knows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

import grpc
import httpx
from qdrant_client import grpc as qdrant

from teal.qdrant.admin import READ_SECONDS, Admin
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.errors import from_grpc, from_httpx
from teal.qdrant.peers import Peers
from teal.qdrant.points import Points
from teal.qdrant.pool import Server
from tests.unit.migration.fake_qdrant.answers import Down, Refused, Write
from tests.unit.migration.fake_qdrant.bulk import Bulk
from tests.unit.migration.fake_qdrant.rest import Rest
from tests.unit.migration.fake_qdrant.server import FakeQdrant

T = TypeVar("T")
Effect = Callable[[], T]
Carry = Callable[[str, bool, Effect[Any]], Awaitable[Any]]
"""A line: (name of the call, whether it writes, what it does on the server) → its answer, or an error."""

AFFINITY = "x-qdrant-route-affinity"
DECISION_SECONDS = 10.0
LOOK_SECONDS = 0.02
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
}


def peer_at(server: FakeQdrant, url: str, kind: str) -> int:
    """The peer that answers a call to this address: `peer-1` is one, any other is the service's."""
    name, _, number = (urlsplit(url).hostname or "").partition("-")
    if name == "peer" and number.isdigit():
        return server.answering(int(number))
    return server.behind_the_service(server.route(kind))


class FakeAdmin(Admin):
    """Admin's methods, with a server in memory instead of HTTP."""

    def __init__(self, endpoint: Endpoint, server: FakeQdrant, carry: Carry) -> None:
        super().__init__(endpoint, transport=httpx.MockTransport(lambda _: httpx.Response(500)))
        self._server, self._carry = server, carry

    async def _send(self, kind: str, method: str, root: str, path: str, **given: Any) -> httpx.Response:
        self.requests[kind] += 1
        write = bool(given.get("write"))
        waits: list[Any] = []

        def effect() -> httpx.Response:
            peer = peer_at(self._server, root, kind)
            headers = {**self._http.headers, **(given.get("headers") or {})}
            rest = Rest(self._server, peer, headers.get(AFFINITY))
            waits[:] = [peer, rest]
            if kind in self._server.ignored:
                return httpx.Response(200, json={"result": True, "status": "ok"})
            return _answered(rest, method, path, given.get("json") or {}, given.get("params") or {})

        try:
            response = await self._carry(kind, write, effect)
        except Down:
            raise from_httpx(httpx.ConnectError("connection refused"), root, kind, write=write) from None
        if write and response.is_success:
            peer, rest = waits
            if rest.write is None:
                return await self._until_known(kind, response, peer)
            return await self._until_acknowledged(kind, response, rest.write, given.get("seconds", READ_SECONDS))
        assert isinstance(response, httpx.Response)
        return response

    async def aliases_by_peer(self, peers: Peers | None = None) -> dict[str, dict[str, str]]:
        late: dict[str, dict[str, str]] = {"http://qdrant-1:6333": {}} if self._server.lagging else {}
        return {**await super().aliases_by_peer(peers), **late}

    async def _until_acknowledged(
        self, kind: str, response: httpx.Response, write: Write, seconds: float
    ) -> httpx.Response:
        """Points wait for their replicas."""
        if await _answers_in_time(self._server, write, seconds):
            return response
        if write.timeout < seconds:
            return httpx.Response(200, json={"result": {"operation_id": 0, "status": "wait_timeout"}})
        raise from_httpx(httpx.ReadTimeout("timed out"), self.endpoint.root, kind, write=True)

    async def _until_known(self, kind: str, response: httpx.Response, peer: int) -> httpx.Response:
        """A decision waits for the asked peer; an alias for all peers, within a time."""
        ends = asyncio.get_running_loop().time() + DECISION_SECONDS
        await _until(lambda: self._server.consensus.has_followed(peer), ends)
        if not self._server.consensus.has_followed(peer):
            return _failure(500, "Service internal error: Waiting for consensus operation commit failed. Timeout")
        if kind == "point_alias":
            every = [each for each in range(self._server.peers) if each not in self._server.down]
            await _until(lambda: all(map(self._server.consensus.has_followed, every)), ends)
        return response


def _answered(
    rest: Rest, method: str, path: str, body: Mapping[str, Any], params: Mapping[str, str]
) -> httpx.Response:
    if path == "/":
        return httpx.Response(200, json={"title": "qdrant - vector search engine", "version": "1.19.0"})
    try:
        return httpx.Response(200, json={"result": rest.answer(method, path, body, params), "status": "ok"})
    except Refused as refused:
        return _failure(refused.status, refused.detail)


def _failure(status: int, detail: str) -> httpx.Response:
    return httpx.Response(status, json={"status": {"error": detail}})


class FakePoints(Points):
    """Points' methods, with a server in memory instead of gRPC."""

    def __init__(self, endpoint: Endpoint, server: FakeQdrant, carry: Carry) -> None:
        super().__init__(endpoint)
        self._server, self._carry = server, carry

    def pinned(self, token: str) -> Self:
        """The same points, read with this affinity token."""
        view = copy(self)
        view._metadata = (*self._metadata, (AFFINITY, token))
        return view

    async def _call(
        self, kind: str, method: str, body: bytes, answer: Any, *, write: bool, seconds: float, **_: Any
    ) -> Any:
        self.requests[kind] += 1
        waits: list[Bulk] = []

        def effect() -> Any:
            token = dict(self._metadata).get(AFFINITY)
            waits[:] = [Bulk(self._server, peer_at(self._server, self.endpoint.root, kind), token)]
            return waits[0].answer(method, body)

        try:
            told = await self._carry(kind, write, effect)
        except Refused as refused:
            raise self._error(CODES[refused.status], refused.detail, kind, write=write) from None
        except Down:
            detail = "failed to connect to all addresses"
            raise self._error(grpc.StatusCode.UNAVAILABLE, detail, kind, write=write) from None
        sent = waits[0].write
        if sent is not None and not await _answers_in_time(self._server, sent, seconds):
            if sent.timeout >= seconds:
                raise self._error(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", kind, write=write)
            told.result.status = qdrant.UpdateStatus.WaitTimeout
        return answer.FromString(told.SerializeToString())

    def _error(self, code: grpc.StatusCode, detail: str, kind: str, *, write: bool) -> Exception:
        nothing = grpc.aio.Metadata()
        error = grpc.aio.AioRpcError(code, nothing, nothing, details=detail)
        return from_grpc(error, self.endpoint.grpc_target, kind, write=write)


async def _answers_in_time(server: FakeQdrant, write: Write, seconds: float) -> bool:
    """Whether a write is acknowledged before server or client give up waiting."""
    ends = asyncio.get_running_loop().time() + min(seconds, write.timeout)
    await _until(lambda: server.has_acknowledged(write), ends)
    return server.has_acknowledged(write)


async def _until(done: Callable[[], bool], ends: float) -> None:
    # Many things make it so, and the loop's time jumps from look to look.
    while not done() and asyncio.get_running_loop().time() < ends:  # noqa: ASYNC110
        await asyncio.sleep(LOOK_SECONDS)


def server_of(fake: FakeQdrant, carry: Carry, clock: Callable[[], float]) -> Callable[[Endpoint], Server]:
    """How a pool makes a `Server` that talks to `fake`."""

    def make(endpoint: Endpoint) -> Server:
        server = Server(endpoint, clock=clock, admin=FakeAdmin(endpoint, fake, carry))
        server.points = FakePoints(endpoint, fake, carry)
        return server

    return make
