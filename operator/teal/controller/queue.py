"""Which resource is reconciled next, and when: a data structure without tasks, timers or a clock of its own.

Invariants, whatever the order of calls:

* a key waits at most once and never runs twice at the same time;
* of several requests for one key the earliest counts; a request while the key runs is kept until it has run;
* at most `limit` keys run, at most `per_endpoint` of one endpoint, and no endpoint waits for ever for another one;
* a key that fails comes back after a growing backoff, unless it is requested again.

One heap holds all keys, so thousands of resources at rest need neither a task nor a timer each. All times are in
seconds of `clock`.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)

FOREGROUND_STREAK = 8
"""How many foreground keys run in a row before one of the background runs, if one waits."""


@dataclass(frozen=True)
class KeyBackoff:
    """Seconds to wait after the n-th failure in a row: `first` doubled each time, at most `longest`, minus
    jitter.
    """

    first: float = 1.0
    longest: float = 300.0
    jitter: float = 0.5

    def delay(self, failures: int, rng: random.Random) -> float:
        full = min(self.longest, self.first * 2.0 ** min(failures - 1, 62))
        return full * (1.0 - self.jitter * rng.random())


class Taken(NamedTuple, Generic[K]):
    """A key that runs from now on, and for how many seconds it was due."""

    key: K
    waited: float


@dataclass(slots=True, eq=False)
class _Item(Generic[K]):
    """A key that waits (in the heap until `due`, then in a lane) or runs; then `due` is kept for afterwards."""

    key: K
    due: float | None = None
    background: bool = True
    ready: bool = False
    running: bool = False
    failures: int = 0
    endpoint: str | None = None
    ticket: int = 0
    """Identifies the item's valid entry in the heap or in a lane; an entry with another ticket is obsolete."""


@dataclass(slots=True)
class _Lanes(Generic[K]):
    """Due keys of one priority: first in, first out within an endpoint; endpoints take turns."""

    waiting: dict[str | None, deque[tuple[int, _Item[K]]]] = field(default_factory=dict)
    turns: deque[str | None] = field(default_factory=deque)
    full: set[str | None] = field(default_factory=set)
    """Endpoints that have keys and no free slot: not in `turns` until one of their keys is done."""

    def push(self, item: _Item[K]) -> None:
        if item.endpoint not in self.waiting:
            self.waiting[item.endpoint] = deque()
            self.turns.append(item.endpoint)
        self.waiting[item.endpoint].append((item.ticket, item))

    def pop(self, has_room: Callable[[str | None], bool]) -> _Item[K] | None:
        while self.turns:
            endpoint = self.turns.popleft()
            lane = self.waiting[endpoint]
            while lane and lane[0][0] != lane[0][1].ticket:
                lane.popleft()
            if not lane:
                del self.waiting[endpoint]
            elif not has_room(endpoint):
                self.full.add(endpoint)
            else:
                self.turns.append(endpoint)
                return lane.popleft()[1]
        return None

    def made_room(self, endpoint: str | None) -> None:
        if endpoint in self.full:
            self.full.remove(endpoint)
            self.turns.append(endpoint)


class WorkQueue(Generic[K]):
    """Keys to reconcile. `take` what may run now, and report each key by `done` or `failed`."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        limit: int = 16,
        per_endpoint: int = 4,
        endpoint_of: Callable[[K], str | None] = lambda _: None,
        backoff: KeyBackoff | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """`endpoint_of` names the endpoint that the work of a key loads (`None`: no limit applies)."""
        self._clock = clock
        self._limit = limit
        self._per_endpoint = per_endpoint
        self._endpoint_of = endpoint_of
        self._backoff = backoff or KeyBackoff()
        self._rng = rng or random.Random()
        self._items: dict[K, _Item[K]] = {}
        self._later: list[tuple[float, int, _Item[K]]] = []
        self._foreground: _Lanes[K] = _Lanes()
        self._background: _Lanes[K] = _Lanes()
        self._busy: Counter[str | None] = Counter()
        self._tickets = itertools.count(1)
        self._ready = 0
        self._streak = 0

    @property
    def ready(self) -> int:
        """Number of keys that wait only for a free slot."""
        return self._ready

    @property
    def running(self) -> int:
        """Number of keys that were taken and are not reported yet."""
        return self._busy.total()

    @property
    def scheduled(self) -> int:
        """Number of keys that are not due yet."""
        return len(self._items) - self.ready - self.running

    def add(self, key: K, after: float = 0.0, *, background: bool = False) -> None:
        """Request `key` in `after` seconds or earlier. Background keys yield to all others."""
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = _Item(key)
        if self._wish(item, self._clock() + after, background=background) and not item.running:
            self._place(item)

    def take(self) -> Taken[K] | None:
        """The next key that may run now, if there is one."""
        self._ripen()
        item = self._next() if self.running < self._limit else None
        if item is None or item.due is None:
            return None
        waited = self._clock() - item.due
        item.ready, item.running, item.due, item.background = False, True, None, True
        self._ready -= 1
        self._busy[item.endpoint] += 1
        return Taken(item.key, waited)

    def done(self, key: K, after: float | None = None, *, background: bool = False) -> None:
        """`key` has run; request it again `after` seconds from now, or (`None`) not at all."""
        item = self._release(key)
        item.failures = 0
        if after is not None:
            self._wish(item, self._clock() + after, background=background)
        if item.due is None:
            del self._items[key]
        else:
            self._place(item)

    def failed(self, key: K) -> float:
        """`key` has failed; it comes again after its backoff, which is returned (seconds)."""
        item = self._release(key)
        item.failures += 1
        delay = self._backoff.delay(item.failures, self._rng)
        self._wish(item, self._clock() + delay, background=False)
        self._place(item)
        return delay

    def wait(self) -> float | None:
        """Seconds until `take` can give more because of time alone; `None`: never."""
        while self._later and self._later[0][1] != self._later[0][2].ticket:
            heapq.heappop(self._later)
        return max(0.0, self._later[0][0] - self._clock()) if self._later else None

    def _wish(self, item: _Item[K], due: float, *, background: bool) -> bool:
        """Record a request for `item`; false if the item is due as early and as urgently anyway."""
        if item.due is None:
            item.due, item.background = due, background
            return True
        if due >= item.due and (background or not item.background):
            return False
        item.due = min(due, item.due)
        item.background = item.background and background
        return True

    def _place(self, item: _Item[K]) -> None:
        """Put a waiting item where its time and priority belong, and invalidate its old entry."""
        assert item.due is not None  # noqa: S101 - an invariant of this class
        item.ticket = next(self._tickets)
        if item.due > self._clock():
            heapq.heappush(self._later, (item.due, item.ticket, item))
            self._sweep_left_overs()
            return
        if not item.ready:
            item.ready, item.endpoint = True, self._endpoint_of(item.key)
            self._ready += 1
        (self._background if item.background else self._foreground).push(item)

    def _ripen(self) -> None:
        """Move due keys from the heap into their lanes."""
        while self._later and self._later[0][0] <= self._clock():
            _, ticket, item = heapq.heappop(self._later)
            if ticket == item.ticket:
                self._place(item)

    def _next(self) -> _Item[K] | None:
        order = (self._foreground, self._background)
        if self._streak >= FOREGROUND_STREAK:
            order = (self._background, self._foreground)
        item = order[0].pop(self._has_room) or order[1].pop(self._has_room)
        if item is not None:
            self._streak = 0 if item.background else self._streak + 1
        return item

    def _has_room(self, endpoint: str | None) -> bool:
        return endpoint is None or self._busy[endpoint] < self._per_endpoint

    def _release(self, key: K) -> _Item[K]:
        item = self._items[key]
        if not item.running:
            raise ValueError(f"{key!r} is not running")
        item.running = False
        self._busy[item.endpoint] -= 1
        if not self._busy[item.endpoint]:
            del self._busy[item.endpoint]
        self._foreground.made_room(item.endpoint)
        self._background.made_room(item.endpoint)
        return item

    def _sweep_left_overs(self) -> None:
        if len(self._later) > 2 * len(self._items) + 64:
            self._later = [entry for entry in self._later if entry[1] == entry[2].ticket]
            heapq.heapify(self._later)
