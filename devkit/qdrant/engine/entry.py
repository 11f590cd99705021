"""The entry point of a worker process, by name, so that the front does not load the engine."""

from __future__ import annotations

import socket
from typing import Any


def serve(connection: socket.socket, directory: str, config: dict[str, Any], *, enforced: bool) -> None:
    """`worker.serve`, imported in the worker; the process that it was forked from has it loaded."""
    from . import worker

    worker.serve(connection, directory, config, enforced=enforced)
