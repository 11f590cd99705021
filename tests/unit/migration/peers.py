"""A cluster over HTTP whose peers follow its decisions one after the other, for what has to happen in an order.

A peer learns of the next decision each time that it is asked `lag` times. `noticed` is told after every step
of a peer.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import httpx

from teal.domain.marks import Owner
from teal.qdrant.admin import Admin
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.pool import Server

Json = dict[str, Any]
ENDPOINT = Endpoint("http://q-0:6333")
NAME = "blue"


def config(strict: Json | None = None, factor: int = 1) -> Json:
    params = {
        "vectors": {"size": 4, "distance": "Dot"},
        "shard_number": 1,
        "replication_factor": 2,
        "write_consistency_factor": factor,
    }
    owner = Owner("uid", "", "ns", "docs", "docs", NAME, "rev", "v1", 0.0)
    return {"params": params, "metadata": {owner.key: owner.as_json()}, "strict_mode_config": strict}


class Cluster:
    """Peers 1, 2, … at q-0, q-1, …; the collection `blue` has one shard with a replica on each."""

    def __init__(self, peers: int = 2, *, lag: int = 2, strict: Json | None = None, factor: int = 1) -> None:
        self.shown = [config(strict, factor) for _ in range(peers)]
        self.aliases: list[dict[str, str]] = [{"docs": NAME} for _ in range(peers)]
        self.decisions: list[Callable[[int], None]] = []
        self.followed = [0] * peers
        self.lag, self.asked = lag, [0] * peers
        self.states = ["Active"] * peers
        self.sent: list[Json] = []
        self.alias_answers: list[Exception | None] = []
        self.pending: list[Callable[[int], None]] = []
        self.noticed: Callable[[], None] = lambda: None
        self.server = Server(ENDPOINT, admin=Admin(ENDPOINT, transport=httpx.MockTransport(self._answer)))

    def decide(self, decision: Callable[[int], None]) -> None:
        """The first peer follows at once: it is the one that answers."""
        self.decisions.append(decision)
        self._follow(0)

    def _follow(self, peer: int) -> None:
        while self.followed[peer] < len(self.decisions):
            self.decisions[self.followed[peer]](peer)
            self.followed[peer] += 1
            self.noticed()
            if peer:
                return

    def _answer(self, request: httpx.Request) -> httpx.Response:
        peer = int(request.url.host.partition("-")[2])
        path = request.url.path
        if request.method == "GET":
            self.asked[peer] += 1
            if self.asked[peer] % self.lag == 0:
                self._follow(peer)
        return httpx.Response(
            200, json={"result": self._result(request.method, path, peer, request), "status": "ok"}
        )

    def _result(self, method: str, path: str, peer: int, request: httpx.Request) -> Any:
        match method, path:
            case "GET", "/cluster":
                listed = {str(each + 1): {"uri": f"http://q-{each}:6335"} for each in range(len(self.shown))}
                raft = {"commit": len(self.decisions)}
                return {"status": "enabled", "peer_id": peer + 1, "peers": listed, "raft_info": raft}
            case "GET", "/aliases":
                found = self.aliases[peer].items()
                return {"aliases": [{"alias_name": a, "collection_name": n} for a, n in found]}
            case "GET", "/collections/blue/cluster":
                remote = [
                    {"shard_id": 0, "peer_id": each + 1, "state": state} for each, state in enumerate(self.states)
                ]
                return {"peer_id": peer + 1, "local_shards": [], "remote_shards": remote, "shard_transfers": []}
            case "GET", _:
                return {"config": copy.deepcopy(self.shown[peer]), "status": "green", "payload_schema": {}}
            case "POST", "/collections/aliases":
                return self._alias(json.loads(request.content))
        self.sent.append(json.loads(request.content))
        self._patch(json.loads(request.content))
        return True

    def _patch(self, body: Json) -> None:
        def apply(peer: int) -> None:
            shown = self.shown[peer]
            shown["strict_mode_config"] = (shown["strict_mode_config"] or {}) | body.get("strict_mode_config", {})
            shown["params"] |= body.get("params", {})
            marks = shown["metadata"] | body.get("metadata", {})
            shown["metadata"] = {key: value for key, value in marks.items() if value is not None}

        self.decide(apply)

    def _alias(self, body: Json) -> Any:
        action = body["actions"][0]["create_alias"]
        name = action["collection_name"]

        def apply(peer: int) -> None:
            self.aliases[peer]["docs"] = name

        self.sent.append({"docs": name})
        failure = self.alias_answers.pop(0) if self.alias_answers else None
        if failure is not None:
            self.pending.append(apply)
            raise failure
        # Requests of one peer are decided in their order.
        self.commit_late()
        self.decide(apply)
        return True

    def commit_late(self) -> None:
        """What had no answer is decided now."""
        pending, self.pending = self.pending, []
        for decision in pending:
            self.decide(decision)
