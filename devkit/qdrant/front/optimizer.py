"""The optimizers' work, done on a copy so that nobody waits for it.

The engine builds an HNSW graph in one blocking call, and a real server builds it while it serves. So the
shard is copied, a second worker optimizes the copy and is then told every write that the shard took since,
in the same order; sequence numbers included, the two are then the same, and the copy takes the shard's
place. Readers never wait; writers wait for the last few replayed writes. Whatever goes wrong before that
moment costs only the copy.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from .collection import Collection, Optimized, Write
from .workers import LOST, Worker

Json = dict[str, Any]

_FEW = 16  # writes that are replayed while the others wait
_GROWTH = 1.1  # how much more must be unindexed before the optimizers look again
log = logging.getLogger(__name__)


def due(collection: Collection) -> bool:
    """Whether so much is unindexed that the optimizers would act, as far as that is visible from outside."""
    threshold: int | None = collection.config["optimizer_config"]["indexing_threshold"]
    if not threshold or collection.unindexed_kb <= threshold:
        return False
    settled = collection.settled_kb or 0
    return collection.unindexed_kb > _GROWTH * settled


def worthwhile(info: Json, threshold: int) -> bool:
    """Whether a changed configuration gives the optimizers work: something is indexed, or ought to be."""
    indexed, unindexed_kb = int(info["indexed_vectors_count"]), int(info["unindexed_kb"])
    return indexed > 0 or 0 < threshold < unindexed_kb


def start(collection: Collection) -> None:
    """Begin to optimize, unless that is going on."""
    if not collection.optimizing:
        collection.failure = None
        collection.optimization = asyncio.create_task(_optimize(collection))


async def stop(collection: Collection) -> None:
    """Give up what is going on; the shard is as if it had not been begun."""
    task, collection.optimization = collection.optimization, None
    if task is not None:
        task.cancel()
        await asyncio.wait([task])


async def _optimize(collection: Collection) -> None:
    """Optimize until nothing is due; new writes in the meantime may need another round."""
    try:
        await _optimize_once(collection)
        while (await collection.info()) and due(collection):
            await _optimize_once(collection)
    except Exception as error:
        log.exception("optimizing %s failed", collection.name)
        collection.failure = str(error)


async def _optimize_once(collection: Collection) -> None:
    started = time.monotonic()
    shard = f"shard-{uuid.uuid4().hex[:8]}"
    folder, copy = collection.folder / shard, None
    try:
        await collection.copy_to(folder, journaled=True)
        copy = await Worker.start(folder, collection.config, enforced=False)
        done = from_json((await copy.call("optimize")).body)
        if done["changed"]:
            await _take_over(collection, copy, shard)
            _count(collection.optimized, done["points_count"], time.monotonic() - started)
        collection.settled_kb = done["unindexed_kb"]
    finally:
        collection.journal = None
        if collection.worker is not copy:
            await asyncio.shield(_discard(copy, folder))


async def _take_over(collection: Collection, copy: Worker, shard: str) -> None:
    journal = collection.journal
    if journal is None or collection.worker is None:
        raise RuntimeError("no shard to take over from")
    replayed = 0
    while len(journal) - replayed > _FEW:
        replayed += await _replay(journal[replayed:], copy)
    collection.writable.clear()
    try:
        await _replay(journal[replayed:], copy)
        left = await collection.worker.call("buckets")
        await copy.call("enforce", left.body)
        replaced, folder = collection.swap(copy, shard)
    finally:
        collection.writable.set()
    await asyncio.shield(_retire(replaced, folder))


def _count(optimized: Optimized, points: int, seconds: float) -> None:
    optimized.runs += 1
    optimized.points += points
    optimized.seconds += seconds
    optimized.last = datetime.now(UTC)


async def _replay(writes: list[Write], copy: Worker) -> int:
    """Tell the copy what the shard took; what the shard refused without a sequence number is left out."""
    told = []
    for write in writes:
        reply = await write.reply
        if reply is LOST:
            raise RuntimeError("the shard's process ended, and nobody knows what it took")
        if reply.applied:
            told.append(copy.send(write.call, write.body, write.wire, write.args))
    await asyncio.gather(*told)
    return len(writes)


async def _retire(worker: Worker | None, folder: Path) -> None:
    if worker is not None:
        await worker.stop()
    await asyncio.to_thread(shutil.rmtree, folder)


async def _discard(copy: Worker | None, folder: Path) -> None:
    if copy is not None:
        await copy.kill()
    with contextlib.suppress(FileNotFoundError):
        await asyncio.to_thread(shutil.rmtree, folder)
