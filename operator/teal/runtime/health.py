"""Liveness and readiness of the process.

Alive means: the event loop runs without long delays, and the API server has answered or a watch has delivered an
event recently. The kubelet restarts a process that has been without contact for long. That costs nothing,
because all state is in Qdrant, and it repairs everything that a new connection repairs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

BEAT_SECONDS = 5.0
LAG_LIMIT = 10.0
SILENCE_LIMIT = 900.0
"""Three times the default interval between lists."""


class Health:
    """Measures the delay of the running loop, and judges."""

    def __init__(
        self,
        last_contact: Callable[[], float],
        synced: Callable[[], bool],
        set_lag: Callable[[float], None],
        *,
        silence_limit: float = SILENCE_LIMIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`last_contact` gives the time, on `clock`, of the last contact with the API server."""
        self._last_contact = last_contact
        self._synced = synced
        self._set_lag = set_lag
        self._silence_limit = silence_limit
        self._clock = clock
        self._lag = 0.0
        self._last_beat = clock()

    async def measure(self) -> None:
        """Measure until cancelled."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            self.beat()

    def beat(self) -> None:
        """A timer of `BEAT_SECONDS` has fired: record its delay."""
        now = self._clock()
        self._lag = max(0.0, now - self._last_beat - BEAT_SECONDS)
        self._last_beat = now
        self._set_lag(self._lag)

    def illness(self) -> str | None:
        """Why the process should be restarted; `None` if it is healthy."""
        lag = max(self._lag, self._clock() - self._last_beat - BEAT_SECONDS)
        if lag > LAG_LIMIT:
            return f"the event loop is {lag:.0f} s late"
        silence = self._clock() - self._last_contact()
        if silence > self._silence_limit:
            return f"nothing was heard of the API server for {silence:.0f} s"
        return None

    def unready(self) -> str | None:
        """Why no work is done yet; `None` if work is done."""
        return None if self._synced() else "the first list of resources is not complete"
