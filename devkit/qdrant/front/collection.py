"""One collection: its configuration, its worker while it has one, and the optimizers' work on a copy.

Writes are journaled while a copy is being optimized, so that the copy can catch up and replace the shard (see
`optimizer`). A collection that is not used has no process; its last counts are kept for `GET`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

from devkit.qdrant.calls import WRITES
from devkit.qdrant.config import Config, shard_number
from devkit.qdrant.errors import no_collection

from .files import Files, Record
from .workers import Reply, Worker

Json = dict[str, Any]
MakeRoom = Callable[[], Awaitable[None]]
_ticks = itertools.count()  # the order in which collections were used


@dataclass(frozen=True, slots=True)
class Write:
    """A write that went to the shard, and its outcome."""

    call: str
    body: bytes
    wire: str
    args: Mapping[str, str]
    reply: asyncio.Future[Reply]


@dataclass(slots=True)
class Optimized:
    """What the optimizers have done since the start of the server."""

    runs: int = 0
    points: int = 0
    seconds: float = 0.0
    last: datetime = field(default_factory=lambda: datetime.now(UTC))


class Collection:
    """A collection by its own name; the service resolves aliases."""

    def __init__(self, files: Files, folder: Path, record: Record, make_room: MakeRoom) -> None:
        self.files = files
        self.folder = folder
        self.record = record
        self.worker: Worker | None = None
        self.used = next(_ticks)
        self.dropped = False
        self.journal: list[Write] | None = None
        self.writable = asyncio.Event()
        self.writable.set()
        self.unindexed_kb = 0
        self.settled_kb: int | None = None  # what the optimizers left unindexed when they last ran
        self.optimized = Optimized()
        self.failure: str | None = None  # why the optimizers gave up, until they are started again
        self.optimization: asyncio.Task[None] | None = None
        self._make_room = make_room
        self._starting = asyncio.Lock()
        self._last_info: Json | None = None if (folder / record.shard).exists() else _empty_info(record.config)

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def config(self) -> Config:
        return self.record.config

    @property
    def optimizing(self) -> bool:
        return self.optimization is not None and not self.optimization.done()

    @property
    def shard_folder(self) -> Path:
        return self.folder / self.record.shard

    async def call(self, call: str, body: bytes = b"", *, wire: str = "rest", **args: str) -> Reply:
        """A call on the shard, in the order of the calls; raises `QdrantError`."""
        self.used = next(_ticks)
        worker = await self._running()
        if call in WRITES:
            await self.writable.wait()
            return await self._write(call, body, wire, args)
        return (await worker.send(call, body, wire, args)).checked()

    async def _write(self, call: str, body: bytes, wire: str, args: Mapping[str, str]) -> Reply:
        worker = await self._running()
        reply = worker.send(call, body, wire, args)
        if self.journal is not None:
            self.journal.append(Write(call, body, wire, args, reply))
        answer = await asyncio.shield(reply)
        self.unindexed_kb = answer.unindexed_kb
        return answer.checked()

    async def copy_to(self, folder: Path, *, journaled: bool = False) -> None:
        """Copy the shard as it is now; with `journaled`, every write after that moment goes into the journal."""
        worker = await self._running()
        copied = worker.send("copy", b"", "rest", {"to": str(folder)})
        if journaled:
            self.journal = []
        (await copied).checked()

    async def _running(self) -> Worker:
        if self.worker is None:
            await self._make_room()
        async with self._starting:
            if self.dropped:
                raise no_collection(self.name)
            if self.worker is not None and not self.worker.running:
                await self.worker.stop()  # it crashed; what it had acknowledged is in its write-ahead log
                self.worker = None
            if self.worker is None:
                self.worker = await Worker.start(self.shard_folder, self.config)
            return self.worker

    async def info(self, *, shards: bool = False) -> Json:
        """Counts, payload schema and sequence numbers, from the shard if it is open."""
        if self.worker is None and self._last_info is not None:
            return self._last_info
        counted = "true" if shards or self.worker is None else ""
        info: Json = from_json((await self.call("info", shards=counted)).body)
        self.unindexed_kb = info["unindexed_kb"]
        return info

    async def reconfigure(self, config: Config, *, reload: bool, strict: bool = False) -> None:
        """Take over a configuration and keep it.

        `reload` says that it concerns the engine, `strict` that strict mode was set.
        """
        async with self._starting:  # a worker that is just starting has read the old one
            if self.worker is None:
                self._keep(config)
                return
        flags = {"reload": "true" if reload else "", "strict": "true" if strict else ""}
        await self.call("configure", to_json(config), wire="rest", **flags)
        self._keep(config)

    def _keep(self, config: Config) -> None:
        self.record.config = config
        self.files.save(self.folder, self.record)

    def swap(self, worker: Worker | None, shard: str) -> tuple[Worker | None, Path]:
        """Replace the worker and the shard folder; returns the old ones."""
        replaced = self.worker, self.shard_folder
        self.worker = worker
        self._last_info = None
        self.record.shard = shard
        self.files.save(self.folder, self.record)
        return replaced

    async def stop(self) -> None:
        """End the worker; the next call starts one again, unless the collection is dropped."""
        async with self._starting:
            worker, self.worker = self.worker, None
            if worker is not None:
                await worker.stop()

    @property
    def idle(self) -> bool:
        """Whether there is a worker with nothing to do."""
        return self.worker is not None and self.worker.idle and not self.optimizing

    async def rest(self) -> None:
        """Stop the worker and keep the counts, unless it is used again."""
        worker, used = self.worker, self.used
        if worker is None:
            return
        info = await worker.send("info", b"", "rest", {"shards": "true"})
        if self.idle and self.used == used:
            self._last_info = from_json(info.body) if info.status == HTTPStatus.OK else None  # it crashed
            await self.stop()


def _empty_info(config: Config) -> Json:
    shards = shard_number(config)
    return {
        "points_count": 0,
        "indexed_vectors_count": 0,
        "segments_count": 1,
        "payload_schema": {},
        "unindexed_kb": 0,
        "op_nums": [0] * shards,
        "points_by_shard": [0] * shards,
        "payload_bytes": 0,
    }
