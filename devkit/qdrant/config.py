"""The configuration of a collection: checked when given, merged when patched, shown as a real server shows it.

It is stored as the JSON object that `GET /collections/{name}` returns under `config`. Unknown fields are dropped
silently, as by the real server, so a client must read back what it wrote.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic_core import from_json

from .errors import QdrantError, invalid, malformed

Config = dict[str, Any]
MAX_DIMENSIONS = 65536

_HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000, "max_indexing_threads": 0, "on_disk": False}
_OPTIMIZERS = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "max_segment_size": None,
    "memmap_threshold": None,
    "indexing_threshold": 10000,
    "flush_interval_sec": 5,
    "max_optimization_threads": None,
    "prevent_unoptimized": None,
}
_WAL = {"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1}

_BYTES = {"float32": 4, "float16": 2, "uint8": 1}

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Memory = Literal["cold", "cached", "pinned"]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class Hnsw(_Body):
    m: Count | None = None
    ef_construct: Count | None = None
    full_scan_threshold: Count | None = None
    max_indexing_threads: Count | None = None
    on_disk: bool | None = None
    payload_m: Count | None = None
    inline_storage: bool | None = None
    memory: Memory | None = None


class Scalar(_Body):
    type: Literal["int8"]
    quantile: Annotated[float, Field(ge=0.5, le=1.0)] | None = None
    always_ram: bool | None = None
    memory: Memory | None = None


class Product(_Body):
    compression: Literal["x4", "x8", "x16", "x32", "x64"]
    always_ram: bool | None = None
    memory: Memory | None = None


class Binary(_Body):
    always_ram: bool | None = None
    encoding: Literal["one_bit", "two_bits", "one_and_half_bits"] | None = None
    query_encoding: Literal["default", "binary", "scalar4bits", "scalar8bits"] | None = None
    memory: Memory | None = None


class Turbo(_Body):
    always_ram: bool | None = None
    bits: Literal["bits1", "bits1_5", "bits2", "bits4"] | None = None
    memory: Memory | None = None


class ScalarQuantization(_Body):
    scalar: Scalar


class ProductQuantization(_Body):
    product: Product


class BinaryQuantization(_Body):
    binary: Binary


class TurboQuantization(_Body):
    turbo: Turbo


Quantization = ScalarQuantization | ProductQuantization | BinaryQuantization | TurboQuantization


class Multivector(_Body):
    comparator: Literal["max_sim"]


class Dense(_Body):
    size: Positive
    distance: Literal["Cosine", "Euclid", "Dot", "Manhattan"]
    hnsw_config: Hnsw | None = None
    quantization_config: Quantization | None = None
    on_disk: bool | None = None
    datatype: Literal["float32", "float16", "uint8"] | None = None
    multivector_config: Multivector | None = None
    memory: Memory | None = None


class SparseIndex(_Body):
    full_scan_threshold: Count | None = None
    on_disk: bool | None = None
    datatype: Literal["float32", "float16", "uint8"] | None = None
    memory: Memory | None = None


class Sparse(_Body):
    index: SparseIndex | None = None
    modifier: Literal["none", "idf"] | None = None


class Optimizers(_Body):
    deleted_threshold: float | None = None
    vacuum_min_vector_number: Count | None = None
    default_segment_number: Count | None = None
    max_segment_size: Count | None = None
    memmap_threshold: Count | None = None
    indexing_threshold: Count | None = None
    flush_interval_sec: Count | None = None
    max_optimization_threads: Count | Literal["auto"] | None = None
    prevent_unoptimized: bool | None = None


class Wal(_Body):
    wal_capacity_mb: Positive | None = None
    wal_segments_ahead: Count | None = None
    wal_retain_closed: Positive | None = None


class StrictMode(_Body):
    enabled: bool | None = None
    max_query_limit: Count | None = None
    max_timeout: Count | None = None
    unindexed_filtering_retrieve: bool | None = None
    unindexed_filtering_update: bool | None = None
    search_max_hnsw_ef: Count | None = None
    search_allow_exact: bool | None = None
    search_max_oversampling: float | None = None
    upsert_max_batchsize: Count | None = None
    search_max_batchsize: Count | None = None
    max_collection_vector_size_bytes: Count | None = None
    read_rate_limit: Positive | None = None
    write_rate_limit: Positive | None = None
    max_collection_payload_size_bytes: Count | None = None
    max_points_count: Count | None = None
    filter_max_conditions: Count | None = None
    condition_max_size: Count | None = None
    max_payload_index_count: Count | None = None
    multivector_config: dict[str, dict[str, Any]] | None = None
    sparse_config: dict[str, dict[str, Any]] | None = None


class NewCollection(_Body):
    vectors: Dense | dict[str, Dense] = Field(default_factory=dict)
    sparse_vectors: dict[str, Sparse] | None = None
    shard_number: Positive | None = None
    sharding_method: Literal["auto", "custom"] | None = None
    replication_factor: Positive | None = None
    write_consistency_factor: Positive | None = None
    on_disk_payload: bool | None = None
    hnsw_config: Hnsw | None = None
    optimizers_config: Optimizers | None = None
    wal_config: Wal | None = None
    quantization_config: Quantization | None = None
    strict_mode_config: StrictMode | None = None
    metadata: dict[str, JsonValue] | None = None


class DenseDiff(_Body):
    hnsw_config: Hnsw | None = None
    quantization_config: Quantization | Literal["Disabled"] | None = None
    on_disk: bool | None = None
    memory: Memory | None = None


class ParamsDiff(_Body):
    replication_factor: Positive | None = None
    write_consistency_factor: Positive | None = None
    read_fan_out_factor: Count | None = None
    read_fan_out_delay_ms: Count | None = None
    on_disk_payload: bool | None = None


class CollectionDiff(_Body):
    vectors: dict[str, DenseDiff] | None = None
    sparse_vectors: dict[str, Sparse] | None = None
    params: ParamsDiff | None = None
    hnsw_config: Hnsw | None = None
    optimizers_config: Optimizers | None = None
    quantization_config: Quantization | Literal["Disabled"] | None = None
    strict_mode_config: StrictMode | None = None
    metadata: dict[str, JsonValue] | None = None


Body = TypeVar("Body", bound=BaseModel)


def parse(model: type[Body], body: bytes) -> Body:
    """`body` as `model`, or the refusal that a real server would give."""
    try:
        return model.model_validate(json_object(body))
    except ValidationError as error:
        raise _refusal(error, body) from None


def json_object(body: bytes) -> dict[str, Any]:
    """`body` as a JSON object; an absent one is empty."""
    try:
        given = from_json(body or b"{}", allow_inf_nan=False)
    except ValueError as error:  # its text says where
        raise QdrantError(400, f"Format error in JSON body: {error}") from None
    if not isinstance(given, dict):
        raise malformed("invalid type, expected a map", body)
    return given


def _refusal(error: ValidationError, body: bytes) -> QdrantError:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    if path and path[0] == "vectors":
        return malformed("data did not match any variant of untagged enum VectorsConfig", body)
    if first["type"] in {"greater_than_equal", "less_than_equal"}:
        return invalid(".".join(path), f"value {first['input']} invalid, {first['msg'].lower()}")
    return malformed(f"{'.'.join(path)}: {first['msg']}", body)


def _given(model: BaseModel | None) -> dict[str, Any]:
    return {} if model is None else model.model_dump(exclude_none=True)


def new_config(body: bytes) -> Config:
    """The configuration of a new collection, from the body of `PUT /collections/{name}`."""
    asked = parse(NewCollection, body)
    dense = {"": asked.vectors} if isinstance(asked.vectors, Dense) else asked.vectors
    check_sizes(dense, single=isinstance(asked.vectors, Dense))
    config: Config = {
        "params": _new_params(asked),
        "hnsw_config": {**_HNSW, **_given(asked.hnsw_config)},
        "optimizer_config": {**_OPTIMIZERS, **_given(asked.optimizers_config)},
        "wal_config": {**_WAL, **_given(asked.wal_config)},
        "quantization_config": _given(asked.quantization_config) or None,
    }
    if asked.strict_mode_config is not None:
        config["strict_mode_config"] = _given(asked.strict_mode_config)
    if asked.metadata:
        config["metadata"] = asked.metadata
    return config


def _new_params(asked: NewCollection) -> dict[str, Any]:
    dense = asked.vectors
    params: dict[str, Any] = {
        "vectors": _given(dense)
        if isinstance(dense, Dense)
        else {name: _given(vector) for name, vector in dense.items()},
        "shard_number": asked.shard_number or 1,
        "replication_factor": asked.replication_factor or 1,
        "write_consistency_factor": asked.write_consistency_factor or 1,
        "on_disk_payload": asked.on_disk_payload is not False,
    }
    if asked.sharding_method is not None:
        params["sharding_method"] = asked.sharding_method
    if asked.sparse_vectors:
        params["sparse_vectors"] = {name: _given(vector) for name, vector in asked.sparse_vectors.items()}
    return params


def check_sizes(dense: dict[str, Dense], *, single: bool = False) -> None:
    """Refuse a vector larger than the engine allows."""
    for name, vector in dense.items():
        if vector.size > MAX_DIMENSIONS:
            field = "vectors.size" if single else f"vectors.{name}.size"
            raise invalid(field, f"value {vector.size} invalid, must be from 1 to {MAX_DIMENSIONS}")


def patched(config: Config, body: bytes) -> Config:
    """`config` after `PATCH /collections/{name}` with `body`; what is not named stays."""
    asked = parse(CollectionDiff, body)
    changed = {
        **config,
        "params": _patched_params(config["params"], asked),
        "hnsw_config": {**config["hnsw_config"], **_given(asked.hnsw_config)},
        "optimizer_config": {**config["optimizer_config"], **_given(asked.optimizers_config)},
    }
    if asked.quantization_config is not None:
        changed["quantization_config"] = _quantization(asked.quantization_config)
    if asked.strict_mode_config is not None:
        # A limit that has been set stays set: the real server merges by `or` as well.
        changed["strict_mode_config"] = {
            **config.get("strict_mode_config", {}),
            **_given(asked.strict_mode_config),
        }
    if asked.metadata is not None:
        merged = {**config.get("metadata", {}), **asked.metadata}
        changed["metadata"] = {key: value for key, value in merged.items() if value is not None}
    return changed


def _quantization(asked: Quantization | Literal["Disabled"]) -> dict[str, Any] | None:
    return None if isinstance(asked, str) else _given(asked)


def _patched_params(params: dict[str, Any], asked: CollectionDiff) -> dict[str, Any]:
    changed = {**params, **_given(asked.params)}
    for name, diff in (asked.vectors or {}).items():
        vectors = dense_vectors({"params": changed})
        if name not in vectors:
            raise QdrantError(400, f"Wrong input: Not existing vector name error: {name}")
        changed["vectors"] = _with_vector(changed["vectors"], name, _patched_dense(vectors[name], diff))
    if asked.sparse_vectors:
        sparse = dict(changed.get("sparse_vectors", {}))
        for name, vector in asked.sparse_vectors.items():
            if name not in sparse:
                raise QdrantError(400, f"Wrong input: Not existing vector name error: {name}")
            sparse[name] = {**sparse[name], **_given(vector)}
        changed["sparse_vectors"] = sparse
    return changed


def _patched_dense(vector: dict[str, Any], diff: DenseDiff) -> dict[str, Any]:
    changed = {**vector, **diff.model_dump(exclude_none=True, exclude={"hnsw_config", "quantization_config"})}
    if diff.hnsw_config is not None:
        changed["hnsw_config"] = {**vector.get("hnsw_config", {}), **_given(diff.hnsw_config)}
    if diff.quantization_config is not None:
        changed["quantization_config"] = _quantization(diff.quantization_config)
    return {key: value for key, value in changed.items() if value is not None}


def _with_vector(vectors: dict[str, Any], name: str, vector: dict[str, Any]) -> dict[str, Any]:
    return vector if _is_single(vectors) else {**vectors, name: vector}


def _is_single(vectors: dict[str, Any]) -> bool:
    return isinstance(vectors.get("size"), int)


def dense_vectors(config: Config) -> dict[str, dict[str, Any]]:
    """The dense vectors by name; the unnamed one is called `""`."""
    vectors: dict[str, dict[str, Any]] = config["params"]["vectors"]
    return {"": vectors} if _is_single(vectors) else vectors


def vector_bytes(vector: dict[str, Any]) -> int:
    """What one dense vector takes in the storage, in bytes."""
    return int(vector["size"]) * _BYTES[vector.get("datatype") or "float32"]


def sparse_vectors(config: Config) -> dict[str, dict[str, Any]]:
    """The sparse vectors by name."""
    sparse: dict[str, dict[str, Any]] = config["params"].get("sparse_vectors", {})
    return sparse


def with_dense(config: Config, name: str, vector: dict[str, Any]) -> Config:
    """`config` with one more dense vector; a lone unnamed vector becomes the one named `""`."""
    return _with_params(config, vectors={**dense_vectors(config), name: vector})


def with_sparse(config: Config, name: str, vector: dict[str, Any]) -> Config:
    """`config` with one more sparse vector."""
    return _with_params(config, sparse_vectors={**sparse_vectors(config), name: vector})


def without_vector(config: Config, name: str) -> Config:
    """`config` without the vector `name`, dense or sparse."""
    changed = config
    if name in dense_vectors(config):
        kept = {key: value for key, value in dense_vectors(config).items() if key != name}
        changed = _with_params(changed, vectors=kept)
    if name in sparse_vectors(config):
        kept = {key: value for key, value in sparse_vectors(config).items() if key != name}
        changed = _with_params(changed, sparse_vectors=kept)
    return changed


def _with_params(config: Config, **params: Any) -> Config:
    return {**config, "params": {**config["params"], **params}}


def shard_number(config: Config) -> int:
    """How many shards the collection shows."""
    return int(config["params"]["shard_number"])


def same_points(one: Config, other: Config) -> bool:
    """Whether one can serve the points of the other: the same vectors and number of shards."""
    kept = ("vectors", "sparse_vectors", "shard_number", "sharding_method")
    return all(one["params"].get(key) == other["params"].get(key) for key in kept)
