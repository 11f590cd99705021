"""One replica of one shard: a log with numbers of its own, a queue, and one worker.

The order of things is the server's: an operation reaches the log of each replica in that replica's own time and
gets its number there; the worker takes it *out of the queue*, then applies it, and only then does `op_num` rise.
So an empty queue beside an unmoved `op_num` may still have one operation under way. A point's version is the
number that its last change got on this very replica.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from teal.qdrant.wire import RawId


@dataclass(frozen=True)
class Stored:
    """One point."""

    payload: tuple[bytes, ...]
    vectors: bytes
    version: int = 0


Changes = Mapping[RawId, Stored | None]
Change = Callable[[Mapping[RawId, Stored]], Changes]
"""What an operation does to the points that a replica has: each replica works it out for itself."""


@dataclass
class Pace:
    """Seconds that things take; nothing takes any by default. What is not named by its peer takes none.

    `travel`: until an operation is in the log of a peer's replicas. `work`: from the queue until it is applied.
    `counting`: from there until `op_num` rises. `consensus`: until a peer knows what was decided; infinite, and it
    learns nothing until `FakeQdrant.follow`. `transfer`: until a replica that was lost is made anew.
    """

    travel: dict[int, float] = field(default_factory=dict)
    work: float = 0.0
    counting: float = 0.0
    consensus: dict[int, float] = field(default_factory=dict)
    transfer: float = 5.0


@dataclass(eq=False)
class Operation:
    """One write to one shard. It is acknowledged when all replicas that it was sent to, and that still live, have
    it in their logs; with `wait`, when they have applied it."""

    change: Change
    wait: bool
    work: float
    counting: float
    sent_to: list[Replica] = field(default_factory=list)
    done: set[Replica] = field(default_factory=set)

    @property
    def acknowledged(self) -> bool:
        living = [each for each in self.sent_to if each.updatable]
        return all(each in self.done if self.wait else self not in each.on_the_way for each in living)


@dataclass
class _Underway:
    number: int
    operation: Operation
    applied_at: float
    counted_at: float
    applied: bool = False


@dataclass(eq=False)
class Replica:
    peer: int
    points: dict[RawId, Stored] = field(default_factory=dict)
    state: str = "Active"
    op_num: int = 0
    log: int = 0
    queue: deque[tuple[int, float, Operation]] = field(default_factory=deque)
    on_the_way: dict[Operation, float] = field(default_factory=dict)
    underway: _Underway | None = None
    _free_at: float = 0.0

    @property
    def readable(self) -> bool:
        return self.state == "Active"

    @property
    def updatable(self) -> bool:
        return self.state in ("Active", "Partial")

    def send(self, operation: Operation, arrives: float) -> None:
        operation.sent_to.append(self)
        self.on_the_way[operation] = arrives

    def advance(self, now: float) -> None:
        """All that has happened until `now`."""
        for operation, arrived in sorted(self.on_the_way.items(), key=lambda entry: entry[1]):
            if arrived > now:
                break
            del self.on_the_way[operation]
            self.log += 1
            self.queue.append((self.log, arrived, operation))
        while self._work(now):
            pass

    def _work(self, now: float) -> bool:
        """One step of the worker; false when there is none until `now`."""
        current = self.underway
        if current is None:
            if not self.queue:
                return False
            number, arrived, operation = self.queue.popleft()
            applied_at = max(arrived, self._free_at) + operation.work
            self.underway = _Underway(number, operation, applied_at, applied_at + operation.counting)
        elif not current.applied:
            if now < current.applied_at:
                return False
            self._apply(current.number, current.operation)
            current.applied = True
        else:
            if now < current.counted_at:
                return False
            self.op_num, self._free_at = current.number, current.counted_at
            current.operation.done.add(self)
            self.underway = None
        return True

    def _apply(self, number: int, operation: Operation) -> None:
        for point, stored in operation.change(self.points).items():
            if stored is None:
                self.points.pop(point, None)
            else:
                self.points[point] = replace(stored, version=number)

    @property
    def unapplied(self) -> list[Operation]:
        """What has been sent and is not applied yet, in the order in which it will be."""
        first = [self.underway.operation] if self.underway and not self.underway.applied else []
        rest = sorted(self.on_the_way.items(), key=lambda entry: entry[1])
        return [*first, *(operation for _, _, operation in self.queue), *(operation for operation, _ in rest)]

    @property
    def settled(self) -> dict[RawId, Stored]:
        """The points as they will be when all that has been sent is applied."""
        if not self.unapplied:
            return self.points
        copy = Replica(self.peer, dict(self.points))
        for operation in self.unapplied:
            copy._apply(0, operation)
        return copy.points

    def made_anew(self, peer: int, batch: int, now: float) -> Replica:
        """A copy on `peer`, as `stream_records` makes it: numbered from 1 on, in the order of ids.

        What is on its way here goes there, too.
        """
        made = Replica(peer, _free_at=now)
        for index, (point, stored) in enumerate(sorted(self.points.items())):
            made.log = index // batch + 1
            made.points[point] = replace(stored, version=made.log)
        made.op_num = made.log
        for operation in self.unapplied:
            made.send(operation, now)
        made.advance(now)
        return made

    def step_back(self, most: int) -> None:
        """After a restart of its peer: the log is played again from a little earlier on, to the same points."""
        self.op_num = max(0, self.op_num - most)
