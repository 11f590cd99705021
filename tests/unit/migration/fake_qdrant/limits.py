"""The limit on writes of strict mode: a bucket of tokens for each replica, filled anew by every PATCH of it.

A replica goes by what its own peer knows of the limit. So while peers learn of it one after the other, one replica
of a shard takes an operation and another one refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from tests.unit.migration.fake_qdrant.replica import Replica

MINUTE = 60.0


def write_rate_limit(strict: Mapping[str, Any]) -> int | None:
    """Points a minute, if there is a limit."""
    limit: int | None = strict.get("write_rate_limit") if strict.get("enabled") else None
    return limit


class Limits:
    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._tokens: WeakKeyDictionary[Replica, tuple[float, float]] = WeakKeyDictionary()

    def refill(self, replica: Replica) -> None:
        self._tokens.pop(replica, None)

    def refuses(self, replica: Replica, strict: Mapping[str, Any], cost: int) -> bool:
        """Whether the replica refuses to change so many points; else their tokens are spent."""
        limit = write_rate_limit(strict)
        if limit is None:
            return False
        left, since = self._tokens.get(replica, (float(limit), self._now()))
        left = min(float(limit), left + (self._now() - since) * limit / MINUTE)
        refused: bool = cost > left
        self._tokens[replica] = (left if refused else left - cost, self._now())
        return refused
