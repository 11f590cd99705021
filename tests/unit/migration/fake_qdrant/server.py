"""The server: what it holds, what a write does, and what happens to a cluster."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from teal.domain.observed import CollectionState
from teal.domain.schema import Distance
from teal.qdrant import wire
from teal.qdrant.wire import RawId
from tests.unit.domain.qdrant_model import Qdrant
from tests.unit.migration.fake_qdrant.answers import Admitted, Down, Refused, Write
from tests.unit.migration.fake_qdrant.consensus import Consensus
from tests.unit.migration.fake_qdrant.limits import Limits
from tests.unit.migration.fake_qdrant.placement import Shards, Snapshot, Wander, reader
from tests.unit.migration.fake_qdrant.replica import Change, Changes, Operation, Pace, Replica, Stored

BUSY_LOOKS = 2
"""How often a collection shows that it is being optimised, after its configuration was changed."""
TRANSFER_BATCH = 1
"""Points in one operation of a transfer: few, so that numbers of before and after can be equal."""
FIRST_PEER = 7000
FAN_OUT = ("read_fan_out_factor", "read_fan_out_delay_ms")
PAGE = 7
"""Ids in one answer of a scroll at most, so that a few points take several pages."""


class FakeQdrant:
    """One server, or `peers` of them. `now` is the clock.

    `model`: what is there to begin with, each of its points as `make` makes it.
    """

    def __init__(
        self,
        now: Callable[[], float],
        model: Qdrant | None = None,
        make: Callable[[RawId, CollectionState], Stored] | None = None,
        *,
        peers: int = 1,
    ) -> None:
        self.now = now
        self.peers = peers
        self.pace = Pace()
        self.shards: dict[str, Shards] = {}
        self.telemetry = True
        self.deleting: Callable[[str], None] = lambda _: None
        """Asked before a collection goes."""
        self.writing: Callable[[str, Changes], None] = lambda _, __: None
        """Told what a client sends to a collection, before it is written."""
        self.ignored: set[str] = set()
        """Calls, by name, that are answered and do nothing."""
        self.broken: set[str] = set()
        """Collections whose optimizer has failed."""
        self.unsearchable: set[str] = set()
        """Names by which no search is answered."""
        self.lagging = False
        """Whether there is one more peer, which shows no alias yet."""
        self.wander: Wander = lambda _: None
        """Which replica answers a read that nothing pins."""
        self.route: Callable[[str], int] = lambda _: 0
        """Which peer takes a call, by its name, that is sent to the service's address."""
        self.stands_in: dict[int, int] = {}
        """Peers whose address leads to another one."""
        self.down: set[int] = set()
        self.losing_aliases = 0
        """So many alias requests are answered with a time-out, and commit with `commit_late`."""
        self.limits = Limits(now)
        self.limits_where_asked = False
        """Whether a write is limited by the asked peer's own replica alone, where it has one of the shard."""
        self.falls_back: Callable[[str], bool] = lambda _: False
        """Whether a pinned read, by its kind, is answered as if nothing pinned it, as when the replica fails."""
        self.consensus = Consensus(model or Qdrant(), peers, now, self.pace.consensus)
        self._started = dict.fromkeys(range(peers), 0)
        self._late: list[tuple[int, Callable[[Qdrant], None]]] = []
        self._transfers: list[tuple[float, str, Replica]] = []
        self._listening: list[tuple[Write, Callable[[], None]]] = []
        self._taken = 0
        self.page = PAGE
        for name, found in self.model.collections.items():
            self._place(name)
            ids = [wire.raw_id(number) for number in found.points]
            self.write(name, {point: make(point, self.state(name)) for point in ids if make})

    # Looking, as nobody but a test can

    @property
    def model(self) -> Qdrant:
        """What has been decided, whoever knows it."""
        return self.consensus.decided

    @property
    def aliases(self) -> dict[str, str]:
        return self.model.aliases

    @property
    def names(self) -> list[str]:
        return sorted(self.model.collections)

    def state(self, name: str) -> CollectionState:
        return self.model.state(name)

    def points(self, name: str) -> dict[RawId, Stored]:
        """One copy of a collection, with all that was sent to it."""
        return self.copies(name)[0]

    def copies(self, name: str) -> list[dict[RawId, Stored]]:
        """The collection on every readable replica, with all that was sent to it."""
        self.advance()
        return self.shards[name].copies

    def shown(self) -> Any:
        """All that somebody else could see of it, for comparing before with after."""
        configs = {name: (each.config, each.indexes) for name, each in self.model.collections.items()}
        replicas = {
            name: [(each.peer, each.state, each.op_num, each.points) for each in shards.replicas]
            for name, shards in self.shards.items()
        }
        return configs, self.aliases, replicas

    # Time

    def advance(self) -> None:
        """All that has happened until now."""
        self.consensus.advance()
        for shards in self.shards.values():
            shards.advance(self.now())
        for due, name, lost in list(self._transfers):
            if due <= self.now() and lost.peer not in self.down:
                self._transfers.remove((due, name, lost))
                self._transferred(name, lost)
        for write, answer in list(self._listening):
            if write.acknowledged:
                self._listening.remove((write, answer))
                answer()

    # Writing points

    def admit(self, name: str, points: Iterable[RawId], peer: int = 0) -> Admitted | None:
        """What the limits say to a change of these points; `None`: all replicas of a shard refuse it."""
        self._require(name)
        return self.admit_shards(
            name, {s: len(p) for s, p in self.shards[name].by_shard(list(points)).items()}, peer
        )

    def admit_shards(self, name: str, cost: Mapping[int, int], peer: int = 0) -> Admitted | None:
        """The same, by what it costs on each shard."""
        self.advance()
        refusing: dict[int, set[int]] = {}
        needed = int(self.view(peer).collections[name].config["params"].get("write_consistency_factor") or 1)
        acknowledges = True
        for shard, points in cost.items():
            asked = [each for each in self.shards[name].shards[shard] if self._reached(each)]
            if not any(each.readable for each in asked):
                raise Refused(500, "Failed to apply operation to at least one `Active` replica")
            limiting = [each for each in asked if each.peer == peer] if self.limits_where_asked else []
            refused = {each.peer for each in limiting or asked if self._limits(name, each, points)}
            if limiting and refused:
                return None
            takers = len(asked) - len(refused)
            if not takers:
                return None
            refusing[shard] = refused
            acknowledges &= not refused or takers >= needed
        return Admitted(refusing, acknowledges)

    def _reached(self, replica: Replica) -> bool:
        return replica.updatable and replica.peer not in self.down

    def _limits(self, name: str, replica: Replica, points: int) -> bool:
        return self.limits.refuses(replica, self.strict_mode(name, replica.peer), points)

    def strict_mode(self, name: str, peer: int) -> Mapping[str, Any]:
        """The limits of a collection, as a peer knows them."""
        known = self.view(peer).collections.get(name)
        strict: Mapping[str, Any] = (known.config.get("strict_mode_config") if known else None) or {}
        return strict

    def write(self, name: str, changed: Changes, *, wait: bool = True, admitted: Admitted | None = None) -> Write:
        """Whole points and deletions, whatever the limits have said unless that is given."""
        self._check(name, changed)
        split = {
            shard: _fixed({point: changed[point] for point in points})
            for shard, points in self.shards[name].by_shard(list(changed)).items()
        }
        return self.send(name, split, wait=wait, admitted=admitted)

    def send(
        self,
        name: str,
        changes: Mapping[int, Change],
        *,
        wait: bool = True,
        admitted: Admitted | None = None,
        timeout: float = math.inf,
    ) -> Write:
        """One operation for each shard that is named."""
        self._require(name)
        self.advance()
        taken = [self._send(name, shard, change, wait, admitted) for shard, change in changes.items()]
        self.advance()
        return Write(tuple(taken), timeout)

    def _send(self, name: str, shard: int, change: Change, wait: bool, admitted: Admitted | None) -> Operation:
        shards = self.shards[name]
        asked = [each for each in shards.shards[shard] if self._reached(each)]
        refusing = admitted.refusing[shard] if admitted else ()
        to = [each for each in asked if each.peer not in refusing]
        if not to:
            raise Refused(500, "Failed to apply operation to at least one `Active` replica")
        operation = shards.send(change, to, wait=wait, pace=self.pace, now=self.now())
        if admitted is not None and admitted.acknowledges and wait:
            for missed in asked:
                if missed not in to:
                    self._deactivate(name, missed)
        return operation

    def when_acknowledged(self, write: Write, answer: Callable[[], None]) -> None:
        """Call `answer` once, as soon as that is so."""
        self._listening.append((write, answer))
        self.advance()

    def _check(self, name: str, changed: Changes) -> None:
        self._require(name)
        size = self.state(name).schema.vectors[0].size
        for stored in changed.values():
            row = wire.read_dense(stored.vectors, "") if stored else None
            if row is not None and len(row) != size:
                raise Refused(400, f"Wrong input: Vector dimension error: expected dim: {size}, got {len(row)}")

    # Reading points

    def read(self, name: str, kind: str, peer: int, token: str | None = None) -> dict[RawId, Stored]:
        """What one request through `peer` sees of all points."""
        self.advance()
        self._require(name)
        shards, found = self.shards[name], dict[RawId, Stored]()
        params = self.view(peer).collections[name].config["params"]
        pinned = not any(params.get(each) for each in FAN_OUT) and not self.falls_back(kind)
        for shard in range(len(shards.shards)):
            readable = shards.readable(shard, self.down)
            if not readable:
                raise Refused(500, f"Shard {shard} of {name} has no active replica for {kind}")
            found.update(reader(readable, peer, token if pinned else None, self.wander).points)
        return found

    def agreed(self, name: str) -> dict[RawId, Stored]:
        """The points that all readable replicas of their shard hold alike: a read of consistency `All`."""
        self.advance()
        self._require(name)
        shards, found = self.shards[name], dict[RawId, Stored]()
        for shard in range(len(shards.shards)):
            first, *others = (each.points for each in shards.readable(shard, self.down))
            found |= {p: held for p, held in first.items() if all(each.get(p) == held for each in others)}
        return found

    def sign(self, name: str) -> int:
        """1 where a higher score is better."""
        return 1 if self.state(name).schema.vectors[0].distance in (Distance.COSINE, Distance.DOT) else -1

    # Peers

    def view(self, peer: int) -> Qdrant:
        return self.consensus.view(peer)

    def answering(self, peer: int) -> int:
        """Who answers at the address of a peer."""
        there = self.stands_in.get(peer, peer)
        if there in self.down:
            raise Down
        return there

    def behind_the_service(self, peer: int) -> int:
        """Who answers at the service's address, which leads to peers that live."""
        living = [each for each in range(self.peers) if each not in self.down]
        if not living:
            raise Down
        return peer if peer in living else living[0]

    def has_acknowledged(self, write: Write) -> bool:
        self.advance()
        return write.acknowledged

    def resolve(self, name: str, peer: int) -> str:
        return self.view(peer).aliases.get(name, name)

    def started(self, peer: int) -> str:
        return _time(self._started[peer])

    # Administration

    def _create(self, name: str, body: Mapping[str, Any]) -> bool:
        if not self.consensus.decide(lambda model: model.create(name, body)):
            return False
        self._place(name)
        return True

    def _place(self, name: str) -> None:
        params = self.model.collections[name].config["params"]
        shards, replicas = int(params["shard_number"]), int(params["replication_factor"])
        self.shards[name] = Shards.place(shards, replicas, self.peers, len(self.shards) % self.peers)

    def patch(self, name: str, body: Mapping[str, Any]) -> None:
        self._require(name)
        given = dict(body)
        metadata = given.pop("metadata", None)

        def change(model: Qdrant) -> None:
            if metadata is not None:
                model.mark(name, metadata)
            if given:
                model.patch(name, given)

        self.consensus.decide(change, lambda peer: self._learned(name, given, peer))
        if given:
            self.shards[name].busy = BUSY_LOOKS

    def _learned(self, name: str, given: Mapping[str, Any], peer: int) -> None:
        if "strict_mode_config" in given and name in self.shards:
            for _, replica in self.shards[name].on(peer):
                self.limits.refill(replica)

    def _delete(self, name: str) -> bool:
        if name not in self.shards:
            return False
        self.deleting(name)
        self.consensus.decide(lambda model: model.delete(name))
        del self.shards[name]
        return True

    def index(self, name: str, change: Callable[[Qdrant], None]) -> None:
        self._require(name)
        self.consensus.decide(change)
        self.send(name, {shard: lambda _: {} for shard in range(len(self.shards[name].shards))})

    def change_alias(self, action: Callable[[Qdrant], None], peer: int = 0) -> None:
        """One peer's requests are decided in the order in which they were sent, those that timed out, too."""
        if self.losing_aliases:
            self.losing_aliases -= 1
            self._late.append((peer, action))
            raise Refused(500, "Service internal error: Waiting for consensus operation commit failed. Timeout")
        self.commit_late(peer)
        self.consensus.decide(action)

    def snapshot(self, name: str, peer: int) -> Snapshot:
        self._require(name)
        shards = self.shards[name]
        held = {point: stored for _, replica in shards.on(peer) for point, stored in replica.points.items()}
        self._taken += 1
        taken = Snapshot(f"{name}-{FIRST_PEER + peer}-{self._taken}", peer, _time(self.now()), held)
        shards.snapshots.append(taken)
        return taken

    def _require(self, name: str) -> None:
        if name not in self.shards:
            raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")

    # Events

    def commit_late(self, peer: int | None = None) -> None:
        """The alias requests that timed out (at one peer) are decided after all."""
        for entry in [each for each in self._late if peer in (None, each[0])]:
            self._late.remove(entry)
            self.consensus.decide(entry[1])

    def follow(self, peer: int) -> None:
        """A peer catches up with what was decided."""
        self.pace.consensus.pop(peer, None)
        self.consensus.follow(peer)

    def move_shard(self, name: str, shard: int, peer: int) -> None:
        """`stream_records`: a readable replica of a shard is made anew on `peer`, with numbers from 1 on."""
        self.advance()
        shards = self.shards[name]
        old = next(iter(shards.readable(shard, self.down)), None)
        if old is not None and not any(each is not old and each.peer == peer for each in shards.shards[shard]):
            shards.put_in_place(shard, old, old.made_anew(peer, TRANSFER_BATCH, self.now()))
            self.consensus.commit += 2

    def add_replica(self, name: str, shard: int, peer: int) -> None:
        self.advance()
        replicas, whole = self.shards[name].shards[shard], self.shards[name].readable(shard, self.down)
        if whole and peer not in {replica.peer for replica in replicas}:
            replicas.append(whole[0].made_anew(peer, TRANSFER_BATCH, self.now()))
            self.consensus.commit += 2

    def restart(self, peer: int, back: int = 64) -> None:
        """A peer restarts: its `op_num`s step back, and every limit begins with full buckets."""
        self.advance()
        self._started[peer] = math.ceil(self.now())
        for shards in self.shards.values():
            for _, replica in shards.on(peer):
                replica.step_back(back)
                self.limits.refill(replica)

    def kill(self, peer: int) -> None:
        """A peer goes; what it alone has cannot be reached until `revive`."""
        self.advance()
        self.down.add(peer)
        for name, shards in self.shards.items():
            for _, replica in shards.on(peer):
                self._deactivate(name, replica)

    def revive(self, peer: int) -> None:
        self.down.discard(peer)
        self.restart(peer)

    def _deactivate(self, name: str, replica: Replica) -> None:
        """It missed an operation: it is not read any more, and made anew after a while."""
        shard = next(shard for shard in self.shards[name].shards if replica in shard)
        if replica.updatable and any(each.readable for each in shard if each is not replica):
            replica.state = "Dead"
            self.consensus.commit += 1
            self._transfers.append((self.now() + self.pace.transfer, name, replica))

    def _transferred(self, name: str, lost: Replica) -> None:
        shards = self.shards.get(name)
        shard = next((n for n, each in enumerate(shards.shards) if lost in each), None) if shards else None
        if shards is None or shard is None:
            return
        whole = shards.readable(shard, self.down)
        if whole:
            shards.put_in_place(shard, lost, whole[0].made_anew(lost.peer, TRANSFER_BATCH, self.now()))
            self.consensus.commit += 2
        else:
            self._transfers.append((self.now() + self.pace.transfer, name, lost))


def _fixed(changed: Changes) -> Change:
    return lambda _: changed


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
