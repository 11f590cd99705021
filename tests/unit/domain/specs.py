"""Hypothesis strategies for small specs: what can be declared of a collection, in Qdrant's own names."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from teal.domain.schema import Schema
from teal.domain.tuning import Tuning
from tests.unit.domain.builders import dense, schema

Json = dict[str, Any]

onoff = st.booleans()
hnsw = st.fixed_dictionaries({}, optional={"m": st.sampled_from([0, 16, 32]), "on_disk": onoff})
scalar = st.fixed_dictionaries(
    {"type": st.just("int8")}, optional={"quantile": st.sampled_from([0.5, 0.99]), "always_ram": onoff}
)
product = st.fixed_dictionaries({"compression": st.sampled_from(["x4", "x16"])}, optional={"always_ram": onoff})
binary = st.fixed_dictionaries({}, optional={"always_ram": onoff, "encoding": st.just("two_bits")})
quantization = st.one_of(
    *[kind.map(lambda value, name=name: {name: value}) for name, kind in
      (("scalar", scalar), ("product", product), ("binary", binary))]
)  # fmt: skip
optimizers = st.fixed_dictionaries(
    {},
    optional={
        "deleted_threshold": st.sampled_from([0.2, 0.3]),
        "indexing_threshold": st.sampled_from([0, 10000, 20000]),
        "max_segment_size": st.just(1000),
    },
)
strict = st.fixed_dictionaries(
    {},
    optional={
        "enabled": onoff,
        "search_allow_exact": onoff,
        "unindexed_filtering_update": onoff,
        "max_query_limit": st.just(100),
        "search_max_oversampling": st.just(2.5),
    },
)
params = st.fixed_dictionaries({}, optional={"replication_factor": st.integers(1, 3), "on_disk_payload": onoff})
vector = st.fixed_dictionaries(
    {}, optional={"on_disk": onoff, "hnsw_config": hnsw.filter(bool), "quantization_config": quantization}
).filter(bool)
sparse = st.fixed_dictionaries(
    {},
    optional={
        "modifier": st.just("idf"),
        "index": st.fixed_dictionaries({"on_disk": onoff}, optional={"full_scan_threshold": st.just(500)}),
    },
).filter(bool)

INDEX_OPTIONS: dict[str, Json] = {
    "keyword": {"is_tenant": onoff},
    "integer": {"lookup": onoff, "range": st.just(True), "is_principal": onoff},
    "float": {"is_principal": onoff},
    "bool": {},
    "geo": {},
    "datetime": {"is_principal": onoff},
    "uuid": {"is_tenant": onoff},
    "text": {
        "tokenizer": st.sampled_from(["word", "prefix", "multilingual"]),
        "lowercase": onoff,
        "ascii_folding": onoff,
        "min_token_len": st.integers(1, 3),
        "phrase_matching": onoff,
        "stopwords": st.fixed_dictionaries(
            {},
            optional={
                "languages": st.permutations(["german", "english"]),
                "custom": st.lists(st.sampled_from("ab"), max_size=2),
            },
        ),
        "stemmer": st.just({"type": "snowball", "language": "english"}),
    },
}
index = st.one_of(
    *[
        st.fixed_dictionaries(
            {"type": st.just(kind)}, optional={"on_disk": onoff, "enable_hnsw": onoff, **options}
        )
        for kind, options in INDEX_OPTIONS.items()
    ]
)
indexes = st.dictionaries(st.sampled_from(["tenant", "text", "meta.n"]), index, max_size=3)

SCHEMAS = (
    schema(),
    schema(sparse=("bm25",)),
    schema(dense(name="text"), dense(8, name="image"), sparse=("bm25", "splade")),
)


def tunings(for_schema: Schema) -> SearchStrategy[Tuning]:
    """What a spec of this schema can declare beyond it; sections that are empty are absent, as in production."""
    vectors = st.dictionaries(st.sampled_from([v.name for v in for_schema.vectors]), vector, min_size=1)
    sections = {
        "hnsw_config": hnsw.filter(bool),
        "optimizers_config": optimizers.filter(bool),
        "strict_mode_config": strict.filter(bool),
        "quantization_config": quantization,
        "params": params.filter(bool),
        "vectors": vectors,
    }
    if for_schema.sparse:
        sections["sparse_vectors"] = st.dictionaries(st.sampled_from(for_schema.sparse), sparse, min_size=1)
    return st.builds(Tuning, st.fixed_dictionaries({}, optional=sections), indexes)
