"""A worker process as the front sees it: calls go out in order, and their answers come back in order.

Workers are forked from a server process that has the heavy modules loaded, so a new collection costs
milliseconds. They end with the front: closing their socket lets them flush and end, and if the front is killed
the kernel ends them.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from devkit.qdrant.config import Config
from devkit.qdrant.engine import frames
from devkit.qdrant.engine.entry import serve
from devkit.qdrant.errors import QdrantError

_BUFFER = 1 << 22  # bytes that the front reads ahead from a worker
_context = multiprocessing.get_context("forkserver")


def prepare() -> None:
    """Begin to load what every worker needs, in the process that workers are forked from."""
    _context.set_forkserver_preload(["devkit.qdrant.engine.worker"])
    forkserver.ensure_running()


@dataclass(frozen=True, slots=True)
class Reply:
    """A worker's answer to one call."""

    status: int
    body: bytes = b""
    message: str = ""
    retry_after: int | None = None
    applied: bool = False
    """Whether a write took a sequence number; one that failed may have."""
    unindexed_kb: int = 0

    def checked(self) -> Reply:
        """This answer, if it is a success; else its error is raised."""
        if self.status != HTTPStatus.OK:
            raise QdrantError(self.status, self.message, self.retry_after)
        return self


LOST = Reply(HTTPStatus.INTERNAL_SERVER_ERROR, message="Service internal error: the collection's process ended")


class Worker:
    """One running worker process."""

    def __init__(self, process: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._pending: deque[asyncio.Future[Reply]] = deque()
        self._receiver = asyncio.create_task(self._receive())

    @classmethod
    async def start(cls, directory: Path, config: Config, *, enforced: bool = True) -> Worker:
        """A worker that serves the shard under `directory`, creating the shard if it is not there."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.to_thread(_start_process, theirs, directory, config, enforced)
        reader, writer = await asyncio.open_connection(sock=ours, limit=_BUFFER)
        return cls(process, reader, writer)

    @property
    def idle(self) -> bool:
        return not self._pending

    @property
    def running(self) -> bool:
        return not self._receiver.done()

    async def call(self, call: str, body: bytes = b"", **args: str) -> Reply:
        """One call; raises the `QdrantError` that the worker answers with."""
        return (await self.send(call, body, "rest", args)).checked()

    def send(self, call: str, body: bytes, wire: str, args: Mapping[str, str]) -> asyncio.Future[Reply]:
        """Put a call in the worker's queue before returning; the future is its answer, success or not."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        if self.running:
            self._pending.append(future)
            self._writer.writelines(frames.pack({"call": call, "wire": wire, "args": args}, body))
        else:
            future.set_result(LOST)
        return future

    async def _receive(self) -> None:
        try:
            while True:
                header, body = await frames.read(self._reader)
                future = self._pending.popleft()
                if not future.done():  # a client that has gone does not take its answer
                    future.set_result(Reply(body=body, **header))
        except (asyncio.IncompleteReadError, ConnectionError):
            for future in self._pending:
                if not future.done():
                    future.set_result(LOST)
            self._pending.clear()

    async def stop(self) -> None:
        """Let the worker finish its queue, flush and end."""
        if self.running:
            self._writer.write_eof()
        await self._ended()

    async def kill(self) -> None:
        """End the worker in the middle of whatever it does."""
        self._process.kill()
        await self._ended()

    async def _ended(self) -> None:
        await self._receiver
        self._writer.close()
        await asyncio.to_thread(self._process.join)
        self._process.close()


def _start_process(connection: socket.socket, directory: Path, config: Config, enforced: bool) -> Any:  # noqa: FBT001
    process = _context.Process(
        target=serve, args=(connection, str(directory), config), kwargs={"enforced": enforced}, daemon=True
    )
    process.start()
    return process
