"""The state of the server as `/telemetry`, `/cluster` and `/optimizations` show it.

The values for quiescence checks are exact: `update_queue.op_num` of a shard changes with every write to it, and
`length` is 0 because writes are applied one by one. With several peers each answers under its own id, by its own
address; the first of them holds all shards.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from devkit.qdrant import config as configs
from devkit.qdrant.errors import wrong_input
from devkit.qdrant.settings import Settings

from .collection import Collection
from .service import Service, status

Json = dict[str, Any]

PEER_ID = 1_000_000_000_000_001
_FULL_LEVEL = 3
_P2P_PORT = 6335
_STARTED = datetime.now(UTC).isoformat()


async def report(service: Service, level: int, peer: int = 0) -> Json:
    """`GET /telemetry` of one peer; its own shards appear from level 3 on."""
    if level < 0:
        raise wrong_input("details_level must not be negative")
    collections: Json = {"number_of_collections": len(service.collections)}
    if level >= _FULL_LEVEL:
        listed = [await _collection(each) for each in list(service.collections.values())]
        collections["collections"] = [_seen_by(peer, each) for each in listed]
    return {
        "id": f"embedded-{service.settings.rest_port}",
        "app": {"name": "qdrant", "version": service.settings.report_version, "startup": _STARTED},
        "collections": collections,
        "cluster": _cluster_of(service.settings, peer),
    }


def _seen_by(peer: int, collection: Json) -> Json:
    """The first peer has the shards, the others know that they are there."""
    if peer == 0:
        return collection
    return {**collection, "shards": [{**shard, "local": None} for shard in collection["shards"]]}


def _cluster_of(settings: Settings, peer: int) -> Json:
    if settings.peers == 1:
        return {"enabled": False}
    return {"enabled": True, "status": {"number_of_peers": settings.peers, "peer_id": PEER_ID + peer}}


async def _collection(collection: Collection) -> Json:
    info = await collection.info(shards=True)
    return {
        "id": collection.name,
        "init_time_ms": 0,
        "config": {**collection.config, "uuid": None},
        "shards": [_shard(collection, info, shard) for shard in range(len(info["op_nums"]))],
        "transfers": [],
        "resharding": [],
    }


def _shard(collection: Collection, info: Json, shard: int) -> Json:
    points = info["points_by_shard"][shard]
    optimized = collection.optimized
    dense = configs.dense_vectors(collection.config)
    names = dense | configs.sparse_vectors(collection.config)
    return {
        "id": shard,
        "key": None,
        "local": {
            "variant_name": "local shard",
            "status": status(collection),
            "total_optimized_points": optimized.points,
            "vectors_size_bytes": points * sum(map(configs.vector_bytes, dense.values())),
            "payloads_size_bytes": info["payload_bytes"] * points // max(1, info["points_count"]),
            "num_points": points,
            "num_vectors": points * len(names),
            "num_vectors_by_name": dict.fromkeys(names, points),
            "optimizations": {
                "status": "ok",
                "optimizations": {
                    "count": optimized.runs,
                    "total_duration_micros": int(optimized.seconds * 1e6),
                    "last_responded": optimized.last.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                },
            },
            "async_scorer": False,
            "update_queue": {"length": 0, "op_num": info["op_nums"][shard]},
        },
        "remote": [],
        "replicate_states": {str(PEER_ID): "Active"},
        "partial_snapshot": {
            "ongoing_create_snapshot_requests": 0,
            "is_recovering": False,
            "recovery_timestamp": 0,
        },
    }


def cluster(settings: Settings, peer: int = 0) -> Json:
    """`GET /cluster`: disabled for one peer, else peers on 127.0.0.1, 127.0.0.2, ... with one HTTP port."""
    if settings.peers == 1:
        return {"status": "disabled"}
    peers = {
        str(PEER_ID + number): {"uri": f"http://127.0.0.{number + 1}:{_P2P_PORT}/"}
        for number in range(settings.peers)
    }
    return {
        "status": "enabled",
        "peer_id": PEER_ID + peer,
        "peers": peers,
        "raft_info": {
            "term": 1,
            "commit": 1,
            "pending_operations": 0,
            "leader": PEER_ID,
            "role": "Leader",
            "is_voter": True,
        },
        "consensus_thread_status": {"consensus_thread_status": "working"},
        "message_send_failures": {},
    }


async def collection_cluster(collection: Collection, peer: int = 0) -> Json:
    info = await collection.info(shards=True)
    points = info["points_by_shard"]
    local = [{"shard_id": shard, "points_count": count, "state": "Active"} for shard, count in enumerate(points)]
    remote = [{"shard_id": shard, "peer_id": PEER_ID, "state": "Active"} for shard in range(len(points))]
    return {
        "peer_id": PEER_ID + peer,
        "shard_count": len(points),
        "local_shards": [] if peer else local,
        "remote_shards": remote if peer else [],
        "shard_transfers": [],
    }


async def optimizations(collection: Collection) -> Json:
    """What the optimizers do: one running entry for the whole shard, nothing ever queued."""
    info = await collection.info()
    running: list[Json] = []
    if collection.optimizing:
        segments = [{"points_count": info["points_count"]}]
        running.append({"optimizer": "indexing", "status": "optimizing", "segments": segments})
    idle = 0 if running else info["segments_count"]
    summary = {"queued_optimizations": 0, "queued_segments": 0, "queued_points": 0, "idle_segments": idle}
    return {"summary": summary, "running": running}
