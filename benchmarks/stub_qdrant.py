"""A counting stand-in for Qdrant's administration, without an engine: thousands of collections at no cost.

Only for measuring the controller. It stores collections, patches and aliases, shows every collection as empty
and ready, and counts the requests: `GET /_count`.
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Stub:
    """The state of one stand-in."""

    def __init__(self) -> None:
        self.collections: dict[str, dict[str, Any]] = {}
        self.aliases: dict[str, str] = {}
        self.requests = 0

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._counting])
        app.router.add_get("/", self._version)
        app.router.add_get("/_count", self._count)
        app.router.add_get("/cluster", self._cluster)
        app.router.add_get("/collections", self._names)
        app.router.add_get("/aliases", self._aliases)
        app.router.add_post("/collections/aliases", self._alias)
        app.router.add_get("/collections/{name}", self._get)
        app.router.add_put("/collections/{name}", self._create)
        app.router.add_patch("/collections/{name}", self._patch)
        app.router.add_get("/collections/{name}/optimizations", self._optimizations)
        return app

    @web.middleware
    async def _counting(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith("/_"):
            self.requests += 1
        return await handler(request)

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"title": "stub", "version": "1.19.0"})

    async def _count(self, _: web.Request) -> web.Response:
        return web.json_response({"requests": self.requests, "collections": len(self.collections)})

    async def _cluster(self, _: web.Request) -> web.Response:
        return _ok({"status": "disabled"})

    async def _names(self, _: web.Request) -> web.Response:
        return _ok({"collections": [{"name": name} for name in self.collections]})

    async def _aliases(self, _: web.Request) -> web.Response:
        pairs = self.aliases.items()
        return _ok({"aliases": [{"alias_name": alias, "collection_name": name} for alias, name in pairs]})

    async def _alias(self, request: web.Request) -> web.Response:
        for action in (await request.json())["actions"]:
            wanted = action["create_alias"]
            self.aliases[wanted["alias_name"]] = wanted["collection_name"]
        return _done()

    async def _get(self, request: web.Request) -> web.Response:
        found = self.collections.get(request.match_info["name"])
        return web.json_response({"status": {"error": "Not found"}}, status=404) if found is None else _ok(found)

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.collections[request.match_info["name"]] = {
            "status": "green",
            "optimizer_status": "ok",
            "points_count": 0,
            "indexed_vectors_count": 0,
            "segments_count": 1,
            "update_queue": {"length": 0},
            "payload_schema": {},
            "config": {
                "params": {"vectors": body["vectors"], "shard_number": 1, "replication_factor": 1},
                "hnsw_config": {"m": 16, **(body.get("hnsw_config") or {})},
                "optimizer_config": {"indexing_threshold": 10000, **(body.get("optimizers_config") or {})},
                "quantization_config": None,
                "metadata": body.get("metadata") or {},
            },
        }
        return _done()

    async def _patch(self, request: web.Request) -> web.Response:
        body, config = await request.json(), self.collections[request.match_info["name"]]["config"]
        config["hnsw_config"] |= body.get("hnsw_config") or {}
        config["optimizer_config"] |= body.get("optimizers_config") or {}
        merged = config["metadata"] | (body.get("metadata") or {})
        config["metadata"] = {key: value for key, value in merged.items() if value is not None}
        return _done()

    async def _optimizations(self, _: web.Request) -> web.Response:
        return _ok({"summary": {"queued_optimizations": 0}, "running": []})


def _ok(result: Any) -> web.Response:
    return web.json_response({"result": result, "status": "ok"})


def _done() -> web.Response:
    return web.json_response({"result": True, "status": "ok"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    web.run_app(Stub().application(), host="127.0.0.1", port=parser.parse_args().port, access_log=None, print=None)


if __name__ == "__main__":
    main()
