"""What all peers agree on, and how far each of them has followed.

There is one order of decisions. A peer that lags shows collections, configurations and aliases as they were, and
catches up decision by decision; one that does not lag shares what is decided with the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from tests.unit.domain.qdrant_model import Qdrant

T = TypeVar("T")
Decision = Callable[[Qdrant], T]


@dataclass
class _Peer:
    behind: Qdrant | None = None
    """What it shows while it lags; `None` as long as it has followed."""
    waiting: deque[tuple[float, Decision[object], Callable[[int], None]]] = field(default_factory=deque)


class Consensus:
    def __init__(self, decided: Qdrant, peers: int, now: Callable[[], float], delays: dict[int, float]) -> None:
        self.decided = decided
        self.commit = 0
        self._now, self._delays = now, delays
        self._peers = [_Peer() for _ in range(peers)]

    def view(self, peer: int) -> Qdrant:
        """What a peer shows."""
        self.advance()
        return self._peers[peer].behind or self.decided

    def committed(self, peer: int) -> int:
        """How many decisions a peer has followed."""
        self.advance()
        return self.commit - len(self._peers[peer].waiting)

    def has_followed(self, peer: int) -> bool:
        self.advance()
        return self._peers[peer].behind is None

    def decide(self, decision: Decision[T], learned: Callable[[int], None] = lambda _: None) -> T:
        """`learned` is called for each peer when it follows."""
        self.advance()
        before = self.decided.copy() if self._delays else self.decided
        answer = decision(self.decided)
        self.commit += 1
        for number, peer in enumerate(self._peers):
            delay = self._delays.get(number, 0.0)
            if not delay and peer.behind is None:
                learned(number)
                continue
            peer.behind = peer.behind or before.copy()
            peer.waiting.append((self._now() + delay, decision, learned))
        return answer

    def advance(self) -> None:
        for number, peer in enumerate(self._peers):
            while peer.waiting and peer.waiting[0][0] <= self._now():
                self._step(number, peer)

    def follow(self, peer: int) -> None:
        """It learns all that has been decided, however slow it is."""
        while self._peers[peer].waiting:
            self._step(peer, self._peers[peer])

    def _step(self, number: int, peer: _Peer) -> None:
        _, decision, learned = peer.waiting.popleft()
        if peer.behind is not None:
            decision(peer.behind)
        learned(number)
        if not peer.waiting:
            peer.behind = None
