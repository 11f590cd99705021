"""Writers who go through every peer and count what was acknowledged.

Each point has one writer, who waits for each answer. So the last acknowledged write of a point is what has to be
there in the end, unless a later one had no answer: that point is in doubt.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

POINTS = 2_000
SIZE = 8
Content = int | None
"""The number of the write that a point holds; `None`: it was deleted."""


class Writers:
    """What was `acknowledged`, by point, and which points are `doubtful`; how often each status was answered."""

    def __init__(self, peers: list[str], alias: str, *, wait: bool, count: int = 6, pause: float = 0.01) -> None:
        self.acknowledged: dict[int, Content] = {}
        self.doubtful: set[int] = set()
        self.statuses: Counter[int] = Counter()
        self.longest_stall = 0.0
        self._peers, self._alias, self._wait, self._count, self._pause = peers, alias, wait, count, pause
        self._number = 0

    async def load(self) -> None:
        """All points, before anybody writes."""
        async with httpx.AsyncClient(base_url=self._peers[0], timeout=60.0) as client:
            for start in range(0, POINTS, 500):
                points = [self._point(number, 0) for number in range(start, start + 500)]
                answer = await client.put(f"/collections/{self._alias}/points?wait=true", json={"points": points})
                answer.raise_for_status()
        self.acknowledged = dict.fromkeys(range(POINTS), 0)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Writing until the block ends."""
        stop = asyncio.Event()
        tasks = [asyncio.create_task(self._work(number, stop)) for number in range(self._count)]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*tasks)

    async def _work(self, writer: int, stop: asyncio.Event) -> None:
        chance, succeeded = random.Random(writer), time.monotonic()
        peer = self._peers[writer % len(self._peers)]
        async with httpx.AsyncClient(base_url=peer, timeout=30.0) as client:
            while not stop.is_set():
                point = chance.randrange(POINTS // self._count) * self._count + writer
                if await self._write(client, point, delete=chance.random() < 0.3):
                    now = time.monotonic()
                    self.longest_stall = max(self.longest_stall, now - succeeded)
                    succeeded = now
                await asyncio.sleep(self._pause)

    async def _write(self, client: httpx.AsyncClient, point: int, *, delete: bool) -> bool:
        self._number += 1
        number, where = self._number, f"/collections/{self._alias}/points"
        wait = {"wait": str(self._wait).lower()}
        try:
            if delete:
                answer = await client.post(f"{where}/delete", params=wait, json={"points": [point]})
            else:
                body = {"points": [self._point(point, number)]}
                answer = await client.put(where, params=wait, json=body)
        except httpx.TransportError:
            self.statuses[0] += 1
            self.doubtful.add(point)
            return False
        self.statuses[answer.status_code] += 1
        if not answer.is_success:
            self.doubtful.add(point)
            return False
        self.acknowledged[point] = None if delete else number
        self.doubtful.discard(point)
        return True

    @staticmethod
    def _point(point: int, number: int) -> dict[str, Any]:
        vector = random.Random(f"{point} {number}").choices(range(1, 10), k=SIZE)
        return {"id": point, "vector": vector, "payload": {"number": number}}

    async def differences(self, collection: str) -> list[str]:
        """Points that are not as they were acknowledged, on any replica: what all replicas agree on is read."""
        found: dict[int, int] = {}
        offset: int | None = 0
        async with httpx.AsyncClient(base_url=self._peers[0], timeout=60.0) as client:
            while offset is not None:
                body = {"limit": 1000, "with_payload": True, "offset": offset}
                where = f"/collections/{collection}/points/scroll"
                answer = await client.post(where, params={"consistency": "all"}, json=body)
                result = answer.raise_for_status().json()["result"]
                found |= {point["id"]: point["payload"]["number"] for point in result["points"]}
                offset = result["next_page_offset"]
        return [
            f"{point}: {self.acknowledged.get(point)} was acknowledged, {found.get(point)} is there"
            for point in sorted({*found, *self.acknowledged} - self.doubtful)
            if found.get(point) != self.acknowledged.get(point)
        ]
