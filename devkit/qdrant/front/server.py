"""The front process: opens the ports, serves until it is told to stop, and lets the workers end in order."""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
from pathlib import Path

import grpc as transport
from aiohttp import web

from devkit.qdrant.settings import Settings

from . import workers
from .faults import Faults
from .grpc import Grpc
from .guard import Guard
from .metrics import Metrics
from .rest import Rest
from .service import Service

log = logging.getLogger(__name__)


async def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    workers.prepare()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    service = Service(settings)
    guard, faults, metrics = Guard(settings), Faults(), Metrics()
    runner = web.AppRunner(Rest(service, guard, faults, metrics).application(), access_log=None)
    grpc_server = Grpc(service, guard, faults, metrics).server()
    try:
        _open_grpc(grpc_server, settings)
        await grpc_server.start()
        await runner.setup()
        for peer in range(settings.peers):
            await _open_rest(runner, f"127.0.0.{peer + 1}", settings)
        _announce(settings)
        await stopped.wait()
    finally:
        await runner.cleanup()
        await grpc_server.stop(grace=1.0)
        await service.close()


async def _open_rest(runner: web.AppRunner, host: str, settings: Settings) -> None:
    context = None
    if settings.tls_cert and settings.tls_key:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    await web.TCPSite(runner, host, settings.rest_port, ssl_context=context, shutdown_timeout=1.0).start()


def _open_grpc(server: transport.aio.Server, settings: Settings) -> None:
    address = f"127.0.0.1:{settings.grpc_port}"
    if settings.tls_cert and settings.tls_key:
        pair = (Path(settings.tls_key).read_bytes(), Path(settings.tls_cert).read_bytes())
        server.add_secure_port(address, transport.ssl_server_credentials([pair]))
    else:
        server.add_insecure_port(address)


def _announce(settings: Settings) -> None:
    scheme = "https" if settings.tls_cert else "http"
    print(f"REST  {scheme}://127.0.0.1:{settings.rest_port}", flush=True)
    print(f"gRPC  127.0.0.1:{settings.grpc_port}", flush=True)
    print(f"data  {settings.data}", flush=True)
