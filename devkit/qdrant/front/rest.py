"""The REST interface: paths to calls, answers into envelopes. Bodies of points pass through undecoded."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from pydantic_core import from_json, to_json

from devkit.qdrant.calls import POINT_WRITES
from devkit.qdrant.config import json_object, parse
from devkit.qdrant.errors import QdrantError, internal, malformed, unserved, wrong_input
from devkit.qdrant.settings import TITLE

from . import snapshots, telemetry
from .faults import DroppedError, Fault, Faults, Order
from .guard import Guard, is_open
from .metrics import Metrics
from .service import Service

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Json = dict[str, Any]

BODY_LIMIT = 32 << 20  # bytes, as a real server's default
_START = "started"
log = logging.getLogger(__name__)

_POINTS = (
    ("PUT", "points", "upsert"),
    ("POST", "points", "retrieve"),
    ("POST", "points/scroll", "scroll"),
    ("POST", "points/count", "count"),
    ("POST", "points/query", "query"),
    ("POST", "points/query/batch", "query_batch"),
    ("POST", "points/delete", "delete"),
    ("POST", "points/payload", "set_payload"),
    ("PUT", "points/payload", "overwrite_payload"),
    ("POST", "points/payload/delete", "delete_payload"),
    ("POST", "points/payload/clear", "clear_payload"),
    ("PUT", "points/vectors", "update_vectors"),
    ("POST", "points/vectors/delete", "delete_vectors"),
    ("POST", "facet", "facet"),
)
_READING_POSTS = ("/points", "/points/scroll", "/points/count", "/points/query", "/points/query/batch", "/facet")


class Rest:
    """The routes of one server, on any number of addresses."""

    def __init__(self, service: Service, guard: Guard, faults: Faults, metrics: Metrics) -> None:
        self.service = service
        self.guard = guard
        self.faults = faults
        self.metrics = metrics

    def application(self) -> web.Application:
        app = web.Application(client_max_size=BODY_LIMIT, middlewares=[self._outermost])
        collection = "/collections/{name}"
        app.router.add_routes(
            [
                web.get("/", self._version),
                web.get("/healthz", self._healthy),
                web.get("/livez", self._healthy),
                web.get("/readyz", self._healthy),
                web.get("/metrics", self._metrics),
                web.get("/telemetry", self._telemetry),
                web.get("/cluster", self._cluster),
                web.get("/aliases", self._aliases),
                web.get("/collections", self._list),
                web.post("/collections/aliases", self._change_aliases),
                web.get(collection, self._info),
                web.put(collection, self._create),
                web.patch(collection, self._patch),
                web.delete(collection, self._delete),
                web.get(f"{collection}/exists", self._exists),
                web.get(f"{collection}/aliases", self._collection_aliases),
                web.get(f"{collection}/optimizations", self._optimizations),
                web.get(f"{collection}/cluster", self._collection_cluster),
                web.put(f"{collection}/index", self._call("create_index")),
                web.delete(f"{collection}/index/{{field}}", self._call("delete_index")),
                web.put(f"{collection}/vectors/{{vector}}", self._create_vector),
                web.delete(f"{collection}/vectors/{{vector}}", self._delete_vector),
                web.get(f"{collection}/points/{{id}}", self._call("point")),
                web.post(f"{collection}/points/batch", self._batch),
                web.get(f"{collection}/snapshots", self._snapshots),
                web.post(f"{collection}/snapshots", self._create_snapshot),
                web.put(f"{collection}/snapshots/recover", self._recover_snapshot),
                web.get(f"{collection}/snapshots/{{snapshot}}", self._download_snapshot),
                web.delete(f"{collection}/snapshots/{{snapshot}}", self._delete_snapshot),
            ]
        )
        for method, path, call in _POINTS:
            app.router.add_route(method, f"{collection}/{path}", self._call(call))
        if self.service.settings.faults:
            app.router.add_routes(
                [
                    web.get("/_faults", self._list_faults),
                    web.post("/_faults", self._add_fault),
                    web.delete("/_faults", self._clear_faults),
                ]
            )
        app.router.add_route("*", "/{path:.*}", self._unserved)
        return app

    # ---- around every request -------------------------------------------------------------------------------

    @web.middleware
    async def _outermost(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        request[_START] = time.perf_counter()
        response = await self._answered(request, handler)
        self.metrics.rest(request, response.status)
        return response

    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            self._check_key(request)
            if request.path == "/_faults":
                return await handler(request)
            return await self.faults.around(f"{request.method} {request.path}", lambda: handler(request))
        except QdrantError as error:
            return _refused(request, error)
        except DroppedError:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        except web.HTTPException:
            raise
        except Exception as error:
            log.exception("%s %s failed", request.method, request.path)
            return _refused(request, internal(str(error)))

    def _check_key(self, request: web.Request) -> None:
        if is_open(request.path):
            return
        reads = request.method in {"GET", "HEAD"}
        reads = reads or (request.method == "POST" and request.path.endswith(_READING_POSTS))
        headers = request.headers
        self.guard.check(headers.get("api-key"), headers.get("Authorization"), reads=reads)

    # ---- points ---------------------------------------------------------------------------------------------

    def _call(self, call: str) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            body = await request.read()
            args = {**request.query, **request.match_info}
            name = args.pop("name")
            reply = await self.service.call(name, call, body, wire="rest", args=args)
            return _enveloped(request, reply.body)

        return handle

    async def _batch(self, request: web.Request) -> web.StreamResponse:
        """Several writes, one after the other; one that is refused leaves those before it done."""
        body = await request.read()
        results = []
        for operation in _operations(body):
            ((call, given),) = operation.items()
            reply = await self.service.call(
                request.match_info["name"], call, to_json(given), wire="rest", args=dict(request.query)
            )
            results.append(reply.body)
        return _enveloped(request, b"[%b]" % b",".join(results))

    async def _create_vector(self, request: web.Request) -> web.StreamResponse:
        name, vector = request.match_info["name"], request.match_info["vector"]
        reply = await self.service.create_vector(name, vector, await request.read(), dict(request.query))
        return _enveloped(request, reply.body)

    async def _delete_vector(self, request: web.Request) -> web.StreamResponse:
        name, vector = request.match_info["name"], request.match_info["vector"]
        reply = await self.service.delete_vector(name, vector, dict(request.query))
        return _enveloped(request, reply.body)

    # ---- collections and aliases ----------------------------------------------------------------------------

    async def _list(self, request: web.Request) -> web.StreamResponse:
        return _result(request, {"collections": [{"name": name} for name in self.service.collections]})

    async def _info(self, request: web.Request) -> web.StreamResponse:
        return _result(request, await self.service.info(request.match_info["name"]))

    async def _create(self, request: web.Request) -> web.StreamResponse:
        await self.service.create(request.match_info["name"], await request.read())
        return _result(request, result=True)

    async def _patch(self, request: web.Request) -> web.StreamResponse:
        await self.service.patch(request.match_info["name"], await request.read())
        return _result(request, result=True)

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        return _result(request, await self.service.delete(request.match_info["name"]))

    async def _exists(self, request: web.Request) -> web.StreamResponse:
        return _result(request, {"exists": self.service.exists(request.match_info["name"])})

    async def _aliases(self, request: web.Request) -> web.StreamResponse:
        shown = self.service.aliases.all(self._lag(request))
        return _result(request, {"aliases": _alias_list(shown)})

    def _lag(self, request: web.Request) -> float:
        """By how much this address lags: the peers after the first answer on other loopback addresses."""
        peer_lag = max(self.service.settings.peer_lag, self.faults.peers_behind) if self._peer(request) else 0.0
        return max(self.faults.alias_lag, peer_lag)

    def _peer(self, request: web.Request) -> int:
        """Which peer is asked, by the address that it answers on: 127.0.0.1 is the first, 0."""
        address = request.transport.get_extra_info("sockname")[0] if request.transport else ""
        number = int(address.rpartition(".")[2] or 1) - 1 if address.startswith("127.0.0.") else 0
        return min(number, self.service.settings.peers - 1)

    async def _collection_aliases(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in self.service.collections:
            return _result(request, {"aliases": []})
        own = {alias: target for alias, target in self.service.aliases.all().items() if target == name}
        return _result(request, {"aliases": _alias_list(own)})

    async def _change_aliases(self, request: web.Request) -> web.StreamResponse:
        given = json_object(await request.read())
        await self.service.change_aliases(given.get("actions", []))
        return _result(request, result=True)

    # ---- the state of things --------------------------------------------------------------------------------

    async def _version(self, _request: web.Request) -> web.StreamResponse:
        version = self.service.settings.report_version
        return web.json_response({"title": TITLE, "version": version, "commit": "embedded"})

    async def _healthy(self, request: web.Request) -> web.StreamResponse:
        text = "healthz check passed" if request.path == "/healthz" else "all shards are ready"
        return web.Response(text=text)

    async def _telemetry(self, request: web.Request) -> web.StreamResponse:
        level = int(request.query.get("details_level", "0"))
        return _result(request, await telemetry.report(self.service, level, self._peer(request)))

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        per_collection = request.query.get("per_collection") == "true"
        text = await self.metrics.text(self.service, per_collection=per_collection)
        return web.Response(body=text, content_type="text/plain")

    async def _cluster(self, request: web.Request) -> web.StreamResponse:
        return _result(request, telemetry.cluster(self.service.settings, self._peer(request)))

    async def _collection_cluster(self, request: web.Request) -> web.StreamResponse:
        collection = self.service.resolve(request.match_info["name"])
        return _result(request, await telemetry.collection_cluster(collection, self._peer(request)))

    async def _optimizations(self, request: web.Request) -> web.StreamResponse:
        collection = self.service.resolve(request.match_info["name"])
        return _result(request, await telemetry.optimizations(collection))

    # ---- snapshots ------------------------------------------------------------------------------------------

    async def _snapshots(self, request: web.Request) -> web.StreamResponse:
        return _result(request, snapshots.listing(self.service, request.match_info["name"]))

    async def _create_snapshot(self, request: web.Request) -> web.StreamResponse:
        return _result(request, await snapshots.create(self.service, request.match_info["name"]))

    async def _recover_snapshot(self, request: web.Request) -> web.StreamResponse:
        given = parse(snapshots.Recovery, await request.read())
        await snapshots.recover(self.service, request.match_info["name"], given)
        return _result(request, result=True)

    async def _download_snapshot(self, request: web.Request) -> web.StreamResponse:
        match = request.match_info
        return web.FileResponse(snapshots.path(self.service, match["name"], match["snapshot"]))

    async def _delete_snapshot(self, request: web.Request) -> web.StreamResponse:
        match = request.match_info
        snapshots.path(self.service, match["name"], match["snapshot"]).unlink()
        return _result(request, result=True)

    # ---- faults ---------------------------------------------------------------------------------------------

    async def _list_faults(self, request: web.Request) -> web.StreamResponse:
        pending = [fault.model_dump() for fault in self.faults.pending]
        shown = {
            "pending": pending,
            "alias_lag": self.faults.alias_lag,
            "disk_full": self.service.disk_full,
            "slow": self.service.slow,
        }
        return _result(request, shown)

    async def _add_fault(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        given = json_object(body)
        try:
            if "match" in given:
                self.faults.pending.append(Fault.model_validate(given))
            else:
                order = Order.model_validate(given)
                if order.disk_full is not None:
                    self.service.disk_full = order.disk_full
                if order.alias_lag is not None:
                    self.faults.alias_lag = order.alias_lag
                if order.peers_cut_off is not None:
                    self.faults.cut_peers_off(off=order.peers_cut_off)
                if order.slow is not None:
                    self.service.slow = order.slow
        except ValueError as error:
            raise wrong_input(f"no such fault: {error}") from None
        return _result(request, result=True)

    async def _clear_faults(self, request: web.Request) -> web.StreamResponse:
        self.faults.clear()
        self.service.disk_full = False
        self.service.slow = {}
        return _result(request, result=True)

    async def _unserved(self, request: web.Request) -> web.StreamResponse:
        raise unserved(f"{request.method} {request.path}")


def _operations(body: bytes) -> list[Json]:
    """The writes of a batch, each an object of one of the calls and its body."""
    try:
        operations: list[Json] = from_json(body)["operations"]
        known = all(len(each) == 1 and each.keys() <= POINT_WRITES for each in operations)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise malformed(str(error), body) from None
    if not known:
        raise malformed("data did not match any variant of untagged enum UpdateOperation", body)
    return operations


def _alias_list(aliases: dict[str, str]) -> list[Json]:
    return [{"alias_name": alias, "collection_name": target} for alias, target in aliases.items()]


def _result(request: web.Request, result: Any) -> web.Response:
    return _enveloped(request, to_json(result))


def _enveloped(request: web.Request, result: bytes) -> web.Response:
    seconds = time.perf_counter() - request[_START]
    body = b'{"result":%b,"status":"ok","time":%b}' % (result, to_json(seconds))
    return web.Response(body=body, content_type="application/json")


def _refused(request: web.Request, error: QdrantError) -> web.Response:
    if error.status == 401:
        return web.Response(status=401, text=error.message)
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    seconds = time.perf_counter() - request[_START]
    body = to_json({"status": {"error": error.message}, "time": seconds})
    return web.Response(status=error.status, body=body, content_type="application/json", headers=headers)
