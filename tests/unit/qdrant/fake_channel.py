"""A gRPC channel with a small Qdrant at its end, which does to reads what a real one does to them.

It keeps ids and versions alone. A query is answered shard by shard: the prefetch takes at most its limit, what is
deleted in that moment falls out, then the shard gives at most its share of the limit, unless the request is exact.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from math import ceil
from typing import Any

import grpc
from grpc.aio import AioRpcError, Metadata
from qdrant_client import grpc as q
from qdrant_client.local.siphash import point_id_slice

from teal.domain.marks import Marks
from teal.domain.observed import CollectionState
from teal.domain.schema import DenseVector, Distance, Schema
from teal.qdrant import wire
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.points import Points

PointId = int | str
slice_of = cache(point_id_slice)
UNDERSAMPLED_FROM = 128


@dataclass
class FakeQdrant:
    """One collection; the switches say what is unusual about the server."""

    versions: dict[PointId, int]
    shards: int = 1
    most: int | None = None
    most_ids: int | None = None
    exact_allowed: bool = True
    knows_formula: bool = True
    knows_slices: bool = True
    stuck: int | None = None
    """How many queries are answered before the server gets stuck."""
    twice: frozenset[PointId] = frozenset()
    """Points that every shard holds."""
    while_answering: Callable[[FakeQdrant], None] | None = None
    """What happens between the prefetch of the next query and its scores."""
    counted: int | None = None
    """What a count says, if not the truth."""
    asked: list[q.QueryPoints] = field(default_factory=list)
    metadata: list[tuple[str, str]] = field(default_factory=list)
    any_would_do: list[bool] = field(default_factory=list)
    """Whether each call may take any connection."""
    under_way: int = 0
    most_under_way: int = 0

    # What `Points` sees

    def points(self, **options: Any) -> Points:
        return Points(Endpoint("http://fake:6333"), connections=self, **options)  # type: ignore[arg-type]

    def state(self, **strict: Any) -> CollectionState:
        """The collection as `Admin` shows it, with the limits that `strict` names or that the server has."""
        limits = {
            "enabled": True,
            "max_query_limit": self.most,
            "condition_max_size": self.most_ids,
            "search_allow_exact": self.exact_allowed,
        }
        schema = Schema((DenseVector("", 4, Distance.DOT),), shard_number=self.shards)
        config = {"params": {}, "strict_mode_config": limits | strict}
        return CollectionState(
            "docs", schema, config, {}, "green", len(self.versions), 0, 0, Marks.read("docs", {})
        )

    async def next(self, *, any_will_do: bool) -> FakeQdrant:
        self.any_would_do.append(any_will_do)
        return self

    def unary_unary(self, path: str, response_deserializer: Callable[[bytes], Any]) -> Callable[..., Any]:
        answer = {"Query": self._query, "Scroll": self._scroll, "Count": self._count, "Get": self._get}[
            path.rpartition("/")[2]
        ]

        async def call(body: bytes, *, timeout: float, metadata: Iterable[tuple[str, str]]) -> Any:
            self.metadata = list(metadata)
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            try:
                found = response_deserializer(answer(body))
                if self.stuck is not None and len(self.asked) > self.stuck:
                    await asyncio.Event().wait()
                await asyncio.sleep(0)
                return found
            finally:
                self.under_way -= 1

        return call

    # What it answers

    def _count(self, _: bytes) -> bytes:
        count = len(self.versions) if self.counted is None else self.counted
        return bytes(q.CountResponse(result=q.CountResult(count=count)).SerializeToString())

    def _get(self, body: bytes) -> bytes:
        request = q.GetPoints.FromString(body)
        found = [each for each in request.ids if plain(each) in self.versions]
        return bytes(q.GetResponse(result=[q.RetrievedPoint(id=each) for each in found]).SerializeToString())

    def _scroll(self, body: bytes) -> bytes:
        request = q.ScrollPoints.FromString(body)
        self._check(request.limit)
        found = self._matching(request.filter)
        if request.HasField("offset"):
            found = [i for i in found if in_order(i) >= in_order(plain(request.offset))]
        page, rest = found[: request.limit], found[request.limit :]
        answer = q.ScrollResponse(result=[q.RetrievedPoint(id=point_id(i)) for i in page])
        if rest:
            answer.next_page_offset.CopyFrom(point_id(rest[0]))
        return bytes(answer.SerializeToString())

    def _query(self, body: bytes) -> bytes:
        request = q.QueryPoints.FromString(body)
        self.asked.append(request)
        self._check_query(request)
        condition, limit = request.filter, request.limit
        if request.query.HasField("formula"):
            condition, limit = request.prefetch[0].filter, request.prefetch[0].limit
        fetched = [self._fetched(shard, condition)[:limit] for shard in range(self.shards)]
        if self.while_answering is not None:
            happening, self.while_answering = self.while_answering, None
            happening(self)
        share = self._share(request)
        rows = [i for each in fetched for i in [i for i in each if i in self.versions][:share]]
        scored = [
            q.ScoredPoint(id=point_id(i), score=1.0, version=self.versions[i]) for i in rows[: request.limit]
        ]
        return bytes(q.QueryResponse(result=scored, time=0.1).SerializeToString())

    def _share(self, request: q.QueryPoints) -> int:
        if request.params.exact or self.shards == 1 or request.limit < UNDERSAMPLED_FROM:
            return int(request.limit)
        return ceil(1.2 * request.limit / self.shards)

    def _fetched(self, shard: int, condition: q.Filter) -> list[PointId]:
        return [i for i in self._matching(condition) if i in self.twice or self._shard_of(i) == shard]

    def _shard_of(self, point: PointId) -> int:
        """Most points lie on the first shard."""
        return int(slice_of(point, 10 * self.shards)) % self.shards if slice_of(point, 3) == 0 else 0

    def _matching(self, condition: q.Filter) -> list[PointId]:
        """The points that fulfil a filter, in the order of their ids."""
        tests = [self._test(each) for each in condition.must]
        return sorted((i for i in self.versions if all(test(i) for test in tests)), key=in_order)

    def _test(self, condition: q.Condition) -> Callable[[PointId], bool]:
        kind = condition.WhichOneof("condition_one_of")
        if kind == "slice":
            total, index = condition.slice.total, condition.slice.index
            return lambda point: not self.knows_slices or slice_of(point, total) == index
        if kind == "has_id":
            return {plain(each) for each in condition.has_id.has_id}.__contains__
        if kind == "filter":
            return set(self._matching(condition.filter)).__contains__
        raise AssertionError(f"an unexpected condition: {condition}")

    def _check_query(self, request: q.QueryPoints) -> None:
        if request.query.HasField("formula") and not self.knows_formula:
            raise refusal("Wrong input: unknown query")
        if request.params.exact and not self.exact_allowed:
            raise refusal("Forbidden: Exact search disabled!. Help: Set exact=false.")
        for each in (request, *request.prefetch):
            self._check(each.limit)
            sizes = [len(c.has_id.has_id) for c in each.filter.must]
            if self.most_ids is not None and max(sizes, default=0) > self.most_ids:
                raise refusal(f"Forbidden: Condition size limit reached ({max(sizes)} > {self.most_ids}).")

    def _check(self, limit: int) -> None:
        if self.most is not None and limit > self.most:
            raise refusal(f'Forbidden: Limit exceeded {limit} > {self.most} for "limit".')


def refusal(text: str) -> AioRpcError:
    return AioRpcError(grpc.StatusCode.INVALID_ARGUMENT, Metadata(), Metadata(), text)


def point_id(point: PointId) -> q.PointId:
    return q.PointId.FromString(wire.raw_id(point))


def plain(message: q.PointId) -> PointId:
    return wire.plain_id(message.SerializeToString())


def in_order(point: PointId) -> tuple[bool, int, str]:
    return (isinstance(point, str), point if isinstance(point, int) else 0, str(point))
