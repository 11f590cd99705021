"""From the configuration of a collection to that of the engine, and between index parameters and JSON.

The engine has no constructors from JSON, so each nested object is built here. Settings that the engine does not
know (write-ahead log sizes, replication, strict mode) stay in the configuration and are not passed on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qdrant_edge as edge

from devkit.qdrant.config import Config, dense_vectors, sparse_vectors
from devkit.qdrant.errors import wrong_input

Json = dict[str, Any]

_DATATYPES = {
    "float32": edge.VectorStorageDatatype.Float32,
    "float16": edge.VectorStorageDatatype.Float16,
    "uint8": edge.VectorStorageDatatype.Uint8,
}
_MEMORY = {"cold": edge.Memory.Cold, "cached": edge.Memory.Cached, "pinned": edge.Memory.Pinned}
_DISTANCES = {
    "Cosine": edge.Distance.Cosine,
    "Euclid": edge.Distance.Euclid,
    "Dot": edge.Distance.Dot,
    "Manhattan": edge.Distance.Manhattan,
}
_MODIFIERS = {"idf": edge.Modifier.Idf}
_BITS = {
    "bits1": edge.TurboQuantBitSize.Bits1,
    "bits1_5": edge.TurboQuantBitSize.Bits1_5,
    "bits2": edge.TurboQuantBitSize.Bits2,
    "bits4": edge.TurboQuantBitSize.Bits4,
}
_ENCODINGS = {
    "one_bit": edge.BinaryQuantizationEncoding.OneBit,
    "two_bits": edge.BinaryQuantizationEncoding.TwoBits,
    "one_and_half_bits": edge.BinaryQuantizationEncoding.OneAndHalfBits,
}
_NO_VECTOR = "__no_vector__"
_QUERY_ENCODINGS = {
    "default": edge.BinaryQuantizationQueryEncoding.Default,
    "binary": edge.BinaryQuantizationQueryEncoding.Binary,
    "scalar4bits": edge.BinaryQuantizationQueryEncoding.Scalar4Bits,
    "scalar8bits": edge.BinaryQuantizationQueryEncoding.Scalar8Bits,
}


def edge_config(config: Config) -> edge.EdgeConfig:
    """The engine's configuration of one shard."""
    hnsw = config["hnsw_config"]
    optimizers = config["optimizer_config"]
    return edge.EdgeConfig(
        vectors={name: _dense(vector, hnsw) for name, vector in dense_vectors(config).items()},
        sparse_vectors=_sparse_of(config),
        on_disk_payload=config["params"]["on_disk_payload"],
        hnsw_config=_hnsw(hnsw),
        quantization_config=_quantization(config["quantization_config"]),
        optimizers=edge.EdgeOptimizersConfig(
            deleted_threshold=optimizers["deleted_threshold"],
            vacuum_min_vector_number=optimizers["vacuum_min_vector_number"],
            default_segment_number=optimizers["default_segment_number"],
            max_segment_size=optimizers["max_segment_size"],
            indexing_threshold=optimizers["indexing_threshold"],
            prevent_unoptimized=optimizers["prevent_unoptimized"],
        ),
    )


def _sparse_of(config: Config) -> dict[str, edge.EdgeSparseVectorParams]:
    """The sparse vectors; one that nobody names where there is no vector at all, which the engine refuses."""
    sparse = sparse_vectors(config)
    if not sparse and not dense_vectors(config):
        return {_NO_VECTOR: edge.EdgeSparseVectorParams()}
    return {name: _sparse(vector) for name, vector in sparse.items()}


def _dense(vector: Json, hnsw: Json) -> edge.EdgeVectorParams:
    own = vector.get("hnsw_config")
    return edge.EdgeVectorParams(
        size=vector["size"],
        distance=distance(vector["distance"]),
        on_disk=vector.get("on_disk"),
        multivector_config=multivector(vector.get("multivector_config")),
        datatype=_DATATYPES.get(vector.get("datatype", "")),
        quantization_config=_quantization(vector.get("quantization_config")),
        hnsw_config=_hnsw({**hnsw, **own}) if own else None,
        memory=_MEMORY.get(vector.get("memory", "")),
    )


def _sparse(vector: Json) -> edge.EdgeSparseVectorParams:
    index = vector.get("index") or {}
    return edge.EdgeSparseVectorParams(
        full_scan_threshold=index.get("full_scan_threshold"),
        on_disk=index.get("on_disk"),
        modifier=_MODIFIERS.get(vector.get("modifier", "")),
        datatype=_DATATYPES.get(index.get("datatype", "")),
        memory=_MEMORY.get(index.get("memory", "")),
    )


def _hnsw(hnsw: Json) -> edge.HnswIndexConfig:
    return edge.HnswIndexConfig(
        m=hnsw["m"],
        ef_construct=hnsw["ef_construct"],
        full_scan_threshold=hnsw["full_scan_threshold"],
        max_indexing_threads=hnsw["max_indexing_threads"],
        on_disk=hnsw.get("on_disk"),
        payload_m=hnsw.get("payload_m"),
        inline_storage=hnsw.get("inline_storage"),
        memory=_MEMORY.get(hnsw.get("memory", "")),
    )


def _quantization(quantization: Json | None) -> Any:
    if not quantization:
        return None
    ((kind, given),) = quantization.items()
    common = {"always_ram": given.get("always_ram"), "memory": _MEMORY.get(given.get("memory", ""))}
    if kind == "scalar":
        quantile = given.get("quantile")
        return edge.ScalarQuantizationConfig(type=edge.ScalarType.Int8, quantile=quantile, **common)
    if kind == "product":
        ratio = getattr(edge.CompressionRatio, given["compression"].upper())
        return edge.ProductQuantizationConfig(compression=ratio, **common)
    if kind == "binary":
        return edge.BinaryQuantizationConfig(
            encoding=_ENCODINGS.get(given.get("encoding", "")),
            query_encoding=_QUERY_ENCODINGS.get(given.get("query_encoding", "")),
            **common,
        )
    return edge.TurboQuantQuantizationConfig(bits=_BITS.get(given.get("bits", "")), **common)


def distance(name: str) -> edge.Distance:
    return _DISTANCES[name]


def multivector(given: Json | None) -> edge.MultiVectorConfig | None:
    return edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim) if given else None


def datatype(name: str | None) -> edge.VectorStorageDatatype | None:
    return _DATATYPES[name] if name else None


def modifier(name: str | None) -> edge.Modifier | None:
    return _MODIFIERS.get(name or "")


# ---- payload indexes ----------------------------------------------------------------------------------------

_INDEXES: dict[str, tuple[Any, Any]] = {
    "keyword": (edge.PayloadSchemaType.Keyword, edge.KeywordIndexParams),
    "integer": (edge.PayloadSchemaType.Integer, edge.IntegerIndexParams),
    "float": (edge.PayloadSchemaType.Float, edge.FloatIndexParams),
    "geo": (edge.PayloadSchemaType.Geo, edge.GeoIndexParams),
    "text": (edge.PayloadSchemaType.Text, edge.TextIndexParams),
    "bool": (edge.PayloadSchemaType.Bool, edge.BoolIndexParams),
    "datetime": (edge.PayloadSchemaType.Datetime, edge.DatetimeIndexParams),
    "uuid": (edge.PayloadSchemaType.Uuid, edge.UuidIndexParams),
}
_FIELDS = (
    "is_tenant", "is_principal", "lookup", "range", "on_disk", "memory", "enable_hnsw", "prefix", "tokenizer",
    "min_token_len", "max_token_len", "lowercase", "ascii_folding", "phrase_matching", "stopwords", "stemmer",
)  # fmt: skip


_SHOWN_ALWAYS = {
    "integer": ("lookup", "range", "is_principal"),
    "float": ("is_principal",),
    "datetime": ("is_principal",),
}
"""Qdrant shows these also where they are not set."""


def index_schema(given: str | Json) -> Any:
    """The engine's index parameters from `"keyword"` or `{"type": "keyword", ...}`."""
    kind = given if isinstance(given, str) else given.get("type")
    if kind not in _INDEXES:
        raise wrong_input(f"unknown payload index type {kind!r}")
    plain, params = _INDEXES[kind]
    if isinstance(given, str):
        return plain
    known = {key: value for key, value in given.items() if key != "type" and value is not None}
    try:
        return params(**{key: _READERS.get(key, _same)(value) for key, value in known.items()})
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise wrong_input(f"payload index {kind}: {error}") from None


def index_json(info: edge.PayloadIndexInfo) -> Json:
    """One entry of `payload_schema`, as `GET /collections/{name}` shows it."""
    kind = _name(info.data_type)
    shown: Json = {"data_type": kind}
    if info.params is not None:
        given = ((field, getattr(info.params, field, None)) for field in _FIELDS)
        unset: Json = dict.fromkeys(_SHOWN_ALWAYS.get(kind, ()))
        shown["params"] = (
            {"type": kind} | unset | {field: _shown(value) for field, value in given if value is not None}
        )
    return shown | {"points": info.points}


def _same(value: Any) -> Any:
    return value


def _tokenizer(value: str) -> Any:
    return getattr(edge.TokenizerType, value.capitalize())


def _language(value: str) -> Any:
    return getattr(edge.Language, value.capitalize())


def _stopwords(value: str | Json) -> Any:
    if isinstance(value, str):
        return _language(value)
    return edge.StopwordsSet(
        languages={_language(name) for name in value.get("languages") or ()},
        custom=set(value.get("custom") or ()),
    )


def _stemmer(value: Json) -> Any:
    if value.get("type") != "snowball":
        return edge.DisabledStemmer()
    return edge.SnowballParams(getattr(edge.SnowballLanguage, value["language"].capitalize()))


_READERS: dict[str, Callable[[Any], Any]] = {
    "tokenizer": _tokenizer,
    "stopwords": _stopwords,
    "stemmer": _stemmer,
    "memory": lambda value: _MEMORY[value],
}


def _name(member: Any) -> str:
    return str(member).rsplit(".", 1)[-1].lower()


def _shown(value: Any) -> Any:
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, edge.StopwordsSet):
        languages = sorted(_name(language) for language in value.languages or ())
        return {"languages": languages, "custom": sorted(value.custom or ())}
    if isinstance(value, edge.SnowballParams):
        return {"type": "snowball", "language": _name(value.language)}
    if isinstance(value, edge.DisabledStemmer):
        return {"type": "none"}
    return _name(value)
