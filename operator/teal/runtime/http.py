"""/livez, /readyz and /metrics, for the kubelet and Prometheus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from teal.controller.metrics import Metrics
from teal.runtime.health import Health
from teal.runtime.settings import Address

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serve(address: Address, health: Health, metrics: Metrics) -> AsyncIterator[Address]:
    """Serve inside the block; yields the address, with the free port that replaced port 0.

    Raises:
        OSError: the address cannot be bound.
    """
    app = web.Application()
    app.router.add_get("/livez", _probe(health.illness))
    app.router.add_get("/readyz", _probe(health.unready))
    app.router.add_get("/metrics", _metrics(metrics))
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address.host, address.port)
        await site.start()
        port: int = runner.addresses[0][1]
        yield Address(address.host, port)
    finally:
        await runner.cleanup()


def _probe(trouble: Callable[[], str | None]) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        found = trouble()
        return web.Response(text=f"{found or 'ok'}\n", status=503 if found else 200)

    return answer


def _metrics(metrics: Metrics) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return answer
