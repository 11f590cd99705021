"""Time, as a parameter: wall time for what is written down, monotonic time for what is measured."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from teal.api.values import rfc3339


class Clock:
    """The real one. Tests pass one of their own."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def elsewhere(self, shown: float) -> float:
        """The clock of another machine, which has just shown `shown`; a test's clock translates it."""
        return shown

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def iso(seconds: float) -> str:
    """RFC 3339 in UTC, to the second, as Kubernetes writes it."""
    return rfc3339(datetime.fromtimestamp(seconds, UTC))
