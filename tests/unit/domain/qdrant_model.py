"""A Qdrant that fits on a page: what its administration does to configurations, marks, indexes and aliases.

It answers `GET /collections/{name}` in the server's own shape, which the real parser reads, so that the domain is
tested on what it will see. Points are `id → value`: enough to tell a lost write from a kept one.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from teal.domain.observed import CollectionState, Observed, Version
from teal.qdrant.collection import parse_collection

Json = dict[str, Any]

HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000, "max_indexing_threads": 0, "on_disk": False}
OPTIMIZERS = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "max_segment_size": None,
    "memmap_threshold": None,
    "indexing_threshold": 10000,
    "flush_interval_sec": 5,
    "max_optimization_threads": None,
}
PARAMS = ("shard_number", "sharding_method", "replication_factor", "write_consistency_factor", "on_disk_payload")


@dataclass
class Collection:
    config: Json
    """Replaced as a whole by every change, so that what was observed before stays as it was."""
    points: dict[int, int] = field(default_factory=dict)
    indexes: dict[str, Json] = field(default_factory=dict)


class Qdrant:
    """One server."""

    def __init__(self) -> None:
        self.collections: dict[str, Collection] = {}
        self.aliases: dict[str, str] = {}

    def create(self, name: str, body: Mapping[str, Any]) -> bool:
        if name in self.collections:
            return False
        assert name not in self.aliases, f"{name} is an alias"
        known = {"vectors", "sparse_vectors", "metadata", "quantization_config", "strict_mode_config", *PARAMS}
        assert body.keys() <= known | {"hnsw_config", "optimizers_config"}, body.keys()
        defaults = {
            "shard_number": 1,
            "replication_factor": 1,
            "write_consistency_factor": 1,
            "on_disk_payload": True,
        }
        params = {"vectors": body["vectors"], **defaults, **{k: body[k] for k in PARAMS if k in body}}
        if "sparse_vectors" in body:
            params["sparse_vectors"] = body["sparse_vectors"]
        config = {
            "params": params,
            "hnsw_config": HNSW | body.get("hnsw_config", {}),
            "optimizer_config": OPTIMIZERS | body.get("optimizers_config", {}),
            "quantization_config": body.get("quantization_config"),
            "metadata": body.get("metadata", {}),
        }
        if "strict_mode_config" in body:
            config["strict_mode_config"] = body["strict_mode_config"]
        self.collections[name] = Collection(deepcopy(config))
        return True

    def patch(self, name: str, body: Mapping[str, Any]) -> None:
        """As the server does: merge, value by value; quantization is replaced; an unknown vector is an error."""
        body, config = deepcopy(dict(body)), deepcopy(self.collections[name].config)
        params = config["params"]
        config["hnsw_config"] |= body.pop("hnsw_config", {})
        config["optimizer_config"] |= body.pop("optimizers_config", {})
        params |= body.pop("params", {})
        if strict := body.pop("strict_mode_config", {}):
            config["strict_mode_config"] = config.get("strict_mode_config", {}) | strict
        if quantization := body.pop("quantization_config", None):
            config["quantization_config"] = None if quantization == "Disabled" else quantization
        dense = (
            params["vectors"] if not isinstance(params["vectors"].get("size"), int) else {"": params["vectors"]}
        )
        for vector, change in body.pop("vectors", {}).items():
            if hnsw := change.pop("hnsw_config", {}):
                dense[vector]["hnsw_config"] = dense[vector].get("hnsw_config", {}) | hnsw
            dense[vector] |= change
        for vector, change in body.pop("sparse_vectors", {}).items():
            found = params["sparse_vectors"][vector]
            if index := change.pop("index", {}):
                found["index"] = (found.get("index") or {}) | index
            found |= change
        assert not body, f"not a PATCH of Qdrant's: {body}"
        self.collections[name].config = config

    def mark(self, name: str, marks: Mapping[str, Any]) -> None:
        """Merge key by key; a null takes its key away."""
        config = self.collections[name].config
        merged = {key: value for key, value in {**config["metadata"], **marks}.items() if value is not None}
        self.collections[name].config = {**config, "metadata": merged}

    def create_index(self, name: str, path: str, schema: Mapping[str, Any]) -> None:
        """Text indexes show their tokenizer, and stop words come back as sorted sets."""
        shown = deepcopy(dict(schema))
        if shown["type"] == "text":
            shown.setdefault("tokenizer", "word")
        if "stopwords" in shown:
            shown["stopwords"] = {k: sorted(set(v)) for k, v in shown["stopwords"].items()}
        self.collections[name].indexes[path] = shown

    def delete_index(self, name: str, path: str) -> None:
        self.collections[name].indexes.pop(path, None)

    def point_alias(self, alias: str, name: str) -> None:
        assert alias not in self.collections, f"{alias} is a collection"
        assert name in self.collections, f"{name} is missing"
        self.aliases[alias] = name

    def delete_alias(self, alias: str) -> None:
        self.aliases.pop(alias, None)

    def copy(self) -> Qdrant:
        """As it is now, whatever is changed later."""
        copied = Qdrant()
        copied.collections = {
            name: replace(found, points=dict(found.points), indexes=dict(found.indexes))
            for name, found in self.collections.items()
        }
        copied.aliases = dict(self.aliases)
        return copied

    def delete(self, name: str) -> None:
        """Deleting a collection silently takes its aliases along."""
        del self.collections[name]
        self.aliases = {alias: target for alias, target in self.aliases.items() if target != name}

    def answer(self, name: str) -> Json:
        """The `result` of `GET /collections/{name}`."""
        collection = self.collections[name]
        indexes = {
            path: {"data_type": schema["type"], "points": len(collection.points), "params": schema}
            for path, schema in collection.indexes.items()
        }
        return {
            "status": "green",
            "optimizer_status": "ok",
            "points_count": len(collection.points),
            "config": collection.config,
            "payload_schema": indexes,
        }

    def state(self, name: str) -> CollectionState:
        return parse_collection(name, self.answer(name))

    def observe(self, alias: str, adopt: str | None = None) -> Observed:
        """What concerns the resource with this alias: by prefix, by alias, or because it is to be adopted."""
        pointed = {target for name, target in self.aliases.items() if f"{name}-".startswith(f"{alias}-")}
        names = {n for n in self.collections if n.startswith(f"{alias}-") or n in pointed or n == adopt}
        states = {name: self.state(name) for name in sorted(names)}
        return Observed(Version(1, 19, 0), frozenset(self.collections), dict(self.aliases), states)
