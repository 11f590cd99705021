"""The process that owns the shard of one collection.

The engine holds the interpreter lock while it works, so each collection has a process: an HNSW build in one
never delays another. One thread answers requests strictly in order. Therefore a copy of the shard that applies
the same writes in the same order becomes equal, including the sequence numbers.
"""

from __future__ import annotations

import ctypes
import logging
import select
import signal
import socket
import sys
from pathlib import Path

from devkit.qdrant.calls import WRITES
from devkit.qdrant.config import Config
from devkit.qdrant.errors import QdrantError

from . import frames
from .calls import Calls

IDLE = 1.0  # seconds without a request after which updates are flushed
_PR_SET_PDEATHSIG = 1
log = logging.getLogger(__name__)


def serve(connection: socket.socket, directory: str, config: Config, *, enforced: bool = True) -> None:
    """Answer requests on `connection` until it is closed, then close the shard.

    `enforced` False leaves strict mode off until the call `enforce`: a copy that catches up must take what the
    original took.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the front's to handle
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    calls = Calls(Path(directory), config, enforced=enforced)
    try:
        while True:
            _serve_one(calls, connection)
    except (EOFError, ConnectionError):
        calls.shard.close()


def _serve_one(calls: Calls, connection: socket.socket) -> None:
    if not select.select([connection], [], [], IDLE)[0]:
        calls.shard.flush_if_due(IDLE)
        return
    header, body = frames.receive(connection)
    call, before = header["call"], calls.shard.numbers[0]
    status: frames.Header = {"status": 200}
    answer = b""
    try:
        answer = calls.answer(call, header["wire"], header["args"], body)
    except QdrantError as error:
        status = {"status": error.status, "message": error.message, "retry_after": error.retry_after}
    except Exception as error:
        log.exception("%s failed", call)
        status = {"status": 500, "message": f"Service internal error: {error}"}
    if call in WRITES:
        status["applied"] = calls.shard.numbers[0] != before
        status["unindexed_kb"] = calls.shard.unindexed_kb()
        calls.shard.flush_if_due()
    frames.send(connection, status, answer)
