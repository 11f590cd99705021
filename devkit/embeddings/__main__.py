"""`python -m devkit.embeddings`: run the embedding server until Ctrl-C or SIGTERM."""

from __future__ import annotations

from typing import Annotated

import typer
from aiohttp import web
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from devkit import paths
from devkit.embeddings.models import HASHING, MINILM
from devkit.embeddings.server import EmbeddingService


def main(
    *,
    port: Annotated[int | None, typer.Option(help="The port (default: a free one).")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help=f"Load at the start; others load when asked for. Default: {MINILM} and {HASHING}."),
    ] = None,
    api_key: Annotated[str | None, typer.Option(help="Refuse requests without this bearer token.")] = None,
    faults: Annotated[bool, typer.Option("--faults", help="Let POST /_faults set faults.")] = False,
) -> None:
    """Run an embedding server with real encoders on loopback until Ctrl-C or SIGTERM."""
    port = port or paths.free_port()
    service = EmbeddingService(model or [MINILM, HASHING], api_key, faults=faults)
    typer.echo(f"embeddings: http://127.0.0.1:{port}/v1")
    # BLAS threads of one product wait for each other spinning: on busy cores that costs more than it gains.
    with threadpool_limits(1):
        web.run_app(
            service.application(), host="127.0.0.1", port=port, print=None, access_log=None, shutdown_timeout=1
        )


if __name__ == "__main__":
    typer.run(main)
