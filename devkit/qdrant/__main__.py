"""`python -m devkit.qdrant`: start the embedded Qdrant, print where it is, serve until Ctrl-C."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Annotated

import typer

from devkit.paths import free_port, home

from .front.server import run
from .settings import REPORTED_VERSION, Settings


def main(
    data: Annotated[Path | None, typer.Option(help="Folder of all data; made if absent.")] = None,
    rest_port: Annotated[int, typer.Option(help="Port of the REST interface; 0: a free one.")] = 0,
    grpc_port: Annotated[int, typer.Option(help="Port of the gRPC interface; 0: a free one.")] = 0,
    api_key: Annotated[str | None, typer.Option(help="Key for everything.")] = None,
    read_only_api_key: Annotated[str | None, typer.Option(help="Key for reading.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Private key (PEM).")] = None,
    report_version: Annotated[str, typer.Option(help="Version to pass oneself off as.")] = REPORTED_VERSION,
    faults: Annotated[bool, typer.Option("--faults", help="Serve /_faults, for tests.")] = False,  # noqa: FBT002
    peers: Annotated[int, typer.Option(help="Peers to show, on 127.0.0.1, 127.0.0.2, ...", min=1, max=9)] = 1,
    peer_lag: Annotated[float, typer.Option(help="Seconds by which other peers' aliases lag.", min=0.0)] = 0.0,
    max_workers: Annotated[int, typer.Option(help="Collections that may have a process at once.", min=1)] = 32,
) -> None:
    """Qdrant's engine behind the REST and gRPC calls that Teal makes."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = Settings(
        data=data or home() / "qdrant",
        rest_port=rest_port or free_port(),
        grpc_port=grpc_port or free_port(),
        api_key=api_key,
        read_only_api_key=read_only_api_key,
        tls_cert=tls_cert,
        tls_key=tls_key,
        report_version=report_version,
        faults=faults,
        peers=peers,
        peer_lag=peer_lag,
        max_workers=max_workers,
    )
    asyncio.run(run(settings))


if __name__ == "__main__":
    typer.run(main)
