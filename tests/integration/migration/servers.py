"""Tiny servers that a test scripts: the hook of a team that pauses its writers, and a Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web


@dataclass
class Call:
    """One request, as it came."""

    path: str
    body: Any
    key: str | None


@dataclass
class HookServer:
    """Answers 200, or what `answers` says next for a path: a status, or `"hang"`."""

    url: str = ""
    answers: dict[str, list[int | str]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator[Self]:
        server = cls()
        application = web.Application()
        application.router.add_post("/{name}", server._answer)
        async with serving(application) as server.url:
            yield server
            server.released.set()

    def paths(self) -> list[str]:
        return [call.path for call in self.calls]

    async def _answer(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.calls.append(Call(name, await request.json(), request.headers.get("Idempotency-Key")))
        planned = self.answers.get(name) or [200]
        answer = planned.pop(0) if self.answers.get(name) else 200
        if answer == "hang":
            await self.released.wait()
            return web.Response(status=503)
        return web.Response(status=int(answer))


@dataclass
class PrometheusServer:
    """Answers `values[query]`; a query that it does not know has no series."""

    url: str = ""
    values: dict[str, list[str]] = field(default_factory=dict)
    down: bool = False
    asked: int = 0

    @classmethod
    @asynccontextmanager
    async def start(cls) -> AsyncIterator[Self]:
        server = cls()
        application = web.Application()
        application.router.add_get("/api/v1/query", server._answer)
        async with serving(application) as server.url:
            yield server

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.down:
            return web.Response(status=502, text="<html>bad gateway</html>")
        values = self.values.get(request.query["query"], [])
        result = [{"metric": {}, "value": [0, value]} for value in values]
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})


@asynccontextmanager
async def serving(application: web.Application) -> AsyncIterator[str]:
    """The URL at which `application` answers, on loopback, until the block ends."""
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
