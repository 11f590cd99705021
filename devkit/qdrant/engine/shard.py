"""One engine shard on disk, and the sequence numbers that a real server shows beside it.

The engine numbers its updates itself, and those numbers are the versions of points. A server counts the same
updates as `operation_id` and `op_num`, starting at 1. Both must stay in step, or a version scan and a
quiescence check would disagree: so every update goes through `apply`, the number is on disk before the engine
sees the update, and an update that could be refused for its vectors is refused before it takes a number.

A collection of several shards is one engine shard here. Which of them a point belongs to is its slice of the
id space, so that `op_num` moves only for the shards that a write touches. The engine numbers across all of them;
what is shown as a point's version is the number that its shard had at that update.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import shutil
import struct
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import qdrant_edge as edge
from qdrant_client.local.siphash import point_id_slice

from devkit.qdrant.config import Config, dense_vectors, shard_number, sparse_vectors, vector_bytes
from devkit.qdrant.errors import QdrantError, internal, not_found, wrong_input

from . import schema
from .copying import copy_tree
from .filters import slice_condition
from .requests import PointId

FLUSH_AFTER = 5.0  # seconds of unflushed updates; until then the write-ahead log holds them
_BLOCK = 512  # bytes, the unit of `st_blocks`
_NUMBER = struct.Struct("<Q")
_MISSING_POINT = re.compile(r"No point with id (.+)$")


class Numbers:
    """Sequence numbers in a mapped file, which outlives a killed process: the total, then one a shard."""

    def __init__(self, path: Path, shards: int) -> None:
        size = _NUMBER.size * (1 + shards)
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.truncate(size)
            self._map = mmap.mmap(file.fileno(), size)

    def __getitem__(self, index: int) -> int:
        number: int = _NUMBER.unpack_from(self._map, _NUMBER.size * index)[0]
        return number

    def add(self, index: int, count: int = 1) -> None:
        _NUMBER.pack_into(self._map, _NUMBER.size * index, self[index] + count)

    def close(self) -> None:
        self._map.close()


class History:
    """For every number of the engine, those that the shards had then, in a file that outlives the process."""

    def __init__(self, path: Path, shards: int) -> None:
        self._row = struct.Struct(f"<{shards}Q")
        self._file = path.open("r+b" if path.exists() else "w+b", buffering=0)

    def note(self, number: int, shards: Sequence[int]) -> None:
        os.pwrite(self._file.fileno(), self._row.pack(*shards), self._row.size * number)

    def at(self, number: int) -> tuple[int, ...]:
        return self._row.unpack(os.pread(self._file.fileno(), self._row.size, self._row.size * number))

    def close(self) -> None:
        self._file.close()


class Shard:
    """The shard under `directory`, created there if it is not."""

    def __init__(self, directory: Path, config: Config) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.config = config
        self.shards = shard_number(config)
        # A predecessor that was killed a moment ago may still hold the files.
        self._lock = (directory / "lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.engine = self._opened()
        self.numbers = Numbers(directory / "numbers", self.shards)
        self.history = History(directory / "history", self.shards)
        self._dirty_since: float | None = None

    def _opened(self) -> edge.EdgeShard:
        data, config = self.directory / "shard", schema.edge_config(self.config)
        if (self.directory / "numbers").exists():
            return edge.EdgeShard.load(str(data), config)
        shutil.rmtree(data, ignore_errors=True)  # of a creation that was cut short
        shard = edge.EdgeShard.create(str(data), config)
        shard.update(_nothing())  # takes number 0: a server counts from 1
        return shard

    # ---- updates --------------------------------------------------------------------------------------------

    def apply(self, operation: edge.UpdateOperation, ids: Iterable[PointId] | None) -> int:
        """Apply an update to the points `ids` (None: any of them) and return its number."""
        for shard in self._touched(ids):
            self.numbers.add(1 + shard)
        return self._apply(operation)

    def apply_schema(self, operation: edge.UpdateOperation) -> int:
        """Apply a change of schema, for which a server takes two numbers on every shard."""
        self.apply(_nothing(), None)
        return self.apply(operation, None)

    def _apply(self, operation: edge.UpdateOperation) -> int:
        self.numbers.add(0)
        if self.shards > 1:
            self.history.note(self.numbers[0], self.op_nums())
        self._dirty_since = self._dirty_since or time.monotonic()
        with engine_errors():
            self.engine.update(operation)
        return self.numbers[0]

    def flush_if_due(self, after: float = FLUSH_AFTER) -> None:
        """Bring updates to disk that are `after` seconds old."""
        if self._dirty_since is not None and time.monotonic() - self._dirty_since >= after:
            self.engine.flush()
            self._dirty_since = None

    # ---- the shards that are shown --------------------------------------------------------------------------

    def _touched(self, ids: Iterable[PointId] | None) -> Iterable[int]:
        if ids is None or self.shards == 1:
            return range(self.shards)
        found: set[int] = set()
        for point in ids:
            found.add(self.shard_of(point))
            if len(found) == self.shards:
                break
        return found

    def shard_of(self, point: PointId) -> int:
        return int(point_id_slice(point, self.shards))

    def version_of(self, point: edge.ScoredPoint) -> int:
        """The number that the point's shard had when it changed it."""
        if self.shards == 1:
            return int(point.version)
        name = point.id if isinstance(point.id, int) else str(point.id)
        return self.history.at(point.version)[self.shard_of(name)]

    def costs(self, ids: Sequence[PointId] | None) -> Iterator[tuple[int, int]]:
        """What a write costs, by shard: its points, or one where it is given by a filter."""
        if ids is None:
            yield from ((shard, 1) for shard in range(self.shards))
        elif self.shards == 1:
            yield 0, len(ids)
        else:
            yield from Counter(self.shard_of(point) for point in ids).items()

    def points_by_shard(self) -> list[int]:
        if self.shards == 1:
            return [self.engine.info().points_count]
        slices = (slice_condition(self.shards, shard) for shard in range(self.shards))
        return [
            self.engine.count(edge.CountRequest(exact=True, filter=edge.Filter(must=[each]))) for each in slices
        ]

    def op_nums(self) -> list[int]:
        return [self.numbers[1 + shard] for shard in range(self.shards)]

    # ---- vectors --------------------------------------------------------------------------------------------

    def check_vectors(self, points: Iterable[Any]) -> None:
        """Refuse points whose vectors have unknown names or wrong dimensions."""
        sizes = {name: vector["size"] for name, vector in dense_vectors(self.config).items()}
        known_sparse = sparse_vectors(self.config)
        for vectors in points:
            for name, vector in vectors.items() if isinstance(vectors, dict) else (("", vectors),):
                if name in sizes:
                    _check_size(vector, sizes[name])
                elif name not in known_sparse:
                    raise wrong_input(f"Not existing vector name error: {name}")

    def unindexed_kb(self) -> int:
        """How much is not indexed yet, in kB of the largest vector: what the optimizers go by."""
        info, vectors = self.engine.info(), dense_vectors(self.config)
        unindexed = info.points_count - info.indexed_vectors_count / max(1, len(vectors))
        return max((int(unindexed * vector_bytes(each)) // 1024 for each in vectors.values()), default=0)

    def vector_bytes(self) -> int:
        return int(self.engine.info().points_count * sum(map(vector_bytes, dense_vectors(self.config).values())))

    def payload_bytes_on_disk(self) -> int:
        """What the payload storage takes on disk, in bytes."""
        files = self.directory.glob("shard/segments/*/payload_storage/*")
        return sum(file.stat().st_blocks * _BLOCK for file in files)

    # ---- the files ------------------------------------------------------------------------------------------

    def reload(self, config: Config) -> None:
        """Take over a changed configuration; the engine reads it only when it opens a shard."""
        self.close_engine()
        self.config = config
        self.engine = self._opened()

    def copy_to(self, directory: Path) -> None:
        """Copy the shard as it is now; the copy can be opened as a shard of its own."""
        self.engine.flush()
        self._dirty_since = None
        directory.mkdir(parents=True)
        copy_tree(self.directory / "shard", directory / "shard")
        for name in ("numbers", "history"):
            shutil.copy(self.directory / name, directory / name)

    def close_engine(self) -> None:
        self.engine.flush()
        self.engine.close()
        self._dirty_since = None

    def close(self) -> None:
        self.close_engine()
        self.numbers.close()
        self.history.close()
        self._lock.close()


def _nothing() -> edge.UpdateOperation:
    return edge.UpdateOperation.delete_points([])


def _check_size(vector: Any, size: int) -> None:
    if isinstance(vector, edge.SparseVector):
        raise wrong_input("Conversion between sparse and regular vectors failed")
    rows = vector if vector and isinstance(vector[0], list | tuple) else (vector,)
    for row in rows:
        if len(row) != size:
            raise wrong_input(f"Vector dimension error: expected dim: {size}, got {len(row)}")


@contextmanager
def engine_errors() -> Iterator[None]:
    """A block in which what the engine raises becomes the refusal that a server words from it.

    The engine raises bare `Exception`s; their texts are the server's own, so they are told apart by text.
    """
    try:
        yield
    except QdrantError:
        raise
    except Exception as error:
        raise _refusal(str(error)) from error


def _refusal(text: str) -> QdrantError:
    if missing := _MISSING_POINT.search(text):
        return not_found(f"No point with id {missing[1]} found")
    if text.startswith("Service runtime error"):
        return internal(text)
    return wrong_input(text)
