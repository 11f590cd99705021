"""A Qdrant in memory, behind the real gateway: `Admin` and `Points` as they are, but for the one call to a server.

What is kept is what migrations are decided on: points as bytes, the number of each point's last change by shard,
`op_num`s, aliases that move at once, metadata that merges, and the limit on writes that a fence sets. Every call
goes through a `Line`, on which a test may delay it, lose it or its answer, or cut off the caller for ever.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import unquote

import httpx
import numpy as np
from qdrant_client import grpc as qdrant

from teal.domain.errors import HeldError, TransientError
from teal.domain.observed import CollectionState, Version
from teal.domain.schema import Datatype, Distance
from teal.qdrant import wire
from teal.qdrant.admin import Admin
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.errors import collection_gone
from teal.qdrant.points import _YES, Points
from teal.qdrant.pool import Server
from teal.qdrant.wire import RawId
from tests.unit.domain.qdrant_model import Qdrant

T = TypeVar("T")
Json = Mapping[str, Any]
PAGE = 7
"""Ids on a page of a scan, so that a few points take several pages."""
BUSY_LOOKS = 2
"""How often a collection shows that it is being optimised, after its configuration was changed."""

Effect = Callable[[], T]
Carry = Callable[[str, bool, Effect[Any]], Awaitable[Any]]
"""A line: (name of the call, whether it writes, what it does on the server) → its answer, or an error."""


@dataclass(frozen=True)
class Stored:
    """One point."""

    payload: tuple[bytes, ...]
    vectors: bytes
    version: int = 0


@dataclass
class Shards:
    """The points of one collection, and what has happened to them."""

    op_nums: list[int]
    points: dict[RawId, Stored] = field(default_factory=dict)
    tokens: list[int] = field(default_factory=list)
    busy: int = 0
    snapshots: list[Json] = field(default_factory=list)

    @classmethod
    def of(cls, config: Json) -> Shards:
        """Those of an empty collection."""
        number = int(config["params"]["shard_number"])
        return cls([0] * number, tokens=[1] * number)

    def shard(self, point: RawId) -> int:
        return zlib.crc32(point) % len(self.op_nums)

    def apply(self, changed: Mapping[RawId, Stored | None]) -> None:
        """One operation: its number becomes the version of every point that it touches."""
        for shard in {self.shard(point) for point in changed}:
            self.op_nums[shard] += 1
        for point, stored in changed.items():
            if stored is None:
                self.points.pop(point, None)
            else:
                self.points[point] = replace(stored, version=self.op_nums[self.shard(point)])


class FakeQdrant:
    """One server. `now` is its clock; `deleting` is asked before a collection goes.

    Faults: the calls in `ignored` are answered and do nothing, collections in `broken` have an optimizer that
    failed, names in `unsearchable` answer no search, and `lagging` adds a peer that shows no alias yet.

    `model`: what is there to begin with, each of its points as `make` makes it.
    """

    def __init__(
        self,
        now: Callable[[], float],
        model: Qdrant | None = None,
        make: Callable[[RawId, CollectionState], Stored] | None = None,
    ) -> None:
        self.model = model or Qdrant()
        self.shards = {name: Shards.of(each.config) for name, each in self.model.collections.items()}
        for name, each in self.model.collections.items():
            ids = [wire.raw_id(number) for number in each.points]
            self.write(name, {point: make(point, self.state(name)) for point in ids if make})
        self.telemetry = True
        self.now = now
        self.deleting: Callable[[str], None] = lambda _: None
        self.ignored: set[str] = set()
        self.broken: set[str] = set()
        self.unsearchable: set[str] = set()
        self.lagging = False

    # Looking

    @property
    def aliases(self) -> dict[str, str]:
        return self.model.aliases

    @property
    def names(self) -> list[str]:
        return sorted(self.model.collections)

    def resolve(self, name: str) -> str:
        return self.aliases.get(name, name)

    def state(self, name: str) -> CollectionState:
        return self.model.state(name)

    def points(self, name: str) -> dict[RawId, Stored]:
        return self.shards[name].points

    def shown(self) -> Any:
        """All that somebody else could see of it, for comparing before with after."""
        configs = {name: (each.config, each.indexes) for name, each in self.model.collections.items()}
        return configs, self.aliases, {name: (each.op_nums, each.points) for name, each in self.shards.items()}

    # Writing points

    def limited(self, name: str, points: Iterable[RawId]) -> bool:
        """Whether the limit on writes refuses these; one point a minute and shard is let through."""
        strict = self.model.collections[name].config.get("strict_mode_config") or {}
        limit = strict.get("write_rate_limit") if strict.get("enabled") else None
        if limit is None or limit > 1000:
            return False
        shards = self.shards[name]
        cost = [shards.shard(point) for point in points]
        if any(cost.count(shard) > shards.tokens[shard] for shard in cost):
            return True
        for shard in cost:
            shards.tokens[shard] -= 1
        return False

    def write(self, name: str, changed: Mapping[RawId, Stored | None]) -> None:
        if name not in self.shards:
            raise collection_gone(f"Collection `{name}` doesn't exist!")
        size = self.state(name).schema.vectors[0].size
        for stored in changed.values():
            row = wire.read_dense(stored.vectors, "") if stored else None
            if row is not None and len(row) != size:
                raise HeldError("PointsRefused", f"expected dim: {size}, got {len(row)}")
        self.shards[name].apply(changed)

    # Administration: one method for each call, by its name in `Admin`

    def _names(self) -> Any:
        return {"collections": [{"name": name} for name in self.names]}

    def _aliases(self) -> Any:
        shown = [{"alias_name": alias, "collection_name": name} for alias, name in self.aliases.items()]
        return {"aliases": shown}

    def _peers(self) -> Any:
        return {"status": "disabled"}

    def _collection(self, name: str) -> Any:
        if name not in self.shards:
            return None
        shards = self.shards[name]
        answer: dict[str, Any] = self.model.answer(name)
        answer["points_count"] = len(shards.points)
        for index in answer["payload_schema"].values():
            index["points"] = len(shards.points)
        if name in self.broken:
            answer["optimizer_status"] = {"error": "no space left on device"}
        if shards.busy:
            shards.busy -= 1
            answer["status"] = "yellow"
        return answer

    def _create(self, name: str, body: Json) -> Any:
        if not self.model.create(name, body):
            return None
        self.shards[name] = Shards.of(self.model.collections[name].config)
        return True

    def _patch(self, name: str, body: Json) -> Any:
        self._require(name)
        self.model.patch(name, body)
        self.shards[name].busy = BUSY_LOOKS
        self.shards[name].tokens = [1] * len(self.shards[name].op_nums)
        return True

    def _mark(self, name: str, body: Json) -> Any:
        self._require(name)
        self.model.mark(name, body["metadata"])
        return True

    def _delete(self, name: str) -> Any:
        if name not in self.shards:
            return False
        self.deleting(name)
        self.model.delete(name)
        del self.shards[name]
        return True

    def _create_index(self, name: str, _: str, body: Json) -> Any:
        self._require(name)
        self.model.create_index(name, body["field_name"], body["field_schema"])
        self._bump(name)
        return True

    def _delete_index(self, name: str, _: str, path: str) -> Any:
        self._require(name)
        self.model.delete_index(name, path)
        self._bump(name)
        return True

    def _bump(self, name: str) -> None:
        self.shards[name].op_nums = [number + 1 for number in self.shards[name].op_nums]

    def _count(self, name: str, *parts: Any) -> Any:
        self._require(name)
        body: Json = parts[-1]
        without = (body.get("filter") or {}).get("must_not") or ()
        ids = {wire.raw_id(each) for condition in without for each in condition.get("has_id", ())}
        vectors = [condition["has_vector"] for condition in without if "has_vector" in condition]
        counted = [
            point
            for point, stored in self.points(name).items()
            if point not in ids and not any(wire.has_vector(stored.vectors, vector) for vector in vectors)
        ]
        return {"count": len(counted)}

    def _facet(self, name: str, _: str, body: Json) -> Any:
        self._require(name)
        values = [wire.payload_value(stored.payload, body["key"]) for stored in self.points(name).values()]
        counts = Counter(value for value in values if value is not None).most_common(body["limit"])
        return {"hits": [{"value": value, "count": count} for value, count in counts]}

    def _point_alias(self, _: str, body: Json) -> Any:
        (action,) = body["actions"]
        alias, name = action["create_alias"]["alias_name"], action["create_alias"]["collection_name"]
        self._require(name)
        self.model.point_alias(alias, name)
        return True

    def _delete_alias(self, _: str, body: Json) -> Any:
        (action,) = body["actions"]
        self.aliases.pop(action["delete_alias"]["alias_name"], None)
        return True

    def _optimizations(self, name: str, *_: Any) -> Any:
        self._require(name)
        return {"running": [], "summary": {"queued_optimizations": 0}}

    def _telemetry(self) -> Any:
        if not self.telemetry:
            return None
        listed = [
            {
                "id": name,
                "shards": [
                    {"id": number, "local": {"update_queue": {"op_num": op_num, "length": 0}}}
                    for number, op_num in enumerate(shards.op_nums)
                ],
            }
            for name, shards in self.shards.items()
        ]
        return {"collections": {"collections": listed}}

    def _snapshot(self, name: str, *_: Any) -> Any:
        self._require(name)
        created = datetime.fromtimestamp(self.now(), UTC).strftime("%Y-%m-%dT%H:%M:%S")
        taken = {"name": f"{name}-{self.now():.6f}", "size": 1, "creation_time": created}
        self.shards[name].snapshots.append(taken)
        return taken

    def _delete_snapshot(self, name: str, _: str, snapshot: str) -> Any:
        self._require(name)
        self.shards[name].snapshots = [each for each in self.shards[name].snapshots if each["name"] != snapshot]
        return True

    def _placement(self, name: str, *_: Any) -> Any:
        self._require(name)
        shards = self.shards[name]
        counts = Counter(map(shards.shard, shards.points))
        local = [{"shard_id": n, "points_count": counts[n], "state": "Active"} for n in range(len(shards.op_nums))]
        return {"peer_id": 0, "local_shards": local, "remote_shards": []}

    def _snapshots(self, name: str, *_: Any) -> Any:
        return list(self.shards[name].snapshots) if name in self.shards else None

    def _require(self, name: str) -> None:
        if name not in self.shards:
            raise collection_gone(f"Not found: Collection `{name}` doesn't exist!")


class FakeAdmin(Admin):
    """Admin's methods, with a server in memory instead of HTTP."""

    def __init__(self, endpoint: Endpoint, server: FakeQdrant, carry: Carry) -> None:
        super().__init__(endpoint, transport=httpx.MockTransport(lambda _: httpx.Response(500)))
        self._server, self._carry = server, carry

    async def version(self) -> Version:
        return await self._carry("version", False, lambda: Version(1, 19, 0))

    async def time(self) -> float | None:
        return await self._carry("time", False, lambda: None)

    async def _call(self, kind: str, _: str, path: str, **given: Any) -> Any:
        parts = [unquote(part) for part in path.split("/")[2:]]
        body = [given["json"]] if given.get("json") is not None else []
        answer = (lambda *_: True) if kind in self._server.ignored else getattr(self._server, f"_{kind}")
        return await self._carry(kind, bool(given.get("write")), lambda: answer(*parts, *body))

    async def aliases_by_peer(self) -> dict[str, dict[str, str]]:
        late: dict[str, dict[str, str]] = {"http://qdrant-1:6333": {}} if self._server.lagging else {}
        return {**await super().aliases_by_peer(), **late}


class FakePoints(Points):
    """Points' methods, with a server in memory instead of gRPC."""

    def __init__(self, endpoint: Endpoint, server: FakeQdrant, carry: Carry) -> None:
        super().__init__(endpoint)
        self._server, self._carry = server, carry

    async def _id_page(self, collection: str, limit: int, offset: RawId | None, where: bytes | None = None) -> Any:
        return await super()._id_page(collection, min(limit, PAGE), offset, where)

    async def _call(self, kind: str, method: str, body: bytes, _: Any, *, write: bool, **__: Any) -> Any:
        return await self._carry(kind, write, lambda: getattr(self, f"_do_{method.lower()}")(body))

    def _in(self, collection: str) -> dict[RawId, Stored]:
        self._server._require(collection)
        return self._server.points(collection)

    def _do_scroll(self, body: bytes) -> Any:
        request = wire.ScrollPoints.FromString(body)
        there = self._in(request.collection_name)
        ordered = sorted((point for point in there if _passes(there[point], request.filter)), key=_in_order)
        start = _in_order(request.offset) if request.HasField("offset") else (0, 0)
        left = [point for point in ordered if _in_order(point) >= start]
        found = wire.ScrollResponse()
        for point in left[: request.limit]:
            found.result.add(id=point)
        if len(left) > request.limit:
            found.next_page_offset = left[request.limit]
        return found

    def _do_get(self, body: bytes) -> Any:
        request, found = wire.GetPoints.FromString(body), wire.GetResponse()
        there = self._in(request.collection_name)
        for point in request.ids:
            if point in there:
                payload = there[point].payload if request.with_payload == _YES else ()
                vectors = there[point].vectors if request.with_vectors == _YES else b""
                found.result.add(id=point, payload=payload, vectors=vectors)
        return found

    def _do_query(self, body: bytes) -> Any:
        request, found = wire.QueryPoints.FromString(body), wire.QueryResponse()
        if request.collection_name in self._server.unsearchable:
            raise HeldError("QdrantRefused", "no search is answered")
        name = self._server.resolve(request.collection_name)
        there = self._in(name)
        query = qdrant.Query.FromString(request.query).nearest
        wanted = [list(condition.has_id.has_id) for condition in request.filter.must]
        ids = [point for point in (wanted[0] if wanted else there) if point in there]
        if query.HasField("id"):
            own = query.id.SerializeToString()
            vector = wire.read_dense(there[own].vectors, "")
            ids = [point for point in ids if point != own]
        else:
            vector = np.array(query.dense.data, dtype=np.float32)
        kind = self._server.state(name).schema.vectors[0]
        if kind.datatype is Datatype.UINT8:
            vector = np.trunc(vector)  # a query is stored like a point's vector
        sign = 1 if kind.distance in (Distance.COSINE, Distance.DOT) else -1
        rows = {point: wire.read_dense(there[point].vectors, "") for point in ids}
        scored = [(_score(row, vector, sign), point) for point, row in rows.items() if row is not None]
        for score, point in sorted(scored, key=lambda each: (-sign * each[0], _in_order(each[1])))[
            : request.limit
        ]:
            found.result.add(id=point, score=score, version=there[point].version)
        return found

    def _do_upsert(self, body: bytes) -> Any:
        request = wire.UpsertPoints.FromString(body)
        assert request.wait, "what is not waited for may be lost"
        points = {p.id: Stored(tuple(p.payload), p.vectors) for p in request.points}
        there = self._in(request.collection_name)
        if request.update_mode == qdrant.UpdateMode.InsertOnly:
            points = {point: stored for point, stored in points.items() if point not in there}
        if request.update_mode == qdrant.UpdateMode.UpdateOnly:
            points = {point: stored for point, stored in points.items() if point in there}
        return self._written(request.collection_name, points)

    def _do_delete(self, body: bytes) -> Any:
        request = wire.DeletePoints.FromString(body)
        assert request.wait, "what is not waited for may be lost"
        return self._written(request.collection_name, dict.fromkeys(request.points.points.ids))

    def _written(self, name: str, changed: Mapping[RawId, Stored | None]) -> Any:
        assert name not in self._server.aliases, "by the physical name only"
        self._in(name)
        if self._server.limited(name, changed):
            raise TransientError("QdrantBusy", "Rate limiting exceeded", 60.0)
        self._server.write(name, changed)
        return qdrant.PointsOperationResponse(result=qdrant.UpdateResult(status=qdrant.UpdateStatus.Completed))


def server_of(fake: FakeQdrant, carry: Carry, clock: Callable[[], float]) -> Callable[[Endpoint], Server]:
    """How a pool makes a `Server` that talks to `fake`."""

    def make(endpoint: Endpoint) -> Server:
        server = Server(endpoint, clock=clock, admin=FakeAdmin(endpoint, fake, carry))
        server.points = FakePoints(endpoint, fake, carry)
        return server

    return make


def _score(row: Any, vector: Any, sign: int) -> float:
    if sign > 0:
        return float(np.dot(row, vector))
    return float(np.linalg.norm(row - vector))


def _passes(stored: Stored, where: bytes) -> bool:
    """Whether a point passes a filter: the Qdrant in memory knows those for missing vectors alone."""
    asked = qdrant.Filter.FromString(where)
    assert not asked.must, "the Qdrant in memory does not filter by that"
    return not any(wire.has_vector(stored.vectors, each.has_vector.has_vector) for each in asked.must_not)


def _in_order(raw: RawId) -> tuple[int, int | str]:
    plain = wire.plain_id(raw)
    return (0, plain) if isinstance(plain, int) else (1, plain)
