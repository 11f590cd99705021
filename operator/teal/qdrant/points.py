"""Points in bulk over gRPC: ids, versions, contents and writes. Only ids and versions are decoded.

Two invariants. A write counts as done only when the server says that it is applied: with `wait=True`, any other
answer is an `UnknownOutcomeError`, so no checkpoint contains a write that may be lost. Ids and versions are
read over one connection, or over any but with one route-affinity token (`pinned`): a version is a sequence number
of one shard replica, and another replica may have other numbers for the same points. Without a token, a peer
answers from its own replica if it has one and it is not busy, else from any.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self, TypeVar

import grpc
import numpy as np
import numpy.typing as npt
from google.protobuf.timestamp_pb2 import Timestamp
from qdrant_client import grpc as qdrant

from teal.domain.change_field import Value
from teal.domain.errors import TealError, TransientError, UnknownOutcomeError
from teal.domain.schema import UNNAMED, Schema
from teal.qdrant import affinity, wire
from teal.qdrant.channel import Connections
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.errors import OverCapacityError, TooLargeError, from_grpc
from teal.qdrant.together import all_of
from teal.qdrant.wire import RawId, RawPoint

T = TypeVar("T")
Query = npt.ArrayLike | Mapping[int, float]
Only = Literal["insert", "update"]
Scalar = str | int | bool

SCAN_PAGE = 5000
BATCH_BYTES = 30_000_000
BATCH_POINTS = 500
DELETE_IDS = 10_000
VERSION_IDS = 10_000
READ_SECONDS = 60.0
WRITE_SECONDS = 180.0
PATIENCE = 10.0
"""Seconds that one read waits for a rate limit, before whoever called has to come again."""
SHORTEST_PAUSE = 0.1
FEWEST = 16
"""Points of one read that is made smaller because of a long pause."""

_NO: Final[bytes] = qdrant.WithPayloadSelector(enable=False).SerializeToString()
_YES: Final[bytes] = qdrant.WithPayloadSelector(enable=True).SerializeToString()
_ALL: Final[bytes] = qdrant.ReadConsistency(type=qdrant.ReadConsistencyType.All).SerializeToString()
_EXACT: Final[bytes] = qdrant.SearchParams(exact=True).SerializeToString()
_SAME_SCORE: Final[bytes] = qdrant.Query(
    formula=qdrant.Formula(expression=qdrant.Expression(constant=1.0))
).SerializeToString()
_MODES: Final[Mapping[Only, Any]] = {
    "insert": qdrant.UpdateMode.InsertOnly,
    "update": qdrant.UpdateMode.UpdateOnly,
}
_APPLIED = (qdrant.UpdateStatus.Completed,)
_TAKEN = (qdrant.UpdateStatus.Acknowledged, qdrant.UpdateStatus.Completed)


@dataclass(frozen=True)
class Probe:
    """The vector by which versions are read, because only a scored query returns them. Any vector will do."""

    name: str
    size: int
    multivector: bool = False

    @classmethod
    def of(cls, schema: Schema) -> Self | None:
        """The cheapest dense vector of a collection; `None` if it has none.

        A sparse vector scores only points that share an element with the query. So a collection that has only
        sparse vectors cannot return the versions of all points, and the content of a point replaces its version.
        """
        if not schema.vectors:
            return None
        cheapest = min(schema.vectors, key=lambda vector: (vector.multivector is not None, vector.size))
        return cls(cheapest.name, cheapest.size, cheapest.multivector is not None)

    @property
    def query(self) -> bytes:
        """A serialized `Query` for the points nearest to a unit vector. Any vector will do except zero."""
        return nearest(self.vector)

    @property
    def vector(self) -> npt.NDArray[np.float32]:
        unit = np.zeros((1, self.size), dtype=np.float32)
        unit[0, 0] = 1.0
        return unit if self.multivector else unit[0]


def any_search(schema: Schema) -> tuple[str, Query]:
    """The name of a vector, and a vector to search by: a dense one finds all points, a sparse one perhaps none."""
    probe = Probe.of(schema)
    if probe is not None:
        return probe.name, probe.vector
    return next(iter(schema.sparse), UNNAMED), {0: 1.0}


class _Undecoded:
    """Stands for a message whose bytes are wanted as they come."""

    FromString: Final = bytes


class Hit(NamedTuple):
    """One result of a search."""

    id: RawId
    score: float
    version: int


class Points:
    """The points of one Qdrant.

    `streams` is the number of connections for contents; as many copies can run in parallel. `requests` counts
    the calls, by name. Methods raise like those of `Admin`; a write whose points the server refuses raises
    `HeldError` (`PointsRefused`).
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        streams: int = 4,
        requests: Counter[str] | None = None,
        connections: Connections | None = None,
        token: str | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.streams = streams
        self.requests: Counter[str] = Counter() if requests is None else requests
        sent = {"api-key": endpoint.api_key, affinity.HEADER: token}
        self._metadata = tuple((name, value) for name, value in sent.items() if value)
        self._pinned = token is not None
        self._connections = connections or Connections(endpoint, streams)
        self._allowed: dict[tuple[str, str], int] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections, which are those of the pinned views, too."""
        await self._connections.close()

    def pinned(self, token: str) -> Self:
        """The same points, read with this token for as long as it means one replica of each shard (`affinity`).

        A view: it shares connections and counters. Servers before 1.19 pay no attention to the token.
        """
        shared = self._connections
        return type(self)(
            self.endpoint, streams=self.streams, requests=self.requests, connections=shared, token=token
        )

    # Ids and versions

    async def ids(
        self, collection: str, page: int = SCAN_PAGE, *, start: RawId | None = None, where: bytes | None = None
    ) -> AsyncIterator[list[RawId]]:
        """All ids in pages, in Qdrant's order (numbers, then UUIDs), starting at `start` if it is given.

        Stable under writes, except that an id inserted behind the cursor is not seen. `where` is a serialized
        `Filter`: see `at_least`.
        """
        while True:
            found, start = await self._id_page(collection, page, start, where)
            if found:
                yield found
            if start is None:
                return

    async def versions(self, collection: str, ids: Sequence[RawId], probe: Probe | None) -> dict[RawId, int]:
        """A number for each existing point of `ids`; every change of the point gives it another number.

        It is the sequence number of the last change. Compare it only for (in)equality, and only with earlier
        answers of the same server. A point without the probe's vector has no number (without a probe, no point
        has one). Such a point is read whole, which is slower by an order of magnitude, and a checksum of its
        content is the number.
        """
        if probe is None:
            return await self._contents(collection, ids)
        told: dict[RawId, int] = {}

        async def ask(page: Sequence[RawId]) -> None:
            answer = await self._scored(collection, page, probe.query, probe.name)
            told.update((point.id, point.version) for point in answer.result)

        await self._in_batches("versions", collection, ids, VERSION_IDS, ask)
        untold = [raw for raw in ids if raw not in told] if len(told) < len(ids) else []
        return told | await self._contents(collection, untold)

    async def _contents(self, collection: str, ids: Sequence[RawId]) -> dict[RawId, int]:
        """The checksums of the contents of points; as many streams read as there are."""
        told: dict[RawId, int] = {}
        pages = [ids[start : start + BATCH_POINTS] for start in range(0, len(ids), BATCH_POINTS)]
        for start in range(0, len(pages), self.streams):
            read = (self.fetch(collection, page) for page in pages[start : start + self.streams])
            for found in await all_of(read):
                told.update((point.id, wire.content_version(point)) for point in found)
        return told

    async def scan(
        self, collection: str, probe: Probe | None, page: int = SCAN_PAGE, *, start: RawId | None = None
    ) -> AsyncIterator[dict[RawId, int]]:
        """All points with their versions (see `versions`), page by page; the next ids are fetched in parallel."""
        ahead = asyncio.ensure_future(self._id_page(collection, page, start))
        try:
            while True:
                found, start = await ahead
                if start is not None:
                    ahead = asyncio.ensure_future(self._id_page(collection, page, start))
                if found:
                    yield await self.versions(collection, found, probe)
                if start is None:
                    return
        finally:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)

    async def _id_page(
        self, collection: str, limit: int, offset: RawId | None, where: bytes | None = None
    ) -> tuple[list[RawId], RawId | None]:
        limit = min(limit, self._allowed.get(("scroll", collection), limit))
        request = wire.ScrollPoints(
            collection_name=collection,
            filter=where,
            offset=offset,
            limit=limit,
            with_payload=_NO,
            with_vectors=_NO,
        )
        try:
            answer = await self._read("scroll", "Scroll", request, wire.ScrollResponse)
        except TooLargeError as error:
            self._allow("scroll", collection, limit, error.limit, error)
            return await self._id_page(collection, limit, offset, where)
        following = answer.next_page_offset if answer.HasField("next_page_offset") else None
        return [point.id for point in answer.result], following

    # Contents

    async def fetch(
        self,
        collection: str,
        ids: Sequence[RawId],
        *,
        vectors: bool = True,
        payload: bool = True,
        agreed: bool = False,
    ) -> list[RawPoint]:
        """The existing points of `ids`, in any order, in one request: the caller chooses how many fit.

        Where the rate of reads is limited, in smaller ones: a request costs as much as it names points. `agreed`:
        only those that are the same on all replicas (read consistency `All`).
        """
        found: list[RawPoint] = []

        async def ask(page: Sequence[RawId]) -> None:
            found.extend(await self._fetch(collection, page, vectors=vectors, payload=payload, agreed=agreed))

        await self._in_batches("get", collection, ids, len(ids), ask)
        return found

    async def _fetch(
        self, collection: str, ids: Sequence[RawId], *, vectors: bool, payload: bool, agreed: bool
    ) -> list[RawPoint]:
        request = wire.GetPoints(
            collection_name=collection,
            ids=ids,
            with_payload=_YES if payload else _NO,
            with_vectors=_YES if vectors else _NO,
            read_consistency=_ALL if agreed else None,
        )
        answer = await self._read("get", "Get", request, wire.GetResponse, bulk=True)
        return list(answer.result)

    async def upsert(
        self, collection: str, points: Sequence[RawPoint], *, wait: bool = True, only: Only | None = None
    ) -> None:
        """Write whole points, in batches; with `only`, only new points or only existing ones: others are
        skipped.

        Raises:
            HeldError: reason `PointsRefused`: a vector does not fit the collection. Earlier batches are written.
        """

        async def write(batch: Sequence[RawPoint]) -> None:
            await self._upsert(collection, batch, wait=wait, only=only)

        await self._in_batches("upsert", collection, points, BATCH_POINTS, write)

    async def _upsert(self, collection: str, points: Sequence[RawPoint], *, wait: bool, only: Only | None) -> None:
        mode = _MODES[only] if only else None
        request = wire.UpsertPoints(collection_name=collection, wait=wait, update_mode=mode)
        add = request.points.add
        for point in points:
            add(id=point.id, payload=point.payload, vectors=point.vectors or wire.NO_VECTORS)
        body = request.SerializeToString()
        if len(body) > BATCH_BYTES and len(points) > 1:
            half = len(points) // 2
            await self._upsert(collection, points[:half], wait=wait, only=only)
            await self._upsert(collection, points[half:], wait=wait, only=only)
        else:
            await self._write("upsert", "Upsert", body, wait=wait)

    async def delete(self, collection: str, ids: Sequence[RawId], *, wait: bool = True) -> None:
        """Delete points by id; ids that do not exist are no error."""

        async def write(batch: Sequence[RawId]) -> None:
            request = wire.DeletePoints(collection_name=collection, wait=wait, points={"points": {"ids": batch}})
            await self._write("delete", "Delete", request.SerializeToString(), wait=wait)

        await self._in_batches("delete", collection, ids, DELETE_IDS, write)

    # Searches

    async def query(
        self, collection: str, vector: Query | RawId, limit: int, *, name: str = "", exact: bool = False
    ) -> list[Hit]:
        """The points nearest by vector `name`, best first: `limit`, or as many as the collection allows.

        `vector` has the shape (dimensions,), or (rows, dimensions) for a multivector. A sparse vector maps
        indices to values. Or it is the id of a point whose own vector is used; that point is then not among the
        results.
        """
        limit = min(limit, self._allowed.get(("search", collection), limit))
        request = wire.QueryPoints(
            collection_name=collection,
            query=nearest(vector),
            using=name or None,
            params=_EXACT if exact else None,
            limit=limit,
            with_payload=_NO,
            with_vectors=_NO,
        )
        try:
            answer = await self._read("search", "Query", request, wire.QueryResponse)
        except TooLargeError as error:
            self._allow("search", collection, limit, error.limit, error)
            return await self.query(collection, vector, limit, name=name, exact=exact)
        return [Hit(point.id, point.score, point.version) for point in answer.result]

    async def scores(
        self, collection: str, ids: Sequence[RawId], vector: npt.ArrayLike, *, name: str = ""
    ) -> dict[RawId, float]:
        """The exact score of each point of `ids` that has the vector `name`, for the query `vector`."""
        told: dict[RawId, float] = {}

        async def ask(page: Sequence[RawId]) -> None:
            answer = await self._scored(collection, page, nearest(vector), name)
            told.update((point.id, point.score) for point in answer.result)

        await self._in_batches("scores", collection, ids, VERSION_IDS, ask)
        return told

    async def _scored(self, collection: str, ids: Sequence[RawId], query: bytes, name: str) -> Any:
        """Exactly these points, scored: only scored results have scores and versions."""
        request = wire.QueryPoints(
            collection_name=collection,
            query=query,
            using=name or None,
            filter={"must": [{"has_id": {"has_id": ids}}]},
            params=_EXACT,
            limit=len(ids),
            with_payload=_NO,
            with_vectors=_NO,
        )
        return await self._read("versions", "Query", request, wire.QueryResponse)

    async def told(self, collection: str, condition: Any, limit: int, *, exact: bool = True) -> bytes:
        """A serialized `QueryResponse` of at most `limit` points that fulfil `condition`, in no order.

        The condition is a `wire.Filter`. All points get the same score, by a formula, which reads no vector and
        needs none; such an answer, too, carries versions. With several shards and without `exact`, a server asks
        each shard for its share of the limit and some more, and lets go what a shard has beyond that.

        Raises:
            TerminalError: reason `QdrantRefused` or `QdrantUnsupported`: the server knows no formulas.
        """
        request = wire.QueryPoints(
            collection_name=collection,
            prefetch=[{"filter": condition, "limit": limit}],
            query=_SAME_SCORE,
            params=_EXACT if exact else None,
            limit=limit,
            with_payload=_NO,
            with_vectors=_NO,
        )
        answer: bytes = await self._read("versions", "Query", request, _Undecoded)
        return answer

    async def count(self, collection: str, *, exact: bool = True) -> int:
        """How many points there are; an inexact count is an estimate."""
        request = qdrant.CountPoints(collection_name=collection, exact=exact)
        answer = await self._read("count", "Count", request, qdrant.CountResponse)
        return int(answer.result.count)

    # Transport

    async def _in_batches(
        self,
        kind: str,
        collection: str,
        items: Sequence[T],
        most: int,
        send: Callable[[Sequence[T]], Awaitable[None]],
    ) -> None:
        """`send` all items, at most `most` at once, or as many as the collection turns out to allow."""
        start = 0
        while start < len(items):
            size = min(most, self._allowed.get((kind, collection), most), len(items) - start)
            try:
                await send(items[start : start + size])
            except TooLargeError as error:
                self._allow(kind, collection, size, error.limit, error)
            except TransientError as error:
                # A rate limit: what takes long to be allowed at once is allowed in small parts.
                if isinstance(error, OverCapacityError):
                    self._allow(kind, collection, size, size // 2, error)
                elif _is_long_pause(kind, error):
                    self._allow(kind, collection, size, max(FEWEST, size // 2), error)
                else:
                    raise
            else:
                start += size

    def _allow(self, kind: str, collection: str, tried: int, allowed: int, error: TealError) -> None:
        """Remember the allowed number, except when a smaller request cannot help."""
        if not 0 < allowed < tried:
            raise error
        self._allowed[kind, collection] = allowed

    async def _read(self, kind: str, method: str, request: Any, answer: Any, *, bulk: bool = False) -> Any:
        """A read. Where its rate is limited, it waits for as long as the server says, and at most `PATIENCE`."""
        body, waited = request.SerializeToString(), 0.0
        while True:
            try:
                return await self._call(kind, method, body, answer, seconds=READ_SECONDS, bulk=bulk, write=False)
            except TransientError as error:
                pause = max(SHORTEST_PAUSE, error.retry_after or 0.0)
                if error.reason != "QdrantBusy" or error.retry_after is None or waited + pause > PATIENCE:
                    raise
                await asyncio.sleep(pause)
                waited += pause

    async def _write(self, kind: str, method: str, body: bytes, *, wait: bool) -> None:
        response = qdrant.PointsOperationResponse
        answer = await self._call(kind, method, body, response, seconds=WRITE_SECONDS, bulk=True, write=True)
        status = answer.result.status
        if status not in (_APPLIED if wait else _TAKEN):
            raise UnknownOutcomeError(
                "QdrantOutcomeUnknown",
                f"{self.endpoint.grpc_target} took the {kind}, but answered "
                f"{qdrant.UpdateStatus.Name(status)} instead of Completed.",
            )

    async def _call(
        self, kind: str, method: str, body: bytes, answer: Any, *, seconds: float, bulk: bool, write: bool
    ) -> Any:
        channel = await self._connections.next(any_will_do=bulk or self._pinned)
        call = channel.unary_unary(f"/qdrant.Points/{method}", response_deserializer=answer.FromString)
        self.requests[kind] += 1
        try:
            return await call(body, timeout=seconds, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            meaning = from_grpc(error, self.endpoint.grpc_target, kind, write=write)
            if meaning.reason == "QdrantTLSFailed":
                # The certificate that was pinned may have been replaced: the next call takes a new look.
                self._connections.renew()
            raise meaning from error


def _is_long_pause(kind: str, error: TransientError) -> bool:
    """Whether a read would have to wait so long for a rate limit that it had better ask for less."""
    return kind == "get" and error.reason == "QdrantBusy" and (error.retry_after or 0.0) > PATIENCE


def at_least(field: str, value: Value) -> bytes:
    """A serialized `Filter` for the points that have this value or a higher one in the payload field `field`."""
    if isinstance(value, datetime):
        moment = Timestamp()
        moment.FromDatetime(value)
        condition = qdrant.FieldCondition(key=field, datetime_range=qdrant.DatetimeRange(gte=moment))
    else:
        condition = qdrant.FieldCondition(key=field, range=qdrant.Range(gte=value))
    return bytes(qdrant.Filter(must=[qdrant.Condition(field=condition)]).SerializeToString())


def equal_to(field: str, value: Scalar) -> bytes:
    """A serialized `Filter` for the points that have this value in the payload field `field`."""
    if isinstance(value, bool):
        match = qdrant.Match(boolean=value)
    elif isinstance(value, int):
        match = qdrant.Match(integer=value)
    else:
        match = qdrant.Match(keyword=value)
    condition = qdrant.Condition(field=qdrant.FieldCondition(key=field, match=match))
    return bytes(qdrant.Filter(must=[condition]).SerializeToString())


def lacking(vector: str) -> bytes:
    """A serialized `Filter` for the points that have no vector of this name."""
    condition = qdrant.Condition(has_vector=qdrant.HasVectorCondition(has_vector=vector))
    return bytes(qdrant.Filter(must_not=[condition]).SerializeToString())


def nearest(vector: Query | RawId) -> bytes:
    """A serialized `Query` for the points nearest to a vector of any kind, or to the point of this id."""
    if isinstance(vector, bytes):
        like = qdrant.VectorInput(id=qdrant.PointId.FromString(vector))
    elif isinstance(vector, Mapping):
        like = qdrant.VectorInput(sparse=qdrant.SparseVector(indices=list(vector), values=list(vector.values())))
    else:
        array = np.asarray(vector, dtype=np.float32)
        if array.ndim == 1:
            like = qdrant.VectorInput(dense=qdrant.DenseVector(data=array))
        else:
            rows = [qdrant.DenseVector(data=row) for row in array]
            like = qdrant.VectorInput(multi_dense=qdrant.MultiDenseVector(vectors=rows))
    return bytes(qdrant.Query(nearest=like).SerializeToString())
