"""Whether the process does its work, for those who would restart it.

Alive means: the event loop gets round to everything, and the API server has answered lately or the watches have
told something. Whoever is cut off from the API server for long is restarted, which costs nothing (Qdrant holds
the truth) and cures what a new connection cures.
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
    """Measures the running loop's lag, and judges."""

    def __init__(
        self,
        last_contact: Callable[[], float],
        synced: Callable[[], bool],
        set_lag: Callable[[float], None],
        *,
        silence_limit: float = SILENCE_LIMIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`last_contact`: when, on `clock`, the API server was last heard of."""
        self._last_contact = last_contact
        self._synced = synced
        self._set_lag = set_lag
        self._silence_limit = silence_limit
        self._clock = clock
        self._lag = 0.0
        self._last_beat = clock()

    async def measure(self) -> None:
        """Measure for ever."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            self.beat()

    def beat(self) -> None:
        """A timer of `BEAT_SECONDS` has rung: note how late."""
        now = self._clock()
        self._lag = max(0.0, now - self._last_beat - BEAT_SECONDS)
        self._last_beat = now
        self._set_lag(self._lag)

    def illness(self) -> str | None:
        """Why the process should be restarted; `None`: it is well."""
        lag = max(self._lag, self._clock() - self._last_beat - BEAT_SECONDS)
        if lag > LAG_LIMIT:
            return f"the event loop is {lag:.0f} s late"
        silence = self._clock() - self._last_contact()
        if silence > self._silence_limit:
            return f"nothing was heard of the API server for {silence:.0f} s"
        return None

    def unready(self) -> str | None:
        """Why there is no work done yet; `None`: it is."""
        return None if self._synced() else "the first list of resources is not complete"
