"""What happens to a cluster: a shard moves, a replica is added, a peer dies and comes back."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

Json = dict[str, Any]
PATIENCE = 120.0
DEAD_SECONDS = 4.0
PAUSE = 0.2


@dataclass(frozen=True)
class Cluster:
    """Some peers, and one collection on it that the trouble is about."""

    peers: list[str]
    collection: str

    async def move_a_shard(self) -> None:
        """One replica to a peer that has none of the shard, point by point, so all of them are numbered anew."""
        shard, source, target = await self._spot()
        change = {"shard_id": shard, "from_peer_id": source, "to_peer_id": target, "method": "stream_records"}
        await self._change({"move_shard": change})

    async def add_a_replica(self) -> None:
        """One more replica of one shard, on a peer that has none of it."""
        shard, source, target = await self._spot()
        change = {"shard_id": shard, "from_peer_id": source, "to_peer_id": target, "method": "stream_records"}
        await self._change({"replicate_shard": change})

    async def kill_a_peer(self) -> None:
        """The last peer ends without warning, and is started again a few seconds later."""
        await _run("QDRANT_KILL_PEER", len(self.peers))
        await asyncio.sleep(DEAD_SECONDS)
        await _run("QDRANT_START_PEER", len(self.peers))

    async def whole(self) -> None:
        """Wait until every replica of every shard is active."""
        await _until(self._is_whole)

    async def _is_whole(self) -> bool:
        for peer in self.peers:
            try:
                found = await self._shards(peer)
            except httpx.HTTPError:
                return False
            states = {shard["state"] for shard in (*found["local_shards"], *found["remote_shards"])}
            if states != {"Active"} or found["shard_transfers"]:
                return False
        return True

    async def _shards(self, peer: str) -> Any:
        async with httpx.AsyncClient(base_url=peer, timeout=10.0) as client:
            return await result(client, f"/collections/{self.collection}/cluster")

    async def _spot(self) -> tuple[int, int, int]:
        """A shard, a peer that has it, and one that has not."""
        async with httpx.AsyncClient(base_url=self.peers[0], timeout=60.0) as client:
            ids = [int(peer) for peer in (await result(client, "/cluster"))["peers"]]
        found = await self._shards(self.peers[0])
        own = int(found["peer_id"])
        holders = {shard["shard_id"]: {own} for shard in found["local_shards"]}
        for shard in found["remote_shards"]:
            holders.setdefault(shard["shard_id"], set()).add(int(shard["peer_id"]))
        shard, held = next((s, h) for s, h in holders.items() if len(h) < len(ids))
        return shard, min(held), next(peer for peer in ids if peer not in held)

    async def _change(self, change: Json) -> None:
        async with httpx.AsyncClient(base_url=self.peers[0], timeout=60.0) as client:
            answer = await client.post(f"/collections/{self.collection}/cluster", json=change)
            answer.raise_for_status()
            await _until(self._is_transferred)

    async def _is_transferred(self) -> bool:
        return not (await self._shards(self.peers[0]))["shard_transfers"]


TROUBLES: Mapping[str, Callable[[Cluster], Awaitable[None]]] = {
    "a shard moves": Cluster.move_a_shard,
    "a replica is added": Cluster.add_a_replica,
    "a peer dies and comes back": Cluster.kill_a_peer,
}


async def _until(done: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(int(PATIENCE / PAUSE)):
        if await done():
            return
        await asyncio.sleep(PAUSE)
    raise AssertionError(f"not so within {PATIENCE:.0f} s")


async def _run(variable: str, peer: int) -> None:
    command = os.environ.get(variable)
    if not command:
        pytest.skip(f"{variable} names no command")
    words = [word.replace("{peer}", str(peer)) for word in shlex.split(command)]
    process = await asyncio.create_subprocess_exec(*words)
    assert await process.wait() == 0, command


async def result(client: httpx.AsyncClient, path: str) -> Any:
    """The `result` of a GET."""
    return (await client.get(path)).raise_for_status().json()["result"]
