"""Where a worker process begins: by name, so that the front need not load what it runs."""

from __future__ import annotations

import socket
from typing import Any


def serve(connection: socket.socket, directory: str, config: dict[str, Any], *, enforced: bool) -> None:
    """`worker.serve`, loaded in the worker; the process that it was forked from has it already."""
    from . import worker

    worker.serve(connection, directory, config, enforced=enforced)
