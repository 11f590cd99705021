"""Collections as Teal declares them: what is set is shown, what is changed is shown, the rest stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.client import Rest

Json = Any

FULL: Json = {
    "vectors": {
        "size": 4,
        "distance": "Cosine",
        "on_disk": True,
        "hnsw_config": {"m": 24},
        "quantization_config": {"scalar": {"type": "int8", "quantile": 0.99, "always_ram": True}},
    },
    "shard_number": 2,
    "replication_factor": 1,
    "write_consistency_factor": 1,
    "on_disk_payload": False,
    "hnsw_config": {"m": 8, "ef_construct": 64, "on_disk": True, "payload_m": 12},
    "optimizers_config": {"indexing_threshold": 5000, "default_segment_number": 3},
    "quantization_config": {"binary": {"always_ram": True}},
    "strict_mode_config": {"enabled": True, "max_query_limit": 500},
    "metadata": {"teal.dev/owner": {"uid": "u1", "n": 1, "list": [None, True, 1.5]}},
}

PATCHES: dict[str, tuple[Json, Json]] = {
    "hnsw": ({"hnsw_config": {"m": 32}}, {"hnsw_config": {"m": 32, "ef_construct": 64}}),
    "optimizers": (
        {"optimizers_config": {"indexing_threshold": 0}},
        {"optimizer_config": {"indexing_threshold": 0, "default_segment_number": 3}},
    ),
    "quantization": (
        {"quantization_config": {"scalar": {"type": "int8"}}},
        {"quantization_config": {"scalar": {"type": "int8"}}},
    ),
    "quantization off": ({"quantization_config": "Disabled"}, {"quantization_config": None}),
    "a vector's own settings": (
        {"vectors": {"": {"hnsw_config": {"m": 4}, "on_disk": False}}},
        {"params": {"vectors": {"size": 4, "on_disk": False, "hnsw_config": {"m": 4}}}},
    ),
    "parameters": (
        {"params": {"replication_factor": 3, "write_consistency_factor": 2, "on_disk_payload": True}},
        {"params": {"replication_factor": 3, "write_consistency_factor": 2, "on_disk_payload": True}},
    ),
    "strict mode": (
        {"strict_mode_config": {"max_query_limit": 700, "write_rate_limit": 10}},
        {"strict_mode_config": {"enabled": True, "max_query_limit": 700, "write_rate_limit": 10}},
    ),
    "metadata": ({"metadata": {"x": {"y": 1}}}, {"metadata": {**FULL["metadata"], "x": {"y": 1}}}),
    "metadata taken away": (
        {"metadata": {"teal.dev/owner": None, "x": 1}},
        {"metadata": {"teal.dev/owner": None, "x": 1}},
    ),
}


def within(part: Json, whole: Json, at: str = "$") -> list[str]:
    """Where `whole` does not hold what `part` asks for; None asks for null or nothing."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return [line for key in part for line in within(part[key], whole.get(key), f"{at}.{key}")]
    return [] if part == whole else [f"{at}: asked for {part!r}, shown {whole!r}"]


@pytest.fixture
def full(new_collection: Callable[..., str]) -> str:
    return new_collection(**FULL)


def test_what_is_declared_is_shown(rest: Rest, full: str) -> None:
    config = rest.info(full)["config"]
    in_params = {"vectors", "shard_number", "replication_factor", "write_consistency_factor", "on_disk_payload"}
    asked = {key: value for key, value in FULL.items() if key not in in_params | {"optimizers_config"}}
    asked["params"] = {key: FULL[key] for key in in_params}
    asked["optimizer_config"] = FULL["optimizers_config"]
    assert within(asked, config) == []


@pytest.mark.parametrize(("patch", "shown"), PATCHES.values(), ids=PATCHES)
def test_a_patch_changes_what_it_names_and_nothing_else(rest: Rest, full: str, patch: Json, shown: Json) -> None:
    before = rest.info(full)["config"]
    rest.patch(full, **patch)
    after = rest.info(full)["config"]
    assert within(shown, after) == []
    section = {"optimizers_config": "optimizer_config", "vectors": "params"}
    touched = {section.get(key, key) for key in patch}
    assert {k: v for k, v in after.items() if k not in touched} == {
        k: v for k, v in before.items() if k not in touched
    }


def test_metadata_is_merged_key_by_key_and_not_deeper(rest: Rest, full: str) -> None:
    rest.patch(full, metadata={"teal.dev/owner": {"uid": "u2"}, "other": [1]})
    assert rest.info(full)["config"]["metadata"] == {"teal.dev/owner": {"uid": "u2"}, "other": [1]}


def test_metadata_is_kept_as_written(rest: Rest, full: str) -> None:
    assert rest.info(full)["config"]["metadata"] == FULL["metadata"]


def test_what_cannot_change_does_not(rest: Rest, full: str) -> None:
    """The server says yes and changes nothing: so Teal reads back after every write."""
    rest.patch(full, vectors={"": {"size": 8, "distance": "Dot"}})
    vectors = rest.info(full)["config"]["params"]["vectors"]
    assert (vectors["size"], vectors["distance"]) == (4, "Cosine")


def test_a_patch_of_a_missing_collection_or_vector_is_refused(rest: Rest, full: str) -> None:
    patch = {"metadata": {"x": 1}}
    assert rest.call("PATCH", f"/collections/{full}-none", patch).status == 404
    unknown = {"vectors": {"nope": {"on_disk": True}}}
    assert rest.call("PATCH", f"/collections/{full}", unknown).status == 400


@pytest.mark.parametrize("size", [0, 65537, -1, 1.5, "4"])
def test_a_size_out_of_bounds_is_refused(rest: Rest, prefix: str, size: Json) -> None:
    config = {"vectors": {"size": size, "distance": "Dot"}}
    assert rest.call("PUT", f"/collections/{prefix}bad", config).status in {400, 422}
    assert rest.ok("GET", f"/collections/{prefix}bad/exists") == {"exists": False}


def test_a_dropped_name_can_be_used_again_and_is_empty(rest: Rest, new_collection: Callable[..., str]) -> None:
    collection = new_collection()
    rest.upsert(collection, [{"id": 1, "vector": [1, 2, 3, 4]}])
    assert rest.drop(collection) is True
    rest.create(collection, vectors={"size": 2, "distance": "Dot"})
    assert rest.count(collection) == 0


def test_names_keep_their_case(rest: Rest, prefix: str, new_collection: Callable[..., str]) -> None:
    config = {"vectors": {"size": 2, "distance": "Dot"}}
    rest.create(f"{prefix}Docs", **config)
    rest.create(f"{prefix}docs", **config)
    rest.upsert(f"{prefix}Docs", [{"id": 1, "vector": [1, 2]}])
    assert (rest.count(f"{prefix}Docs"), rest.count(f"{prefix}docs")) == (1, 0)


@pytest.mark.parametrize("shards", [1, 3])
def test_shards_are_shown_and_hold_every_point(
    rest: Rest, new_collection: Callable[..., str], shards: int
) -> None:
    c = new_collection(shard_number=shards)
    rest.upsert(c, [{"id": i, "vector": [1, 2, 3, i]} for i in range(30)])
    cluster = rest.ok("GET", f"/collections/{c}/cluster")
    assert cluster["shard_count"] == len(cluster["local_shards"]) == shards
    assert sum(shard["points_count"] for shard in cluster["local_shards"]) == 30
    assert rest.info(c)["points_count"] == rest.count(c) == 30
    assert rest.ids(c) == list(range(30))


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
def test_health_is_told_without_a_key(rest: Rest, path: str) -> None:
    assert rest.call("GET", path).status == 200
