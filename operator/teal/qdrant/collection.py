"""Qdrant's description of a collection, as data of the domain. Pure: answers in, values out.

The domain separates `Schema` from the rest; this module knows only Qdrant's spelling of both. A collection whose
vectors cannot be expressed is an error, never an approximation: it would be compared with the spec.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from teal.domain.errors import TerminalError
from teal.domain.marks import Marks
from teal.domain.observed import CollectionState
from teal.domain.schema import UNNAMED, Datatype, DenseVector, Distance, Schema

Json = Mapping[str, Any]

START_OPTIMIZERS: Json = {"optimizers_config": {}}
"""A PATCH that changes nothing and starts the optimizers: Qdrant requires it for a grey collection."""


@dataclass(frozen=True)
class Optimizations:
    """Work of the optimizers of a collection, over all shards: running and queued."""

    running: int
    queued: int


@dataclass(frozen=True)
class Readiness:
    """Whether a collection has finished processing all its writes.

    `waiting_for` says in words what is missing. `failed` is the error of the optimizer, which does not pass by
    itself. `needs_patch` is the PATCH of the collection without which it never becomes ready.
    """

    ready: bool
    waiting_for: str | None = None
    failed: str | None = None
    needs_patch: Json | None = None


@dataclass(frozen=True)
class Snapshot:
    """One snapshot on the node that answered. `size` is in bytes, `created` the UTC time of the server."""

    name: str
    size: int
    created: str


@dataclass(frozen=True)
class Quiescence:
    """The last operation number of each shard: (peer URL, shard id) → `op_num` of its write-ahead log."""

    op_nums: Mapping[tuple[str, int], int]
    queued: int

    def same_as(self, other: Quiescence) -> bool:
        """True proves that nothing was written to the collection between the two looks."""
        return self.op_nums == other.op_nums and self.queued == 0 and other.queued == 0

    @property
    def last(self) -> int | None:
        """The number of the last applied change, if a single sequence numbers all changes."""
        return next(iter(self.op_nums.values())) if len(self.op_nums) == 1 and not self.queued else None


def parse_collection(name: str, result: Json) -> CollectionState:
    """Parse the `result` of `GET /collections/{name}`. `schema.schema_version` is empty if no mark names one.

    Raises:
        TerminalError: reason `UnsupportedCollection`: a vector has a distance or datatype that Teal does not know.
    """
    config: Json = result["config"]
    marks = Marks.read(name, config.get("metadata"))
    optimizer = result.get("optimizer_status")
    return CollectionState(
        name=name,
        schema=_schema(name, config["params"], marks),
        config=config,
        payload_schema=result.get("payload_schema") or {},
        status=str(result["status"]),
        points=int(result.get("points_count") or 0),
        indexed_vectors=int(result.get("indexed_vectors_count") or 0),
        queue_length=int((result.get("update_queue") or {}).get("length") or 0),
        marks=marks,
        optimizer_error=str(optimizer["error"]) if isinstance(optimizer, Mapping) else None,
    )


def parse_optimizations(result: Json) -> Optimizations:
    """Parse the `result` of `GET /collections/{name}/optimizations`."""
    return Optimizations(len(result["running"]), int(result["summary"]["queued_optimizations"]))


def parse_update_queues(name: str, peer: str, result: Json) -> Quiescence | None:
    """The local shards of a collection on one peer, from the `result` of `GET /telemetry?details_level=3`.

    `None` if the answer has the shards but not their update queues. A peer without a shard of the collection
    yields an empty result.
    """
    listed = (result.get("collections") or {}).get("collections")
    if listed is None:
        return None
    op_nums: dict[tuple[str, int], int] = {}
    queued = 0
    for shard in (shard for entry in listed if entry.get("id") == name for shard in entry.get("shards") or ()):
        local = shard.get("local")
        if local is None:
            continue
        queue = local.get("update_queue")
        if queue is None or queue.get("op_num") is None:
            return None
        op_nums[peer, int(shard["id"])] = int(queue["op_num"])
        queued += int(queue.get("length") or 0)
    return Quiescence(op_nums, queued)


def readiness(state: CollectionState, optimizations: Optimizations | None) -> Readiness:
    """Ready means: green, an empty queue and idle optimizers. If `optimizations` is `None`, the status alone
    decides.

    After a PATCH a collection can be green for a moment before its optimizers start, so rely on several polls.
    """
    if state.optimizer_error or state.status == "red":
        return Readiness(ready=False, failed=state.optimizer_error or "the collection's status is red")
    if state.status == "grey":
        waiting_for = "optimizers that did not start after a restart of Qdrant"
        return Readiness(ready=False, waiting_for=waiting_for, needs_patch=START_OPTIMIZERS)
    if state.status != "green":
        return Readiness(ready=False, waiting_for=f"status {state.status}")
    if state.queue_length:
        return Readiness(ready=False, waiting_for=f"{state.queue_length} updates in the queue")
    if optimizations and (optimizations.running or optimizations.queued):
        pending = f"{optimizations.running} optimizations running, {optimizations.queued} queued"
        return Readiness(ready=False, waiting_for=pending)
    return Readiness(ready=True)


def _schema(name: str, params: Json, marks: Marks) -> Schema:
    dense = params.get("vectors") or {}
    # A vector may itself be named "size", so the type shows whether these are an unnamed vector's parameters.
    by_name = {UNNAMED: dense} if isinstance(dense.get("size"), int) else dense
    return Schema(
        vectors=tuple(_dense(name, vector, found) for vector, found in by_name.items()),
        sparse=tuple(params.get("sparse_vectors") or ()),
        shard_number=int(params.get("shard_number") or 1),
        sharding_method=str(params.get("sharding_method") or "auto"),
        schema_version=marks.owner.schema_version if marks.owner else "",
        model=marks.encoder.model if marks.encoder else None,
    )


def _dense(collection: str, name: str, found: Json) -> DenseVector:
    datatype = str(found.get("datatype") or "float32").capitalize()
    try:
        return DenseVector(
            name=name,
            size=int(found["size"]),
            distance=Distance(found["distance"]),
            datatype=Datatype(datatype),
            multivector=(found.get("multivector_config") or {}).get("comparator"),
        )
    except ValueError as error:
        raise TerminalError(
            "UnsupportedCollection",
            f"The vector {name!r} of {collection!r} is of a kind unknown to Teal: {error}.",
        ) from error
