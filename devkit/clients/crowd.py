"""All clients of one process, each in its own task: they start together and stop between two requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx

from devkit.clients.alias import Alias
from devkit.clients.counts import Counts
from devkit.clients.encoding import AliasEncoder, Embedding, Encode
from devkit.clients.ledger import Ledger
from devkit.clients.readers import Reader
from devkit.clients.workload import Workload
from devkit.clients.writers import Writer

# Shorter than any server's: a connection that the server closes just as it is used would look like a failure.
KEEPALIVE = 2.0


class Crowd:
    """Readers and writers over one ledger, which is divided among the writers. `counts` grow while it runs."""

    def __init__(self, workload: Workload, ledger: Ledger, encode: Encode | None = None) -> None:
        self.counts = Counts()
        self._workload = workload
        self._ledgers = ledger.split(max(1, workload.writers))
        self._encode = encode

    @property
    def ledger(self) -> Ledger:
        """All acknowledged writes so far, including the initial ledger."""
        return Ledger.merge(self._ledgers)

    async def run(self, stop: asyncio.Event) -> None:
        """Run all clients until `stop` is set; each finishes its current request."""
        workload = self._workload
        async with self._connections() as (alias, encoder):
            readers = [
                Reader(workload, alias, encoder, self.counts, f"reader {number} {workload.seed}")
                for number in range(workload.readers)
            ]
            writers = [
                Writer(number, self._ledgers[number], workload, alias, encoder, self.counts)
                for number in range(workload.writers)
            ]
            async with asyncio.TaskGroup() as tasks:
                for reader in readers:
                    tasks.create_task(_repeat(reader.step, workload.reads_per_second, stop))
                for writer in writers:
                    tasks.create_task(_repeat(writer.step, workload.writes_per_second, stop))

    @asynccontextmanager
    async def _connections(self) -> AsyncIterator[tuple[Alias, AliasEncoder]]:
        workload = self._workload
        headers = {"api-key": workload.api_key} if workload.api_key else {}
        limits = httpx.Limits(keepalive_expiry=KEEPALIVE)
        async with (
            httpx.AsyncClient(
                base_url=workload.url, headers=headers, timeout=workload.timeout, limits=limits
            ) as qdrant,
            httpx.AsyncClient(timeout=workload.timeout, limits=limits) as embedder,
        ):
            alias = Alias(qdrant, workload.alias)
            yield alias, AliasEncoder(alias.encoder, self._encode or Embedding(embedder))


async def _repeat(step: Callable[[], Awaitable[None]], per_second: float, stop: asyncio.Event) -> None:
    due = time.monotonic()
    while not stop.is_set():
        await step()
        # What was missed while a request took long is not made up for: that would be another workload.
        due = max(due + 1 / per_second, time.monotonic())
        await asyncio.sleep(due - time.monotonic())
