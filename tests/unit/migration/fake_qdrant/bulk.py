"""The server's gRPC interface for points: a request to one peer, and its answer.

Requests are read with Qdrant's own messages where filters and queries come in every shape, and with the raw ones
where points pass as bytes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from qdrant_client import grpc as qdrant

from teal.domain.schema import Datatype
from teal.qdrant import wire
from teal.qdrant.wire import RawId
from tests.unit.migration.fake_qdrant import filters
from tests.unit.migration.fake_qdrant.answers import Refused, Write
from tests.unit.migration.fake_qdrant.replica import Change, Stored
from tests.unit.migration.fake_qdrant.rest import How, admit_and_send, delete_by, dropped
from tests.unit.migration.fake_qdrant.server import FakeQdrant

UNDERSAMPLED_FROM = 128
"""The limit of a query from which on a server takes it that every shard has its share of what is found."""


class Bulk:
    """What `peer` answers."""

    def __init__(self, server: FakeQdrant, peer: int, token: str | None) -> None:
        self._server, self._peer, self._token = server, peer, token
        self.write: Write | None = None

    def answer(self, method: str, body: bytes) -> Any:
        """A message of the method's own type; raises `Refused`."""
        return getattr(self, f"_{method.lower()}")(body)

    def _there(self, collection: str, kind: str) -> tuple[str, dict[RawId, Stored]]:
        name = self._server.resolve(collection, self._peer)
        if name not in self._server.view(self._peer).collections:
            raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")
        return name, self._server.read(name, kind, self._peer, self._token)

    def _limit(self, name: str, limit: int) -> None:
        strict = self._server.strict_mode(name, self._peer)
        most = strict.get("max_query_limit") if strict.get("enabled") else None
        if most is not None and limit > most:
            raise Refused(400, f'Bad request: Limit exceeded {limit} > {most} for "limit".')

    def _scroll(self, body: bytes) -> Any:
        request = qdrant.ScrollPoints.FromString(body)
        name, there = self._there(request.collection_name, "scroll")
        self._limit(name, request.limit)
        meant = filters.of_grpc(request.filter)
        start = _in_order(request.offset.SerializeToString()) if request.HasField("offset") else (0, 0)
        left = sorted((p for p in there if meant(p, there[p]) and _in_order(p) >= start), key=_in_order)
        size, found = min(request.limit, self._server.page), wire.ScrollResponse()
        for point in left[:size]:
            found.result.add(id=point)
        if len(left) > size:
            found.next_page_offset = left[size]
        return found

    def _get(self, body: bytes) -> Any:
        request, found = wire.GetPoints.FromString(body), wire.GetResponse()
        whole = qdrant.GetPoints.FromString(body)
        if whole.HasField("read_consistency"):
            there = self._server.agreed(self._server.resolve(request.collection_name, self._peer))
        else:
            _, there = self._there(request.collection_name, "get")
        for point in request.ids:
            if point in there:
                payload = there[point].payload if whole.with_payload.enable else ()
                vectors = there[point].vectors if whole.with_vectors.enable else b""
                found.result.add(id=point, payload=payload, vectors=vectors)
        return found

    def _count(self, body: bytes) -> Any:
        request = qdrant.CountPoints.FromString(body)
        _, there = self._there(request.collection_name, "count")
        meant = filters.of_grpc(request.filter)
        count = sum(meant(point, stored) for point, stored in there.items())
        return qdrant.CountResponse(result=qdrant.CountResult(count=count))

    def _query(self, body: bytes) -> Any:
        request = qdrant.QueryPoints.FromString(body)
        if request.collection_name in self._server.unsearchable:
            raise Refused(400, "no search is answered")
        name, there = self._there(request.collection_name, "query")
        self._limit(name, request.limit)
        strict = self._server.strict_mode(name, self._peer)
        if request.params.exact and strict.get("enabled") and strict.get("search_allow_exact") is False:
            raise Refused(400, "Bad request: Exact search disabled!. Help: Set exact=false.")
        meant = filters.of_grpc(request.filter)
        there = {point: stored for point, stored in there.items() if meant(point, stored)}
        if request.query.WhichOneof("variant") == "formula":
            scored = self._by_formula(name, request, there)
        else:
            scored = self._by_nearest(name, request, there)
        result = [
            qdrant.ScoredPoint(id=qdrant.PointId.FromString(point), score=score, version=there[point].version)
            for score, point in scored[: request.limit]
        ]
        return qdrant.QueryResponse(result=result)

    def _by_formula(self, name: str, request: Any, there: dict[RawId, Stored]) -> list[tuple[float, RawId]]:
        """A constant over what the prefetch finds: in no order that means anything.

        With several shards and without `exact`, each shard is asked for its share of the limit alone.
        """
        (prefetch,) = request.prefetch
        self._limit(name, prefetch.limit)
        meant, shards = filters.of_grpc(prefetch.filter), self._server.shards[name]
        by_shard = shards.by_shard(sorted(point for point in there if meant(point, there[point])))
        shares = prefetch.limit >= UNDERSAMPLED_FROM and not request.params.exact
        most = prefetch.limit // len(shards.shards) if shares else prefetch.limit
        found = [point for points in by_shard.values() for point in points[:most]]
        return [(request.query.formula.expression.constant, point) for point in found[: prefetch.limit]]

    def _by_nearest(self, name: str, request: Any, there: dict[RawId, Stored]) -> list[tuple[float, RawId]]:
        nearest, sign = request.query.nearest, self._server.sign(name)
        rows = {p: row for p in there if (row := wire.read_dense(there[p].vectors, request.using)) is not None}
        if nearest.HasField("id"):
            own = nearest.id.SerializeToString()
            vector = rows.pop(own)
        else:
            vector = np.array(nearest.dense.data, dtype=np.float32)
        if self._server.state(name).schema.vectors[0].datatype is Datatype.UINT8:
            vector = np.trunc(vector)  # a query is stored like a point's vector
        scored = [(_score(row, vector, sign), point) for point, row in rows.items()]
        return sorted(scored, key=lambda each: (-sign * each[0], _in_order(each[1])))

    # Writing

    def _upsert(self, body: bytes) -> Any:
        request = wire.UpsertPoints.FromString(body)
        points = {p.id: Stored(tuple(p.payload), p.vectors) for p in request.points}
        name = self._physical(request)
        self._server._check(name, points)
        self._server.writing(name, points)
        split = self._server.shards[name].by_shard(list(points))
        changes = {s: _put({p: points[p] for p in ids}, request.update_mode) for s, ids in split.items()}
        cost = {s: len(ids) for s, ids in split.items()}
        self.write = admit_and_send(self._server, name, changes, cost, self._peer, _how(request))
        return _answer(wait=request.wait)

    def _delete(self, body: bytes) -> Any:
        request = qdrant.DeletePoints.FromString(body)
        name = self._physical(request)
        if request.points.HasField("filter"):
            meant = filters.of_grpc(request.points.filter)
            self.write = delete_by(self._server, name, meant, self._peer, _how(request))
            return _answer(wait=request.wait)
        ids = [each.SerializeToString() for each in request.points.points.ids]
        self._server.writing(name, dict.fromkeys(ids))
        split = self._server.shards[name].by_shard(ids)
        changes = {shard: dropped(points) for shard, points in split.items()}
        cost = {shard: len(points) for shard, points in split.items()}
        self.write = admit_and_send(self._server, name, changes, cost, self._peer, _how(request))
        return _answer(wait=request.wait)

    def _physical(self, request: Any) -> str:
        name: str = request.collection_name
        assert request.wait, "what is not waited for may be lost"
        assert name not in self._server.aliases, "by the physical name only"
        self._server._require(name)
        return name


def _put(points: dict[RawId, Stored], mode: Any) -> Change:
    """Each replica goes by what it has itself."""
    if mode == qdrant.UpdateMode.InsertOnly:
        return lambda there: {point: stored for point, stored in points.items() if point not in there}
    if mode == qdrant.UpdateMode.UpdateOnly:
        return lambda there: {point: stored for point, stored in points.items() if point in there}
    return lambda _: points


def _how(request: Any) -> How:
    return How(request.wait, float(getattr(request, "timeout", 0) or math.inf))


def _answer(*, wait: bool) -> Any:
    status = qdrant.UpdateStatus.Completed if wait else qdrant.UpdateStatus.Acknowledged
    return qdrant.PointsOperationResponse(result=qdrant.UpdateResult(status=status))


def _score(row: Any, vector: Any, sign: int) -> float:
    return float(np.dot(row, vector)) if sign > 0 else float(np.linalg.norm(row - vector))


def _in_order(raw: RawId) -> tuple[int, int | str]:
    plain = wire.plain_id(raw)
    return (0, plain) if isinstance(plain, int) else (1, plain)
