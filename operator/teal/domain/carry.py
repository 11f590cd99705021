"""What green inherits from blue beyond what the spec declares.

A spec seldom declares everything: the application may have made payload indexes, an operator may have raised
`hnsw_config.m` by hand. Without them green would be worse than blue, and nobody would be told. So green starts
from blue's whole configuration, and the declared values override it. Only what Teal itself set earlier, and what
has left the spec since, is not inherited.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teal.domain.observed import CollectionState
from teal.domain.schema import UNNAMED, DenseVector, Schema
from teal.domain.tuning import Tuning, describe_index, named_vectors

PARAMS = ("replication_factor", "write_consistency_factor", "on_disk_payload", "read_fan_out_factor")
VECTOR_TUNING = ("hnsw_config", "quantization_config", "on_disk", "memory")
UNLIMITED = 1_000_000_000
"""The write rate limit that a lifted fence leaves behind, because Qdrant cannot unset a limit of strict mode."""


def effective(tuning: Tuning, blue: CollectionState, schema: Schema) -> Tuning:
    """The tuning that a green of `schema` gets: blue's configuration with the declared values on top."""
    config, dense = blue.config, {vector.name for vector in schema.vectors}
    inherited: dict[str, Any] = {
        "hnsw_config": _without_nulls(config.get("hnsw_config")),
        "optimizers_config": _without_nulls(config.get("optimizer_config")),
        "strict_mode_config": _strict_mode(config.get("strict_mode_config")),
        "params": {k: v for k, v in config.get("params", {}).items() if k in PARAMS and v is not None},
        "vectors": _vector_tuning(named_vectors(config.get("params", {}).get("vectors")), dense),
        "sparse_vectors": {
            name: _without_nulls(found)
            for name, found in (config.get("params", {}).get("sparse_vectors") or {}).items()
            if name in schema.sparse
        },
    }
    if config.get("quantization_config") and not blue.marks.declared.quantization:
        inherited["quantization_config"] = config["quantization_config"]
    sections = {k: v for k, v in _overlay(inherited, tuning.sections).items() if v}
    return Tuning(sections, {**_indexes(blue, tuning), **tuning.indexes})


def create_body(schema: Schema, tuning: Tuning, metadata: Mapping[str, Any], *, defer: bool) -> dict[str, Any]:
    """The body of `PUT /collections/{name}`. With `defer`, nothing is indexed until a later PATCH."""
    sections = tuning.sections
    optimizers = dict(sections.get("optimizers_config") or {})
    if defer:
        optimizers["indexing_threshold"] = 0
    vectors = {v.name: _vector_body(v, (sections.get("vectors") or {}).get(v.name)) for v in schema.vectors}
    body: dict[str, Any] = {
        "vectors": vectors[UNNAMED] if set(vectors) == {UNNAMED} else vectors,
        "sparse_vectors": {n: dict((sections.get("sparse_vectors") or {}).get(n) or {}) for n in schema.sparse},
        "shard_number": schema.shard_number,
        "sharding_method": schema.sharding_method if schema.sharding_method != "auto" else None,
        "hnsw_config": sections.get("hnsw_config"),
        "optimizers_config": optimizers,
        "quantization_config": sections.get("quantization_config"),
        "strict_mode_config": sections.get("strict_mode_config"),
        **(sections.get("params") or {}),
    }
    return {"metadata": dict(metadata)} | {k: v for k, v in body.items() if v not in (None, {})}


def _vector_body(vector: DenseVector, tuning: Mapping[str, Any] | None) -> dict[str, Any]:
    body: dict[str, Any] = {"size": vector.size, "distance": vector.distance.value, **(tuning or {})}
    if vector.datatype != "Float32":
        body["datatype"] = vector.datatype.lower()
    if vector.multivector:
        body["multivector_config"] = {"comparator": vector.multivector}
    return body


def _indexes(blue: CollectionState, tuning: Tuning) -> dict[str, Any]:
    left_the_spec = set(blue.marks.declared.indexes) - set(tuning.indexes)
    return {
        name: described
        for name, found in blue.payload_schema.items()
        if name not in left_the_spec and (described := describe_index(found))
    }


def _strict_mode(found: Mapping[str, Any] | None) -> dict[str, Any]:
    """Blue's own limits, without the `UNLIMITED` rate that a lifted fence leaves behind: that is no limit."""
    limits = _without_nulls(found)
    if limits.get("write_rate_limit") == UNLIMITED:
        del limits["write_rate_limit"]
    if not limits.get("enabled", True):
        del limits["enabled"]
    return limits


def _vector_tuning(vectors: Mapping[str, Mapping[str, Any]], kept: set[str]) -> dict[str, Any]:
    tuned = {n: {k: v for k, v in p.items() if k in VECTOR_TUNING and v is not None} for n, p in vectors.items()}
    return {name: values for name, values in tuned.items() if values and name in kept}


def _without_nulls(value: Mapping[str, Any] | None) -> dict[str, Any]:
    return {k: v for k, v in (value or {}).items() if v is not None}


def _overlay(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in top.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        replace = name == "quantization_config" or not both
        merged[name] = value if replace else _overlay(merged[name], value)
    return merged
