"""An application with a ledger of its own, for what the counting clients do not write: sparse vectors, both sides.

`Application` writes without pause through one alias or two, waits where it is answered 429, and notes what was
acknowledged. `differences` then says by which points a collection is not what the application was told.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from tests.integration.migration.support import EngineHarness

Json = dict[str, Any]
MakeVector = Callable[[random.Random], Any]
Change = Callable[[int], Any]

EVERYTHING = {"insert": 3, "upsert": 3, "payload": 3, "vector": 2, "delete": 2}
WHOLE_POINTS = {"insert": 3, "upsert": 4, "delete": 2}
PAUSE = 0.02
PATIENCE = 30.0


def dense(size: int) -> MakeVector:
    """Vectors of length 1, so that Cosine and Dot keep the same."""

    def make(rng: random.Random) -> list[float]:
        row = [rng.gauss(0, 1) for _ in range(size)]
        length = sum(x * x for x in row) ** 0.5
        return [x / length for x in row]

    return make


def sparse(rng: random.Random) -> Json:
    """The sparse vector `words` alone; element 0 is in each, so that any two points share one."""
    return {"words": _words(rng)}


def mixed(rng: random.Random) -> Json:
    """`words` always; the dense vector `text` at times: a point without it has no version that a server tells."""
    return {"words": _words(rng)} | ({"text": dense(4)(rng)} if rng.random() < 0.6 else {})


def _words(rng: random.Random) -> Json:
    indices = [0, *rng.sample(range(1, 500), 5)]
    return {"indices": indices, "values": [rng.uniform(0.5, 2) for _ in indices]}


@dataclass
class Told:
    """What the application met."""

    writes: Counter[str] = field(default_factory=Counter)
    throttled: int = 0
    failures: list[str] = field(default_factory=list)
    longest_stall: float = 0.0


class Application:
    """`points` is what was acknowledged, `deleted` whose deletion was. One write at a time, so both are exact.

    `log` has the monotonic time at which each write was acknowledged, and its point.
    `at`, given the number of a write, is the value of `about.at` that it leaves, vectors alone excepted.
    """

    def __init__(
        self,
        engine: EngineHarness,
        make: MakeVector,
        *,
        weights: Mapping[str, int] = EVERYTHING,
        both: bool = False,
        at: Change | None = None,
        seed: int = 0,
    ) -> None:
        self.told = Told()
        self.points: dict[int, Json] = {}
        self.deleted: set[int] = set()
        self.log: list[tuple[float, int]] = []
        self.engine = engine
        self._make = make
        self._weights = weights
        self._both = both
        self._at = at
        self._rng = random.Random(seed)
        self._revision = 0
        self._wrote = asyncio.Condition()

    def load(self, count: int) -> None:
        """What is there before anything begins."""
        for point in range(1, count + 1):
            self.points[point] = self._fresh()
        self.engine.put({"id": point, **held} for point, held in self.points.items())

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[Told]:
        """Writing until the block ends; a write under way is finished first."""
        stop = asyncio.Event()
        task = asyncio.create_task(self._work(stop))
        try:
            yield self.told
        finally:
            stop.set()
            await task

    async def writes_more(self, count: int = 20) -> None:
        """Wait until so many more writes were acknowledged."""
        wanted = self.told.writes.total() + count
        async with asyncio.timeout(PATIENCE), self._wrote:
            await self._wrote.wait_for(lambda: self.told.writes.total() >= wanted)

    async def _work(self, stop: asyncio.Event) -> None:
        async with self._client() as client:
            while not stop.is_set():
                await self._write(client)
                async with self._wrote:
                    self._wrote.notify_all()

    def _client(self) -> httpx.AsyncClient:
        key = self.engine.qdrant.api_key
        headers = {"api-key": key} if key else {}
        return httpx.AsyncClient(base_url=self.engine.qdrant.url, headers=headers, timeout=30.0)

    async def _write(self, client: httpx.AsyncClient) -> None:
        self._revision += 1
        kinds = list(self._weights)
        kind = self._rng.choices(kinds, list(self._weights.values()))[0] if len(self.points) > 20 else "insert"
        point = self._new_id() if kind == "insert" else self._rng.choice(list(self.points))
        method, path, body, after = self._request(kind, point)
        began = time.monotonic()
        await self._until_acknowledged(client, self.engine.alias, method, path, body)
        if self._both and not await self._until_acknowledged(client, self._next, method, path, body) and after:
            # It was not there to be updated, or there is no such alias at all: a whole point suits both.
            await self._until_acknowledged(
                client, self._next, "PUT", "/points", {"points": [{"id": point, **after}]}
            )
        self.told.longest_stall = max(self.told.longest_stall, time.monotonic() - began)
        self.told.writes[kind] += 1
        self.log.append((time.monotonic(), point))
        if after is None:
            del self.points[point]
            self.deleted.add(point)
        else:
            self.points[point] = after
            self.deleted.discard(point)

    def _request(self, kind: str, point: int) -> tuple[str, str, Json, Json | None]:
        held = self.points.get(point, {})
        match kind:
            case "insert" | "upsert":
                after = self._fresh()
                return "PUT", "/points", {"points": [{"id": point, **after}]}, after
            case "payload":
                change = {"n": self._revision, "about": self._about()}
                after = {**held, "payload": held["payload"] | change}
                return "POST", "/points/payload", {"points": [point], "payload": change}, after
            case "vector":
                vector = self._make(self._rng)
                whole = held["vector"] | vector if isinstance(vector, dict) else vector
                return (
                    "PUT",
                    "/points/vectors",
                    {"points": [{"id": point, "vector": vector}]},
                    {
                        **held,
                        "vector": whole,
                    },
                )
            case _:
                return "POST", "/points/delete", {"points": [point]}, None

    async def _until_acknowledged(
        self, client: httpx.AsyncClient, name: str, method: str, path: str, body: Json
    ) -> bool:
        """False where the other side has no such point, or there is no other side now."""
        while True:
            answer = await client.request(method, f"/collections/{name}{path}?wait=true", json=body)
            if answer.status_code == httpx.codes.OK:
                return True
            if answer.status_code == httpx.codes.NOT_FOUND and name == self._next:
                return False
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                self.told.failures.append(f"{method} {name}{path}: {answer.status_code} {answer.text[:200]}")
                return True
            self.told.throttled += 1
            await asyncio.sleep(PAUSE)

    @property
    def _next(self) -> str:
        return f"{self.engine.alias}-next"

    def _fresh(self) -> Json:
        payload = {"n": self._revision, "text": f"text {self._rng.getrandbits(32)}", "about": self._about()}
        return {"payload": payload, "vector": self._make(self._rng)}

    def _about(self) -> Json:
        """A map in a map: servers send it in another order from answer to answer."""
        keys = [f"key{n}" for n in range(8)]
        self._rng.shuffle(keys)
        about: Json = {key: {"a": self._rng.randrange(1000), "b": [1, {"c": key, "d": None}]} for key in keys}
        return about | ({"at": self._at(self._revision)} if self._at else {})

    def _new_id(self) -> int:
        if self.deleted and self._rng.random() < 0.2:
            return self._rng.choice(sorted(self.deleted))
        return self._rng.getrandbits(40)

    def written_twice(self, since: float, until: float) -> set[int]:
        """Points of which more than one write was acknowledged between two monotonic times."""
        times = Counter(point for at, point in self.log if since <= at <= until)
        return {point for point, count in times.items() if count > 1}

    def differences(self, collection: str | None = None, *, but: Collection[int] = ()) -> list[str]:
        """Lost, resurrected, unexpected and wrong points, in words; none is what there should be.

        `but`: points that nobody promised anything for.
        """
        found = {point: held for point, held in self.engine.points(collection).items() if point not in but}
        said = [f"{point} is lost" for point in self.points.keys() - found.keys() - set(but)]
        others = found.keys() - self.points.keys()
        said += [f"{point} {'is resurrected' if point in self.deleted else 'is from nowhere'}" for point in others]
        for point in found.keys() & self.points.keys():
            if found[point]["payload"] != self.points[point]["payload"]:
                said.append(f"{point} has another payload")
            if not _same(found[point]["vector"], self.points[point]["vector"]):
                said.append(f"{point} has another vector")
        return said


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict) and "indices" in wanted:
        one, other = (dict(zip(v["indices"], v["values"], strict=True)) for v in (found, wanted))
        return one == pytest.approx(other, abs=1e-5)
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(_same(found[name], wanted[name]) for name in wanted)
    return bool(found == pytest.approx(wanted, abs=1e-5))
