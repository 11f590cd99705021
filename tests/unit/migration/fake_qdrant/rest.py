"""The server's REST interface: a request to one peer, and the `result` of its answer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from teal.qdrant import wire
from tests.unit.domain.qdrant_model import Qdrant
from tests.unit.migration.fake_qdrant import filters
from tests.unit.migration.fake_qdrant.answers import Refused, Write
from tests.unit.migration.fake_qdrant.limits import write_rate_limit
from tests.unit.migration.fake_qdrant.replica import Change, Stored
from tests.unit.migration.fake_qdrant.server import FIRST_PEER, FakeQdrant

Json = Mapping[str, Any]
P2P_PORT = 6335


class Rest:
    """What `peer` answers."""

    def __init__(self, server: FakeQdrant, peer: int, token: str | None) -> None:
        self._server, self._peer, self._token = server, peer, token
        self.write: Write | None = None
        """What has to be acknowledged before the answer is sent."""
        self._how = How()

    def answer(self, method: str, path: str, body: Json, params: Mapping[str, str]) -> Any:
        """The `result`; raises `Refused`."""
        self._how = How.of(params)
        self._server.advance()
        match (method, *map(unquote, path.strip("/").split("/"))):
            case ("GET", "collections"):
                return {"collections": [{"name": name} for name in sorted(self._view.collections)]}
            case ("GET", "aliases"):
                shown = [{"alias_name": a, "collection_name": name} for a, name in self._view.aliases.items()]
                return {"aliases": shown}
            case ("GET", "cluster"):
                return self._cluster()
            case ("GET", "telemetry"):
                return self._telemetry()
            case ("POST", "collections", "aliases"):
                return self._alias(body)
            case (_, "collections", name, *rest):
                return self._collection(method, name, rest, body)
        raise Refused(404, f"no route for {method} {path}")

    @property
    def _view(self) -> Qdrant:
        return self._server.view(self._peer)

    def _collection(self, method: str, name: str, rest: list[str], body: Json) -> Any:
        match (method, *rest):
            case ("GET",):
                return self._shown(name)
            case ("PUT",):
                return self._created(name, body)
            case ("PATCH",):
                self._server.patch(name, body)
            case ("DELETE",):
                return self._server._delete(name)
            case ("GET", "cluster"):
                return self._placement(name)
            case ("GET", "optimizations"):
                self._known(name)
                return {"running": [], "summary": {"queued_optimizations": 0}}
            case _:
                return self._below(method, name, rest, body)
        return True

    def _below(self, method: str, name: str, rest: list[str], body: Json) -> Any:
        match (method, *rest):
            case ("PUT", "index"):
                field, schema = body["field_name"], body["field_schema"]
                self._server.index(name, lambda model: model.create_index(name, field, schema))
            case ("DELETE", "index", field):
                self._server.index(name, lambda model: model.delete_index(name, field))
            case ("POST", "facet"):
                return self._facet(name, body)
            case ("POST", "points", what):
                return self._points(name, what, body)
            case (_, "snapshots", *parts):
                return self._snapshots(method, name, parts)
            case _:
                raise NotImplementedError(f"{method} {name} {rest}")
        return True

    def _known(self, name: str) -> None:
        if name not in self._view.collections or name not in self._server.shards:
            raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")

    # The cluster

    def _cluster(self) -> Any:
        server = self._server
        if server.peers == 1:
            return {"status": "disabled"}
        peers = {str(FIRST_PEER + peer): {"uri": f"http://peer-{peer}:{P2P_PORT}"} for peer in range(server.peers)}
        raft = {
            "term": 1,
            "commit": server.consensus.committed(self._peer),
            "pending_operations": 0,
            "is_voter": True,
        }
        return {"status": "enabled", "peer_id": FIRST_PEER + self._peer, "peers": peers, "raft_info": raft}

    def _telemetry(self) -> Any:
        """Of this peer alone."""
        server = self._server
        if not server.telemetry:
            raise Refused(404, "not told")
        listed = [
            {
                "id": name,
                "shards": [
                    {
                        "id": shard,
                        "local": {"update_queue": {"op_num": replica.op_num, "length": len(replica.queue)}},
                        "replicate_states": {str(FIRST_PEER + r.peer): r.state for r in shards.shards[shard]},
                    }
                    for shard, replica in shards.on(self._peer)
                ],
            }
            for name, shards in server.shards.items()
        ]
        app = {"name": "qdrant", "version": "1.19.0", "startup": server.started(self._peer)}
        return {"id": f"process-{self._peer}", "app": app, "collections": {"collections": listed}}

    def _placement(self, name: str) -> Any:
        self._known(name)
        shards = self._server.shards[name]
        local, remote = [], []
        for number, shard in enumerate(shards.shards):
            for replica in shard:
                found = {"shard_id": number, "state": replica.state}
                if replica.peer == self._peer:
                    local.append({**found, "points_count": len(replica.points)})
                else:
                    remote.append({**found, "peer_id": FIRST_PEER + replica.peer})
        return {
            "peer_id": FIRST_PEER + self._peer,
            "shard_count": len(shards.shards),
            "local_shards": local,
            "remote_shards": remote,
            "shard_transfers": [],
        }

    # Collections

    def _shown(self, name: str) -> Any:
        name = self._server.resolve(name, self._peer)
        self._known(name)
        shards = self._server.shards[name]
        answer: dict[str, Any] = self._view.answer(name)
        count = len(self._server.read(name, "info", self._peer, self._token))
        answer["points_count"] = count
        answer["update_queue"] = {"length": sum(len(replica.queue) for replica in shards.replicas)}
        for index in answer["payload_schema"].values():
            index["points"] = count
        if name in self._server.broken:
            answer["optimizer_status"] = {"error": "no space left on device"}
        if shards.busy:
            shards.busy -= 1
            answer["status"] = "yellow"
        return answer

    def _created(self, name: str, body: Json) -> Any:
        if not self._server._create(name, body):
            raise Refused(409, f"Wrong input: Collection `{name}` already exists!")
        return True

    def _alias(self, body: Json) -> Any:
        (action,) = body["actions"]
        match action:
            case {"create_alias": {"alias_name": alias, "collection_name": name}}:
                self._known(name)
                self._server.change_alias(lambda model: _point(model, alias, name), self._peer)
            case {"delete_alias": {"alias_name": alias}}:
                self._server.change_alias(lambda model: model.delete_alias(alias), self._peer)
        return True

    def _snapshots(self, method: str, name: str, parts: list[str]) -> Any:
        kept = self._server.shards[name].snapshots if name in self._server.shards else []
        here = [each for each in kept if each.peer == self._peer]
        match (method, *parts):
            case ("POST",):
                return self._server.snapshot(name, self._peer).as_json()
            case ("GET",):
                self._known(name)
                return [each.as_json() for each in here]
            case ("DELETE", wanted):
                for each in here:
                    if each.name == wanted:
                        kept.remove(each)
                return True
        raise NotImplementedError(f"{method} snapshots {parts}")

    # Points

    def _points(self, name: str, what: str, body: Json) -> Any:
        name = self._server.resolve(name, self._peer)
        self._known(name)
        if what == "count":
            meant: Callable[..., bool] = filters.of_rest(body.get("filter"))
            there = self._server.read(name, "count", self._peer, self._token)
            return {"count": sum(meant(point, stored) for point, stored in there.items())}
        if what == "delete":
            return self._delete(name, body)
        raise NotImplementedError(what)

    def _facet(self, name: str, body: Json) -> Any:
        name = self._server.resolve(name, self._peer)
        self._known(name)
        meant = filters.of_rest(body.get("filter"))
        there = self._server.read(name, "facet", self._peer, self._token)
        told = (wire.payload_value(s.payload, body["key"]) for p, s in there.items() if meant(p, s))
        counts = Counter(value for value in told if value is not None).most_common(body["limit"])
        return {"hits": [{"value": value, "count": count} for value, count in counts]}

    def _delete(self, name: str, body: Json) -> Any:
        server = self._server
        if "points" in body:
            by_shard = server.shards[name].by_shard([wire.raw_id(each) for each in body["points"]])
            changes = {shard: dropped(points) for shard, points in by_shard.items()}
            cost = {shard: len(points) for shard, points in by_shard.items()}
            self.write = admit_and_send(server, name, changes, cost, self._peer, self._how)
        else:
            self.write = delete_by(server, name, filters.of_rest(body["filter"]), self._peer, self._how)
        return {"operation_id": 0, "status": "completed" if self._how.wait else "acknowledged"}


@dataclass(frozen=True)
class How:
    """When a write is answered."""

    wait: bool = False
    timeout: float = math.inf

    @classmethod
    def of(cls, params: Mapping[str, str]) -> How:
        """As the query of a URL tells it."""
        return cls(params.get("wait") == "true", float(params.get("timeout", math.inf)))


def delete_by(server: FakeQdrant, name: str, meant: filters.Meant, peer: int, how: How) -> Write:
    """By a filter: it is sent to every shard, and costs at least one point on each."""
    every = range(len(server.shards[name].shards))

    def change(there: Mapping[wire.RawId, Stored]) -> dict[wire.RawId, Stored | None]:
        return {point: None for point, stored in there.items() if meant(point, stored)}

    cost = {shard: max(1, len(change(server.shards[name].shards[shard][0].points))) for shard in every}
    return admit_and_send(server, name, dict.fromkeys(every, change), cost, peer, how)


def admit_and_send(
    server: FakeQdrant,
    name: str,
    changes: Mapping[int, Change],
    cost: Mapping[int, int],
    peer: int,
    how: How,
) -> Write:
    """Ask the limits, then do it; raises `Refused` where they refuse, or where too few replicas took it."""
    admitted = server.admit_shards(name, cost, peer)
    if admitted is None:
        raise Refused(429, _limited(write_rate_limit(server.strict_mode(name, peer)), cost))
    write = server.send(name, changes, wait=how.wait, admitted=admitted, timeout=how.timeout)
    if not admitted.acknowledges:
        raise Refused(429, _limited(None, cost))
    return write


def _limited(limit: int | None, cost: Mapping[int, int]) -> str:
    if limit is not None and any(points > limit for points in cost.values()):
        why = ", request larger than rate limiter capacity, please try to split your request"
    else:
        why = ": Operation requires more tokens than were available. Retry after 60s"
    return f"Rate limiting exceeded: Write rate limit exceeded{why}"


def dropped(points: list[wire.RawId]) -> Change:
    return lambda there: {point: None for point in points if point in there}


def _point(model: Qdrant, alias: str, name: str) -> None:
    if name in model.collections:
        model.point_alias(alias, name)
