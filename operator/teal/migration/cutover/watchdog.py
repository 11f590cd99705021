"""The end of a fence by the wall clock, whatever the event loop does.

The loop lifts the fence itself when `maxFence` is over. While it is blocked, by a long computation, it cannot;
then a thread of its own sends the request that frees the writers. Everything else that lifting needs is done by
the loop when it goes on, or by the next process. After its time nothing may be done under the fence: `check`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import httpx

from teal.domain.carry import UNLIMITED
from teal.domain.fencing import SWITCH, WRITES
from teal.domain.observed import CollectionState
from teal.migration.clock import Clock
from teal.qdrant.pool import Server

log = logging.getLogger(__name__)

GRACE_SECONDS = 0.5
"""How long the loop may take to lift the fence itself."""


class Watchdog:
    """Over one fence, from before it is raised until writers are free again. Times are monotonic, in seconds."""

    def __init__(self, server: Server, clock: Clock, old: CollectionState, max_fence: float) -> None:
        self._clock = clock
        self._max_fence = max_fence
        self._send = _sender(server, old)
        self._timer: threading.Timer | None = None
        self._began = clock.monotonic()
        self.deadline = self._began + max_fence
        self.stood = 0.0
        """How long the fence stood, when it has ended."""

    def begin(self) -> None:
        self._began = self._clock.monotonic()
        self.deadline = self._began + self._max_fence
        self._timer = threading.Timer(self._max_fence + GRACE_SECONDS, self._send)
        self._timer.daemon = True
        self._timer.start()

    def check(self) -> None:
        """Raises `TimeoutError` if the time is over, whether or not anybody has noticed."""
        if self._clock.monotonic() >= self.deadline:
            raise TimeoutError

    def end(self) -> None:
        """Writers are no longer refused."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self.stood = self._clock.monotonic() - self._began


def _sender(server: Server, old: CollectionState) -> Callable[[], None]:
    """Frees the writers. Where a factor was raised, that stays until the fence is lifted in full."""
    strict = old.config.get("strict_mode_config") or {}
    own = {SWITCH: bool(strict.get(SWITCH)), WRITES: strict.get(WRITES) or UNLIMITED}

    def send() -> None:
        log.warning("The fence on %s is lifted by the watchdog: the event loop is blocked.", old.name)
        try:
            server.admin.patch_at_once(old.name, {"strict_mode_config": own})
        except httpx.HTTPError as error:
            log.error("The watchdog could not lift the fence on %s: %s", old.name, error)

    return send
