"""What the server does, by collection name or alias, for both interfaces.

Names are resolved once, when a request starts, aliases before collections. A write that resolved its alias
before the alias moved completes on the old collection, as on a real server. Changes of names and configurations
are made one at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from devkit.qdrant import config as configs
from devkit.qdrant.calls import WRITES
from devkit.qdrant.config import Config, Dense, Sparse
from devkit.qdrant.errors import already_exists, internal, invalid, malformed, no_collection, wrong_input
from devkit.qdrant.settings import Settings

from . import optimizer
from .aliases import Aliases
from .collection import Collection
from .files import Files, Record
from .workers import Reply

Json = dict[str, Any]

_OPTIMIZED_BY = ("hnsw_config", "optimizer_config", "quantization_config", "params")
SEARCHES = ("query", "query_batch")
_SLICES_SINCE = (1, 19)


class Service:
    """All collections and aliases of one server."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.files = Files(settings.data)
        self.collections = {
            record.name: Collection(self.files, folder, record, self._make_room)
            for folder, record in self.files.collections()
        }
        self.aliases = Aliases(self.files)
        self.disk_full = False
        self.slow: dict[str, float] = {}
        """Seconds that searches in a collection take longer, by its name."""
        self.changing = asyncio.Lock()

    # ---- names ----------------------------------------------------------------------------------------------

    def resolve(self, name: str) -> Collection:
        """The collection that `name` means, or 404."""
        target = self.aliases.target(name) or name
        collection = self.collections.get(target)
        if collection is None:
            raise no_collection(target)
        return collection

    def exists(self, name: str) -> bool:
        return (self.aliases.target(name) or name) in self.collections

    async def change_aliases(self, actions: list[Json]) -> None:
        """Apply alias actions one by one; one that fails leaves those before it done, as up to 1.19."""
        async with self.changing:
            for action in actions:
                self._change_alias(action)

    def _change_alias(self, action: Json) -> None:
        if create := action.get("create_alias"):
            if create["alias_name"] in self.collections:
                raise already_exists(create["alias_name"])
            if create["collection_name"] not in self.collections:
                raise no_collection(create["collection_name"])
            self.aliases.point(create["alias_name"], create["collection_name"])
        elif delete := action.get("delete_alias"):
            self.aliases.remove(delete["alias_name"])
        elif rename := action.get("rename_alias"):
            self.aliases.rename(rename["old_alias_name"], rename["new_alias_name"])
        else:
            raise wrong_input(f"unknown alias action {action}")

    # ---- collections ----------------------------------------------------------------------------------------

    async def create(self, name: str, body: bytes) -> None:
        _check_name(name)
        config = configs.new_config(body)
        async with self.changing:
            if name in self.collections:
                raise already_exists(name)
            if self.aliases.target(name):
                raise wrong_input(
                    f"Can't create collection with name {name}. Alias with the same name already exists"
                )
            self.add(name, config)

    def add(self, name: str, config: Config) -> Collection:
        """A new and empty collection; its shard is made when it is first used."""
        folder, record = self.files.new_folder(), Record(name, config, "shard-0")
        collection = Collection(self.files, folder, record, self._make_room)
        self.files.save(folder, record)
        self.collections[name] = collection
        return collection

    async def patch(self, name: str, body: bytes) -> None:
        async with self.changing:
            collection = self.resolve(name)
            before, after = collection.config, configs.patched(collection.config, body)
            rebuilt = any(before.get(part) != after.get(part) for part in _OPTIMIZED_BY)
            if rebuilt:
                await optimizer.stop(collection)
            asked = configs.json_object(body)
            strict = asked.get("strict_mode_config") is not None
            await self._reconfigure(collection, after, rebuilt=rebuilt, strict=strict)
            # Also without a change: this is how a collection that a restart left grey is set going.
            if (
                asked.get("optimizers_config") is not None
                and await collection.info()
                and optimizer.due(collection)
            ):
                optimizer.start(collection)

    async def _reconfigure(self, collection: Collection, config: Config, *, rebuilt: bool, strict: bool) -> None:
        await collection.reconfigure(config, reload=rebuilt, strict=strict)
        if rebuilt and optimizer.worthwhile(
            await collection.info(), config["optimizer_config"]["indexing_threshold"]
        ):
            optimizer.start(collection)

    async def delete(self, name: str) -> bool:
        """Drop a collection and, without a word, its aliases; False for an alias or nothing."""
        async with self.changing:
            collection = self.collections.pop(name, None)
            if collection is None:
                return False
            self.aliases.drop_target(name)
            collection.dropped = True
            await optimizer.stop(collection)
            await collection.stop()
            await asyncio.to_thread(self.files.remove, collection.folder)
            return True

    async def info(self, name: str) -> Json:
        """What `GET /collections/{name}` shows."""
        return await self.describe(self.resolve(name))

    async def describe(self, collection: Collection) -> Json:
        counts = await collection.info()
        return {
            "status": status(collection),
            "optimizer_status": {"error": collection.failure} if collection.failure else "ok",
            "indexed_vectors_count": counts["indexed_vectors_count"],
            "points_count": counts["points_count"],
            "segments_count": counts["segments_count"],
            "config": collection.config,
            "payload_schema": counts["payload_schema"],
            "update_queue": {"length": 0},
        }

    # ---- points ---------------------------------------------------------------------------------------------

    async def call(self, name: str, call: str, body: bytes, *, wire: str, args: Mapping[str, str]) -> Reply:
        """A call on the points or payload indexes of a collection."""
        collection = self.resolve(name)
        if call in WRITES and self.disk_full:
            raise internal("No space left on device: there is not enough disk space for the write")
        if self.settings.version < _SLICES_SINCE:
            args = _before_slices(body, wire, args)
        if call in SEARCHES and collection.name in self.slow:
            await asyncio.sleep(self.slow[collection.name])
        reply = await collection.call(call, body, wire=wire, **args)
        if call in WRITES and optimizer.due(collection):
            optimizer.start(collection)
        return reply

    async def _make_room(self) -> None:
        """Stop the workers of the least recently used collections, if one more would be too many."""
        running = sum(each.worker is not None for each in self.collections.values())
        idle = sorted((each for each in self.collections.values() if each.idle), key=lambda each: each.used)
        for each in idle[: max(0, running + 1 - self.settings.max_workers)]:
            await each.rest()

    # ---- vectors --------------------------------------------------------------------------------------------

    async def create_vector(self, name: str, vector: str, body: bytes, args: Mapping[str, str]) -> Reply:
        """Add a named vector; adding the same again is allowed, another of that name is refused."""
        given = configs.json_object(body)
        async with self.changing:
            collection = self.resolve(name)
            changed = _with_vector(collection.config, vector, given, body)
            await optimizer.stop(collection)
            reply = await self.call(
                collection.name, "create_vector", body, wire="rest", args={**args, "vector": vector}
            )
            await collection.reconfigure(changed, reload=True)
            return reply

    async def delete_vector(self, name: str, vector: str, args: Mapping[str, str]) -> Reply:
        async with self.changing:
            collection = self.resolve(name)
            known = configs.dense_vectors(collection.config) | configs.sparse_vectors(collection.config)
            if vector not in known:
                raise wrong_input(f"Not existing vector name error: {vector}")
            await optimizer.stop(collection)
            reply = await self.call(
                collection.name, "delete_vector", b"", wire="rest", args={**args, "vector": vector}
            )
            await collection.reconfigure(configs.without_vector(collection.config, vector), reload=True)
            return reply

    # ---- the server -----------------------------------------------------------------------------------------

    async def close(self) -> None:
        """End all workers; everything is on disk then."""
        for collection in self.collections.values():
            await optimizer.stop(collection)
        await asyncio.gather(*(collection.stop() for collection in self.collections.values()))


def status(collection: Collection) -> str:
    """Yellow while the optimizers work, red where they failed, grey where they were not started, else green."""
    if collection.optimizing:
        return "yellow"
    if collection.failure:
        return "red"
    return "grey" if optimizer.due(collection) else "green"


def _before_slices(body: bytes, wire: str, args: Mapping[str, str]) -> Mapping[str, str]:
    """What a server before 1.19, which this one may pass itself off as, makes of slices.

    In JSON it refuses them. In protobuf a slice is a field that it does not know, so the condition is empty and
    counts for nothing: the answer is that of the whole collection.
    """
    if wire == "grpc":
        return {**args, "slices": "unknown"}
    if b'"slice"' in body:
        raise malformed(
            "Expected some form of condition, which can be a field condition (like "
            '{"key": ..., "match": ... }), or some other mentioned in the documentation: '
            "https://qdrant.tech/documentation/concepts/filtering/#filtering-conditions",
            body,
        )
    return args


def _check_name(name: str) -> None:
    for wrong in '/\\:*?"<>|':
        if wrong in name:
            message = f'collection name cannot contain "{wrong}" char'
            raise invalid("collection_name", message, where="path parameters")
    if len(name) > 255:
        raise invalid("collection_name", "length is greater than 255", where="path parameters")


def _with_vector(config: Config, name: str, given: Json, body: bytes) -> Config:
    try:
        if "dense" in given:
            vector = Dense.model_validate(given["dense"])
            configs.check_sizes({name: vector})
            return configs.with_dense(config, name, vector.model_dump(exclude_none=True))
        sparse = Sparse.model_validate(given["sparse"])
        return configs.with_sparse(config, name, sparse.model_dump(exclude_none=True))
    except (KeyError, ValueError) as error:
        raise malformed(str(error).partition("\n")[0], body) from None
