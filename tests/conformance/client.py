"""Plain calls: REST by httpx, gRPC by the stubs that qdrant-client ships, nothing in between.

The suite compares what servers answer, so nothing here retries, caches or mends an answer. A JSON body is sent
as `json.dumps` writes it, because servers name the column of a mistake.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc
import httpx
from qdrant_client import grpc as q

Json = Any
PointId = int | str


@dataclass(frozen=True)
class Answer:
    """One REST answer: its status, its JSON (or text, when it is no JSON) and its headers."""

    status: int
    body: Json
    headers: Mapping[str, str]

    @property
    def result(self) -> Json:
        """What a successful call returned; fails the test when the call did not succeed."""
        assert self.status == 200, f"{self.status}: {self.body}"
        return self.body["result"]

    @property
    def error(self) -> str:
        """The text of a refusal; fails the test when the call was not refused."""
        assert self.status >= 400, f"{self.status}: {self.body}"
        text: str = self.body["status"]["error"]
        return text


class Rest:
    """Calls to one server's REST port. Paths begin with a slash; `c` is a collection or an alias.

    Only `call`, `send`, `change_aliases` and `try_upsert` let a refusal through; the others fail the test.
    """

    def __init__(self, url: str, api_key: str | None = None) -> None:
        self._http = httpx.Client(
            base_url=url,
            headers={"api-key": api_key} if api_key else {},
            timeout=60,
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def call(self, method: str, path: str, body: Json = None) -> Answer:
        """Send one request, whatever it answers."""
        content = None if body is None else json.dumps(body)
        return self.send(method, path, content)

    def send(
        self, method: str, path: str, content: str | None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request with this very text as its body."""
        headers = {**(headers or {}), **({} if content is None else {"content-type": "application/json"})}
        reply = self._http.request(method, path, content=content, headers=headers)
        is_json = reply.headers.get("content-type", "").startswith("application/json")
        return Answer(reply.status_code, reply.json() if is_json else reply.text, reply.headers)

    def ok(self, method: str, path: str, body: Json = None) -> Json:
        """Send one request that must succeed, and return its `result`."""
        return self.call(method, path, body).result

    def version(self) -> tuple[int, int]:
        """The server's (major, minor), as it says."""
        major, minor, *_ = self.call("GET", "/").body["version"].split(".")
        return int(major), int(minor)

    def create(self, c: str, **config: Json) -> None:
        """Create a collection that does not exist yet."""
        assert self.ok("PUT", f"/collections/{c}", config) is True

    def patch(self, c: str, **config: Json) -> None:
        """Change a collection's configuration."""
        assert self.ok("PATCH", f"/collections/{c}", config) is True

    def drop(self, c: str) -> bool:
        """Whether there was such a collection to drop."""
        dropped: bool = self.ok("DELETE", f"/collections/{c}")
        return dropped

    def collections(self) -> set[str]:
        """The names of all collections on the server."""
        return {entry["name"] for entry in self.ok("GET", "/collections")["collections"]}

    def info(self, c: str) -> Json:
        """`GET /collections/{c}`: status, counts, `config`, `payload_schema`."""
        return self.ok("GET", f"/collections/{c}")

    def try_upsert(self, c: str, points: Sequence[Json], **options: Json) -> Answer:
        """An upsert that waits, and whatever it answers."""
        return self.call("PUT", f"/collections/{c}/points?wait=true", {"points": points, **options})

    def upsert(self, c: str, points: Sequence[Json], **options: Json) -> Json:
        return self.try_upsert(c, points, **options).result

    def delete(self, c: str, *ids: PointId) -> Json:
        return self.ok("POST", f"/collections/{c}/points/delete?wait=true", {"points": ids})

    def set_payload(self, c: str, ids: Sequence[PointId], payload: Json) -> Json:
        body = {"payload": payload, "points": ids}
        return self.ok("POST", f"/collections/{c}/points/payload?wait=true", body)

    def index(self, c: str, field: str, schema: Json) -> Json:
        """Create a payload index."""
        body = {"field_name": field, "field_schema": schema}
        return self.ok("PUT", f"/collections/{c}/index?wait=true", body)

    def drop_index(self, c: str, field: str) -> Json:
        return self.ok("DELETE", f"/collections/{c}/index/{field}?wait=true")

    def empty(self, c: str) -> None:
        """Delete all points and all payload indexes."""
        self.ok("POST", f"/collections/{c}/points/delete?wait=true", {"filter": {}})
        for field in self.info(c)["payload_schema"]:
            self.drop_index(c, field)

    def scroll(self, c: str, **options: Json) -> Json:
        """One page: `{"points": [...], "next_page_offset": id | null}`."""
        return self.ok("POST", f"/collections/{c}/points/scroll", options)

    def ids(self, c: str, filter: Json = None) -> list[PointId]:  # noqa: A002
        """The ids (that match) in scroll order, at most 1,000 of them."""
        page = self.scroll(c, limit=1_000, with_payload=False, filter=filter)
        return [point["id"] for point in page["points"]]

    def retrieve(self, c: str, *ids: PointId) -> dict[PointId, Json]:
        """These points by id, with payload and vectors; the missing ones are absent."""
        body = {"ids": ids, "with_payload": True, "with_vector": True}
        return {point["id"]: point for point in self.ok("POST", f"/collections/{c}/points", body)}

    def count(self, c: str, filter: Json = None) -> int:  # noqa: A002
        """The exact number of points (that match)."""
        body = {"exact": True} if filter is None else {"exact": True, "filter": filter}
        number: int = self.ok("POST", f"/collections/{c}/points/count", body)["count"]
        return number

    def query(self, c: str, query: Json, **options: Json) -> list[Json]:
        """The scored points of one query."""
        body = {"query": query, **options}
        points: list[Json] = self.ok("POST", f"/collections/{c}/points/query", body)["points"]
        return points

    def versions(self, c: str, ids: Iterable[PointId], probe: Json, **options: Json) -> dict[PointId, int]:
        """The version of each of `ids` that exists: an exact scored query for those ids and nothing else."""
        wanted = list(ids)
        found = self.query(
            c,
            probe,
            filter={"must": [{"has_id": wanted}]},
            params={"exact": True},
            limit=len(wanted),
            with_payload=False,
            **options,
        )
        return {point["id"]: point["version"] for point in found}

    def aliases(self, prefix: str) -> dict[str, str]:
        """Alias to collection, for aliases whose name starts with `prefix`."""
        listed = self.ok("GET", "/aliases")["aliases"]
        return {a["alias_name"]: a["collection_name"] for a in listed if a["alias_name"].startswith(prefix)}

    def change_aliases(self, *actions: Json) -> Answer:
        return self.call("POST", "/collections/aliases", {"actions": actions})

    def point_alias(self, alias: str, c: str) -> None:
        """One `create_alias`: the alias points at `c` from then on, wherever it pointed before."""
        action = {"create_alias": {"alias_name": alias, "collection_name": c}}
        assert self.change_aliases(action).result is True

    def update_queues(self, c: str) -> list[tuple[int, int]]:
        """(`op_num`, `length`) of each local shard's update queue, from telemetry."""
        collections = self.ok("GET", "/telemetry?details_level=3")["collections"]["collections"]
        (entry,) = (entry for entry in collections if entry["id"] == c)
        queues = [shard["local"]["update_queue"] for shard in entry["shards"]]
        return [(queue["op_num"], queue["length"]) for queue in queues]

    def is_idle(self, c: str) -> bool:
        """Green, nothing queued for writing, nothing running or queued in the optimizer."""
        info, work = self.info(c), self.ok("GET", f"/collections/{c}/optimizations")
        return (
            info["status"] == "green"
            and info["update_queue"]["length"] == 0
            and not work["running"]
            and work["summary"]["queued_optimizations"] == 0
        )


class Grpc:
    """The compiled stubs on one channel; an error is the `grpc.RpcError` that the server's status makes."""

    def __init__(self, address: str, api_key: str | None = None, *, tls: bool = False) -> None:
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        if tls:
            self._channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(), options)
        else:
            self._channel = grpc.insecure_channel(address, options)
        self._metadata = (("api-key", api_key),) if api_key else ()
        self.points = q.PointsStub(self._channel)
        self.collections = q.CollectionsStub(self._channel)
        self.service = q.QdrantStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def call(self, method: Any, request: Any, **metadata: str) -> Any:
        """`call(grpc.points.Scroll, q.ScrollPoints(...))`, with the API key and a deadline of a minute."""
        return method(request, metadata=(*self._metadata, *metadata.items()), timeout=60)
