"""Barriers on one collection, and looks at the numbers of its replicas: what `domain.rest` reasons about.

A barrier counts as passed only if every shard has answered that it is applied. One that was refused or had no
answer may have reached some shards; it is counted as unsure, and nothing is proved across it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teal.domain.epoch import Epoch, Replica
from teal.domain.errors import TerminalError, TransientError
from teal.domain.rest import Numbers, ReplicaKey
from teal.qdrant.admin import Admin
from teal.qdrant.collection import parse_update_queues
from teal.qdrant.peers import Peer, Peers
from teal.qdrant.together import all_of

TRANSFER = "in transfer"

Json = Mapping[str, Any]


class Barriers:
    """The barriers of one attempt on the collection `name`, through these peers."""

    def __init__(self, admin: Admin, name: str, peers: Peers) -> None:
        self._admin = admin
        self._name = name
        self.peers = peers
        self.passed = 0
        self.unsure = 0

    async def barrier(self, peer: Peer | None = None) -> bool:
        """Whether it has passed; false if it was refused, or not answered."""
        root = (peer or self.peers.found[0]).root
        try:
            if await self._admin.barrier(self._name, root):
                self.passed += 1
                return True
        except TransientError as error:
            if error.reason == "CollectionGone":
                raise
        except TerminalError as error:
            if error.reason == "QdrantUnauthorized":
                raise
        self.unsure += 1
        return False

    async def look(self) -> Numbers | None:
        """The numbers of all replicas; `None` if the server does not tell them.

        The epoch is read before and after them, so two looks of one epoch enclose one.
        """
        before = await self._placed()
        told = await all_of(self._admin.telemetry(peer.root) for peer in self.peers.found)
        after = await self._placed()
        op_nums: dict[ReplicaKey, int] = {}
        queued, starts, missing = 0, [], list(self.peers.missing)
        for peer, answer in zip(self.peers.found, told, strict=True):
            problem = _another(peer, answer)
            queues = parse_update_queues(self._name, peer.root, answer) if answer is not None else None
            if problem or answer is None or queues is None:
                missing.append(problem or f"peer {peer.id} does not tell op_num")
                continue
            op_nums.update({(peer.id, shard): number for (_, shard), number in queues.op_nums.items()})
            queued += queues.queued
            starts.append((peer.id, _started(answer)))
        if not op_nums:
            return None
        epochs = [_epoch(each, starts, self._admin.counted_by) for each in (before, after)]
        epoch = epochs[1] if epochs[0] and epochs[1] and epochs[0].same_as(epochs[1]) else None
        return Numbers(op_nums, queued, self.passed, self.unsure, epoch, tuple(missing))

    async def replicas(self) -> tuple[Replica, ...] | None:
        """Where the replicas are, and in which state; `None` if the server does not tell."""
        found = await self._admin.placement(self._name, self.peers.found[0].root)
        return None if found is None else replicas_of(found)

    async def _placed(self) -> tuple[tuple[Replica, ...] | None, int | None, int]:
        replicas = await self.replicas()
        decisions = self._admin.decisions
        commit = None
        if self.peers.commit is not None:
            raft = (await self._admin.cluster(self.peers.found[0].root)).get("raft_info") or {}
            commit = int(raft.get("commit") or 0)
        return replicas, commit, decisions


def _epoch(
    placed: tuple[tuple[Replica, ...] | None, int | None, int], starts: list[tuple[int, str]], counted_by: str
) -> Epoch | None:
    replicas, commit, decisions = placed
    if replicas is None:
        return None
    own = decisions if commit is not None else 0
    return Epoch("", replicas, tuple(starts), commit, own, counted_by=counted_by)


def replicas_of(placement: Json) -> tuple[Replica, ...]:
    """From the `result` of `GET /collections/{name}/cluster`; a shard that is being moved is not at rest."""
    own = int(placement["peer_id"])
    local = [Replica(int(s["shard_id"]), own, str(s["state"])) for s in placement["local_shards"]]
    remote = [Replica(int(s["shard_id"]), int(s["peer_id"]), str(s["state"])) for s in placement["remote_shards"]]
    moving = [Replica(int(t["shard_id"]), int(t["to"]), TRANSFER) for t in placement.get("shard_transfers") or ()]
    return tuple(sorted([*local, *remote, *moving]))


def _another(peer: Peer, told: Json | None) -> str | None:
    """Telemetry names its peer, too: it must be the one that was meant."""
    status = ((told or {}).get("cluster") or {}).get("status") or {}
    answers = status.get("peer_id")
    if answers is None or not peer.id or int(answers) == peer.id:
        return None
    return f"at {peer.root} peer {answers} answers instead of peer {peer.id}"


def _started(told: Json) -> str:
    """What tells one process of a peer from the next one."""
    return f"{told.get('id')} {(told.get('app') or {}).get('startup', '')}".strip()
