"""Where the shards of one collection are, and what reaches their replicas.

Which replica answers a read: with an affinity token the same one for all peers, as long as the readable replicas
stay; without one the asked peer's own, unless it wanders to another one.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from teal.qdrant.wire import RawId
from tests.unit.migration.fake_qdrant.replica import Change, Operation, Pace, Replica, Stored

Shard = list[Replica]
Wander = Callable[[Sequence[Replica]], Replica | None]
"""Which of these readable replicas answers a read that nothing pins; `None`: as a peer at rest chooses."""


@dataclass(frozen=True)
class Snapshot:
    """What one peer keeps of a collection: its own shards."""

    name: str
    peer: int
    created: str
    points: Mapping[RawId, Stored]

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "size": len(self.points), "creation_time": self.created}


@dataclass
class Shards:
    """The points of one collection, and what has happened to them."""

    shards: list[Shard]
    busy: int = 0
    snapshots: list[Snapshot] = field(default_factory=list)

    @classmethod
    def place(cls, shards: int, replicas: int, peers: int, first: int) -> Shards:
        placed = [[Replica((first + s + r) % peers) for r in range(min(replicas, peers))] for s in range(shards)]
        return cls(placed)

    @property
    def op_nums(self) -> list[int]:
        return [replica.op_num for replica in self.replicas]

    @property
    def replicas(self) -> list[Replica]:
        return [replica for shard in self.shards for replica in shard]

    def of(self, point: RawId) -> int:
        """The shard that a point belongs to."""
        return zlib.crc32(point) % len(self.shards)

    def by_shard(self, points: Collection[RawId]) -> dict[int, list[RawId]]:
        found: dict[int, list[RawId]] = {}
        for point in points:
            found.setdefault(self.of(point), []).append(point)
        return found

    def on(self, peer: int) -> list[tuple[int, Replica]]:
        """A peer's replicas, with their shards."""
        return [(s, replica) for s, shard in enumerate(self.shards) for replica in shard if replica.peer == peer]

    def advance(self, now: float) -> None:
        for replica in self.replicas:
            replica.advance(now)

    def send(self, change: Change, to: Collection[Replica], *, wait: bool, pace: Pace, now: float) -> Operation:
        """One operation, on its way to these replicas."""
        operation = Operation(change, wait, pace.work, pace.counting)
        for replica in to:
            replica.send(operation, now + pace.travel.get(replica.peer, 0.0))
            replica.advance(now)
        return operation

    def put_in_place(self, shard: int, old: Replica, new: Replica) -> None:
        """Nobody waits for the old one any more."""
        self.shards[shard][self.shards[shard].index(old)] = new
        old.state = "Gone"

    # Reading

    def readable(self, shard: int, down: Collection[int]) -> list[Replica]:
        return [replica for replica in self.shards[shard] if replica.readable and replica.peer not in down]

    @property
    def copies(self) -> list[dict[RawId, Stored]]:
        """The collection as each readable replica will have it when all that was sent is applied."""
        readable = [[each.settled for each in shard if each.readable] for shard in self.shards]
        count = max(map(len, readable))
        return [_merged([copies[n % len(copies)] for copies in readable if copies]) for n in range(count)]


def reader(replicas: Sequence[Replica], peer: int, token: str | None, wander: Wander) -> Replica:
    """The replica that answers a read through `peer`."""
    if token is not None:
        return min(replicas, key=lambda each: zlib.crc32(f"{token}/{each.peer}".encode()))
    own = [each for each in replicas if each.peer == peer]
    return (wander(replicas) if len(replicas) > 1 else None) or (own or list(replicas))[0]


def _merged(parts: Sequence[Mapping[RawId, Stored]]) -> dict[RawId, Stored]:
    merged: dict[RawId, Stored] = {}
    for part in parts:
        merged.update(part)
    return merged
