"""Faults that tests ask for: slow, failing, half-done and lost answers.

`POST /_faults` (only on a server started with `--faults`) takes one fault as a JSON object:

    {"match": "PUT /collections/[^/]+/points", "times": 3, "delay": 2.0}
    {"match": "POST /collections/aliases", "when": "after", "status": 500, "error": "timeout"}
    {"match": "GRPC qdrant.Points/Scroll", "when": "before", "drop": true}
    {"disk_full": true}
    {"alias_lag": 5.0}
    {"peers_cut_off": true}
    {"slow": {"docs-v2-1a2b3c4d": 0.3}}

`match` is a regular expression for the whole of "METHOD path" (without the query; gRPC calls are
"GRPC package.Service/Method"). The next `times` (default 1; 0: until removed) requests that match are
delayed by `delay` seconds, then fail with `status` and `error`, or have their connection dropped (`drop`; a
gRPC call ends UNAVAILABLE). `when` says whether that happens `before` (default) the request is applied, which
then never is, or `after` it: the effect is there and the client does not know. A delay alone only delays.

`disk_full` makes writes of points answer 500 until it is set to false. `alias_lag` makes `GET /aliases` show
the aliases of that many seconds ago, while reads and writes follow the true ones. `peers_cut_off` (with `--peers`)
makes the peers after the first show those of now until it is set to false. `slow` makes every search in
a collection (by its own name or by an alias) take so many seconds longer, as a bad index would. `GET /_faults`
lists what is still to come, `DELETE /_faults` ends all of it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from devkit.qdrant.errors import QdrantError

R = TypeVar("R")


class Fault(BaseModel):
    """One fault, as asked for; see the module's text for the fields."""

    model_config = ConfigDict(extra="forbid")
    match: str
    times: int = Field(default=1, ge=0)
    when: Literal["before", "after"] = "before"
    delay: float = Field(default=0.0, ge=0.0)
    status: int | None = None
    error: str = "injected fault"
    drop: bool = False


class Order(BaseModel):
    """A body of `POST /_faults` that is not a single fault."""

    model_config = ConfigDict(extra="forbid")
    disk_full: bool | None = None
    alias_lag: float | None = Field(default=None, ge=0.0)
    peers_cut_off: bool | None = None
    slow: dict[str, float] | None = None


class DroppedError(Exception):
    """The connection is to be dropped without an answer."""


class Faults:
    """The faults still to come, in the order in which they were asked for."""

    def __init__(self) -> None:
        self.pending: list[Fault] = []
        self.alias_lag = 0.0
        self._cut_off_at: float | None = None

    def clear(self) -> None:
        self.pending.clear()
        self.alias_lag = 0.0
        self._cut_off_at = None

    def cut_peers_off(self, *, off: bool) -> None:
        """From now on, or no more."""
        self._cut_off_at = time.monotonic() if off else None

    @property
    def peers_behind(self) -> float:
        """Seconds since the peers after the first have heard of anything."""
        return time.monotonic() - self._cut_off_at if self._cut_off_at is not None else 0.0

    async def around(self, request: str, handle: Callable[[], Awaitable[R]]) -> R:
        """Handle a request ("METHOD path") with the first fault that matches, if there is one."""
        fault = self._take(request)
        if fault is None:
            return await handle()
        if fault.when == "before":
            await self._suffer(fault)
            return await handle()
        answer = await handle()
        await self._suffer(fault)
        return answer

    def _take(self, request: str) -> Fault | None:
        for index, fault in enumerate(self.pending):
            if re.fullmatch(fault.match, request):
                if fault.times == 1:
                    del self.pending[index]
                elif fault.times > 1:
                    self.pending[index] = fault.model_copy(update={"times": fault.times - 1})
                return fault
        return None

    async def _suffer(self, fault: Fault) -> None:
        await asyncio.sleep(fault.delay)
        if fault.drop:
            raise DroppedError
        if fault.status is not None:
            raise QdrantError(fault.status, fault.error)
