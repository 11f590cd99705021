"""A gate on the road from Teal to Qdrant: it can be shut at any effect, right before it or right after.

Everything that Teal asks for passes through here, REST and gRPC, its bytes untouched. When an awaited effect
comes by, the gate shuts: that effect and all that is asked afterwards wait. Right *before*, the effect has not
reached Qdrant; right *after*, Qdrant has applied it and Teal has not heard of it. What was under way already is
let through, as it would be in Qdrant itself. Whoever shut the gate may kill Teal then, and knows to the request
what Teal had done.

It needs no help of the server, so it works before any Qdrant.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import grpc
import httpx
from aiohttp import web

from tests.plugins.qdrant import Qdrant

T = TypeVar("T")
When = Literal["before", "after"]

UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
MARKS = "teal.dev/"
MIGRATION = f"{MARKS}migration"
BARRIER = "barrier"
"""A write that changes nothing."""
EFFECTS = {
    "PUT /collections/[^/]+": "create",
    "PATCH /collections/[^/]+": "patch",
    "DELETE /collections/[^/]+": "drop",
    "PUT /collections/[^/]+/index": "index",
    "DELETE /collections/[^/]+/index/[^/]+": "drop index",
    "POST /collections/[^/]+/snapshots": "snapshot",
    "POST /collections/[^/]+/points/delete": BARRIER,
    "POST /collections/aliases": "alias",
    "GRPC /qdrant.Points/Upsert": "upsert",
    "GRPC /qdrant.Points/Delete": "delete",
}
READS = (
    "GET .*|POST /collections/[^/]+/(facet|points/(count|query|scroll))"
    "|GRPC /qdrant.(Points/(Scroll|Query|QueryBatch|Get|Count|Facet)|Qdrant/HealthCheck)"
)


class ShutError(Exception):
    """This request's sender is dead: it is not passed on, and nobody waits for its answer."""


@dataclass(frozen=True)
class Effect:
    """One request that changes Qdrant. Equal names are the same step of a migration, repeated."""

    name: str
    """What it does, and in which stage: "patch v2 migration Indexing", "upsert v2 in Populating"."""
    when: When
    """On which side of it the gate is shut."""

    def __str__(self) -> str:
        return f"{self.when} {self.name}"


def named(*names: str) -> Callable[[Effect], bool]:
    """Where to shut: at the effects of these names, "before create v2" or "after create v2"."""
    return lambda effect: str(effect) in names


class Gate:
    """Stands before `qdrant` on loopback; `url` and `grpc_port` are what Teal is given. A context manager."""

    def __init__(self, qdrant: Qdrant, alias: str) -> None:
        self._qdrant = qdrant
        self._prefix = f"{alias}-"
        self._stage = "none"
        self._shuts: Callable[[Effect], bool] = lambda _: False
        self._shut_at: Effect | None = None
        self._abandoned = False
        self._under_way = 0
        self._applied: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gate", daemon=True)
        self._opened = asyncio.Event()
        self.url, self.grpc_port = "", 0

    # For the test's thread

    def shut_at(self, wanted: Callable[[Effect], bool]) -> None:
        """Shut at the next effect (or side of one) for which `wanted` is true."""
        self._run(self._set(wanted))

    def wait_shut(self, seconds: float = 60.0, alive: Callable[[], bool] = lambda: True) -> Effect | None:
        """The effect at which the gate has shut; `None` when `alive` ended first.

        Raises:
            TimeoutError: neither happened; with the stage that the migration is in.
        """
        deadline = time.monotonic() + seconds
        while True:
            lives = alive()
            found = self._run(self._at())
            if found is not None or not lives:
                return found
            if time.monotonic() > deadline:
                raise TimeoutError(f"the gate was not shut in {seconds:.0f} s; stage {self._stage}")
            time.sleep(0.01)

    def applied(self) -> list[str]:
        """The names of all effects that Qdrant has applied, in order."""
        return self._run(self._so_far())

    def go_on(self, to: Callable[[Effect], bool] = lambda _: False) -> None:
        """Open the gate: what waits goes on as if nothing had happened, until the gate shuts at `to`."""
        self._run(self._open(abandon=False, shuts=to))

    def abandon(self) -> None:
        """Open the gate for others: the sender of all that waits is dead, so none of it happens any more."""
        self._run(self._open(abandon=True))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._open(abandon=True))
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # In the gate's own loop

    async def _start(self) -> None:
        key = self._qdrant.api_key
        self._http = httpx.AsyncClient(
            base_url=self._qdrant.url, headers={"api-key": key} if key else {}, timeout=120.0
        )
        host = httpx.URL(self._qdrant.url).host
        self._channel = grpc.aio.insecure_channel(f"{host}:{self._qdrant.grpc_port}", UNLIMITED)
        application = web.Application(client_max_size=2**30)
        application.router.add_route("*", "/{path:.*}", self._rest)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        self._server = grpc.aio.server(options=UNLIMITED)
        self._server.add_generic_rpc_handlers((_AnyMethod(self._grpc),))
        self.grpc_port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()

    async def _stop(self) -> None:
        await self._server.stop(1.0)
        await self._runner.cleanup()
        await self._channel.close()
        await self._http.aclose()

    async def _set(self, wanted: Callable[[Effect], bool]) -> None:
        self._shuts = wanted

    async def _at(self) -> Effect | None:
        """Where it is shut, once nothing is under way any more."""
        return self._shut_at if not self._under_way else None

    async def _so_far(self) -> list[str]:
        return list(self._applied)

    async def _open(self, *, abandon: bool, shuts: Callable[[Effect], bool] = lambda _: False) -> None:
        self._abandoned, self._shut_at, self._shuts = abandon, None, shuts
        self._opened.set()
        self._opened = asyncio.Event()

    async def _pass(self, asked: str, body: bytes, forward: Callable[[], Awaitable[T]]) -> T:
        """Let a request ("METHOD path") through."""
        name = self._name(asked, body)
        if self._shut_at:
            await self._wait()
        if name and self._shuts(Effect(name, "before")):
            self._shut_at = Effect(name, "before")
            await self._wait()
        self._under_way += 1
        try:
            answer = await forward()
            self._stage = _stage_in(body) or self._stage
            self._applied += [name] if name else []
        finally:
            self._under_way -= 1
        if name and not self._shut_at and self._shuts(Effect(name, "after")):
            self._shut_at = Effect(name, "after")
        if self._shut_at:
            await self._wait()
        return answer

    async def _wait(self) -> None:
        await self._opened.wait()
        if self._abandoned:
            raise ShutError

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        kept = {name: request.headers[name] for name in ("Content-Type", "api-key") if name in request.headers}
        asked = f"{request.method} {request.path}"
        try:
            answer = await self._pass(
                asked,
                body,
                lambda: self._http.request(request.method, request.path_qs, content=body, headers=kept),
            )
        except (ShutError, httpx.TransportError):
            if request.transport:
                request.transport.abort()
            return web.Response(status=503)
        return web.Response(
            status=answer.status_code,
            body=answer.content,
            headers={
                name: answer.headers[name] for name in ("Content-Type", "Retry-After") if name in answer.headers
            },
        )

    async def _grpc(self, method: str, body: bytes, context: Any) -> bytes:
        call = self._channel.unary_unary(method)
        metadata = [(key, value) for key, value in context.invocation_metadata() or () if key == "api-key"]

        async def forward() -> bytes:
            answer: bytes = await call(body, metadata=metadata)
            return answer

        # A call goes on in Qdrant when its caller dies, so it does here, and its end is nobody's then.
        passing = asyncio.ensure_future(self._pass(f"GRPC {method}", body, forward))
        passing.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            return await asyncio.shield(passing)
        except ShutError:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the gate is shut")
        except grpc.aio.AioRpcError as error:
            await context.abort(error.code(), error.details() or "", tuple(error.trailing_metadata() or ()))
        raise AssertionError("abort raises")

    # Names

    def _name(self, asked: str, body: bytes) -> str | None:
        """The name of a request's effect; `None` for one that only reads."""
        if re.fullmatch(READS, asked):
            return None
        kind = next((kind for pattern, kind in EFFECTS.items() if re.fullmatch(pattern, asked)), None)
        if kind is None:
            raise LookupError(f"is this an effect? {asked}")
        if kind in ("upsert", "delete"):
            return f"{kind} {self._short(_collection_of(body))} in {self._stage}"
        if kind == "alias":
            return f"{kind} {self._action(body)}"
        _, _, collection, *rest = asked.split(" ")[1].split("/")
        details = rest[1:]
        if kind == BARRIER:
            details = []
        elif kind == "patch":
            details = _patched(json.loads(body))
        elif kind == "index":
            details = [json.loads(body)["field_name"]]
        return " ".join([kind, self._short(collection), *details])

    def _action(self, body: bytes) -> str:
        ((verb, what),) = json.loads(body)["actions"][0].items()
        target = self._short(what["collection_name"]) if "collection_name" in what else ""
        return f"{verb.partition('_')[0]} {self._short(what['alias_name'])} {target}".strip()

    def _short(self, name: str) -> str:
        """A collection's or alias's name without our prefix and hash."""
        return re.sub(r"-[0-9a-f]{8}$", "", f"{name}-".removeprefix(self._prefix).removesuffix("-")) or "alias"


class _AnyMethod(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Every unary method, as bytes."""

    def __init__(self, handle: Callable[[str, bytes, Any], Awaitable[bytes]]) -> None:
        self._handle = handle

    def service(self, handler_call_details: Any) -> Any:
        method = handler_call_details.method

        async def handle(body: bytes, context: Any) -> bytes:
            return await self._handle(method, body, context)

        return grpc.unary_unary_rpc_method_handler(handle)


def _patched(body: dict[str, Any]) -> list[str]:
    """The sections that a PATCH sets, the marks that it writes (or -removes), and what it is about.

    What goes because another stage is entered is not named: the stage says it.
    """
    metadata = body.pop("metadata", {})
    limits = body.get("strict_mode_config") or {}
    words = sorted(body)
    words += [f"to {limits['write_rate_limit']}"] if "write_rate_limit" in limits else []
    names = {key: key.removeprefix(MARKS).partition("/")[0] for key in metadata}
    stage = (metadata.get(MIGRATION) or {}).get("stage")
    told = {key: mark for key, mark in metadata.items() if mark is not None or not stage}
    words += sorted(f"{'-' if mark is None else ''}{names[key]}" for key, mark in told.items())
    return [*words, *([stage] if stage else [])]


def _stage_in(body: bytes) -> str | None:
    """The stage that a create or a PATCH marks."""
    if MIGRATION.encode() not in body or body[:1] != b"{":
        return None
    mark = (json.loads(body).get("metadata") or {}).get(MIGRATION) or {}
    stage: str | None = mark.get("stage")
    return stage


def _collection_of(body: bytes) -> str:
    """The first field of every points message: a string of fewer than 128 bytes."""
    if body[0] != 0x0A or body[1] > 0x7F:
        raise LookupError("a points message begins with its collection's name")
    return body[2 : 2 + body[1]].decode()
