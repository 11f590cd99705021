"""From manifests to what the planner needs: everything that is declared, nothing that is not."""

from __future__ import annotations

from typing import Any

import pytest

from teal.api.embedding_set import EmbeddingSet
from teal.api.manifest import parse
from teal.api.vector_collection import VectorCollection
from teal.domain.actions import Asked
from teal.domain.carry import create_body
from teal.domain.errors import TerminalError
from teal.domain.marks import Encoder
from teal.domain.plan import Desired, Identity
from teal.domain.schema import Datatype, DenseVector, Distance, Schema
from teal.domain.tuning import difference
from teal.domain.watching import WatchLimits
from teal.domain.windows import Window
from teal.domain.writes import WriteMode
from teal.migration.contract import Resource
from teal.migration.options import BoundedQuery, Hook, Options
from teal.migration.resolve.desired import desired, options
from tests.unit.api.manifests import EMBEDDER, EVERYTHING, Manifest, collection, embeddings
from tests.unit.domain.builders import metadata
from tests.unit.domain.qdrant_model import Qdrant


def resource(manifest: Manifest, embedding_set: Manifest | None = None, **more: Any) -> Resource:
    found = parse(manifest)
    made_of = parse(embedding_set) if embedding_set else None
    assert isinstance(found, VectorCollection)
    assert made_of is None or isinstance(made_of, EmbeddingSet)
    return Resource(found, made_of, uid="u", namespace="search", name=found.metadata.name, **more)


def resolved(manifest: Manifest, embedding_set: Manifest | None = None, **more: Any) -> Desired:
    return desired(resource(manifest, embedding_set, **more), "cluster-1")


REFERRING = collection(dimensions=None, embeddingSetRef={"name": "minilm"})


class TestTheSmallest:
    def test_it_declares_vectors_and_nothing_else(self) -> None:
        found = resolved(collection())
        assert found.schema == Schema((DenseVector("", 384, Distance.COSINE),), schema_version="v1")
        assert found.tuning.sections == {}
        assert found.tuning.indexes == {}
        assert (found.encoder, found.text_field, found.adopt, found.asked) == (None, None, None, Asked())
        assert not found.has_embedder

    def test_whose_it_is(self) -> None:
        found = resolved(collection())
        assert found.identity == Identity("u", "cluster-1", "search", "docs", "docs")
        assert found.alias == "docs"
        assert resolved(collection(alias="Docs_2")).alias == "Docs_2"


class TestSchema:
    def test_named_vectors_sparse_ones_and_shards(self) -> None:
        found = resolved(EVERYTHING).schema
        assert found == Schema(
            (
                DenseVector("text", 65536, Distance.MANHATTAN, Datatype.UINT8, "max_sim"),
                DenseVector("image", 1, Distance.COSINE),
            ),
            sparse=("bm25",),
            shard_number=2,
            schema_version="v2",
            model="intfloat/e5-large",
        )

    def test_an_embedding_set_says_what_the_vectors_are(self) -> None:
        minilm = embeddings(
            schemaVersion="v3", distance="Dot", datatype="Float16", model="m", embedder=EMBEDDER,
            source={"collection": {"textField": "body"}},
        )  # fmt: skip
        found = resolved(REFERRING, minilm)
        assert found.schema == Schema(
            (DenseVector("", 384, Distance.DOT, Datatype.FLOAT16),), schema_version="v3", model="m"
        )
        assert found.encoder == Encoder("m", "v3", 384, "http://tei:8080/v1")
        assert (found.has_embedder, found.text_field) == (True, "body")

    def test_one_that_is_not_there(self) -> None:
        with pytest.raises(TerminalError, match="'minilm', but namespace 'search' has no") as error:
            resolved(REFERRING)
        assert error.value.reason == "EmbeddingSetNotFound"

    def test_without_a_model_clients_are_told_nothing(self) -> None:
        assert resolved(REFERRING, embeddings()).encoder is None
        assert resolved(collection(model="m")).encoder == Encoder("m", "v1", 384)


OWN = {"name": "a", "dimensions": 4, "onDisk": True, "hnsw": {"m": 4}}
PLAIN = {"name": "b", "dimensions": 4}
IDF = {"name": "s", "modifier": "Idf", "index": {"datatype": "Float16"}}

TUNINGS: dict[str, tuple[Manifest, dict[str, Any]]] = {
    "hnsw": (
        collection(hnsw={"m": 8, "efConstruct": 50, "payloadM": 0, "onDisk": False}),
        {"hnsw_config": {"m": 8, "ef_construct": 50, "payload_m": 0, "on_disk": False}},
    ),
    "optimizers": (
        collection(optimizers={"indexingThreshold": 0, "deletedThreshold": 0.5}),
        {"optimizers_config": {"indexing_threshold": 0, "deleted_threshold": 0.5}},
    ),
    "strict mode": (
        collection(strictMode={"enabled": True, "searchAllowExact": False, "searchMaxHnswEf": 64}),
        {"strict_mode_config": {"enabled": True, "search_allow_exact": False, "search_max_hnsw_ef": 64}},
    ),
    "scalar": (
        collection(quantization={"scalar": {"type": "int8", "quantile": 0.99, "alwaysRam": True}}),
        {"quantization_config": {"scalar": {"type": "int8", "quantile": 0.99, "always_ram": True}}},
    ),
    "product": (
        collection(quantization={"product": {"compression": "x16"}}),
        {"quantization_config": {"product": {"compression": "x16"}}},
    ),
    "binary": (
        collection(quantization={"binary": {}}),
        {"quantization_config": {"binary": {}}},
    ),
    "replicas": (
        collection(replicationFactor=2, writeConsistencyFactor=1, onDiskPayload=False),
        {"params": {"replication_factor": 2, "write_consistency_factor": 1, "on_disk_payload": False}},
    ),
    "a vector of its own": (
        collection(dimensions=None, vectors=[OWN, PLAIN]),
        {"vectors": {"a": {"on_disk": True, "hnsw_config": {"m": 4}}}},
    ),
    "sparse": (
        collection(sparseVectors=[IDF, {"name": "t"}]),
        {"sparse_vectors": {"s": {"modifier": "idf", "index": {"datatype": "float16"}}}},
    ),
    "empty sections": (collection(hnsw={}, strictMode={}, optimizers={}), {}),
}  # fmt: skip


@pytest.mark.parametrize(("manifest", "sections"), TUNINGS.values(), ids=TUNINGS)
def test_tuning_is_in_qdrants_words(manifest: Manifest, sections: dict[str, Any]) -> None:
    found = resolved(manifest)
    assert found.tuning.sections == sections
    assert found.schema.revision == resolved(without_tuning(manifest)).schema.revision


def without_tuning(manifest: Manifest) -> Manifest:
    spec = {**manifest["spec"]}
    for field in ("hnsw", "optimizers", "strictMode", "quantization", "replicationFactor", "onDiskPayload"):
        spec.pop(field, None)
    spec.pop("writeConsistencyFactor", None)
    return {**manifest, "spec": spec}


def test_indexes_keep_their_type_and_options() -> None:
    indexes = [
        {"field": "tenant", "type": "keyword", "isTenant": True},
        {"field": "n", "type": "integer", "lookup": False, "range": True},
        {"field": "body", "type": "text", "minTokenLen": 2, "stemmer": {"language": "english"}},
    ]
    assert resolved(collection(payloadIndexes=indexes)).tuning.indexes == {
        "tenant": {"type": "keyword", "is_tenant": True},
        "n": {"type": "integer", "lookup": False, "range": True},
        "body": {"type": "text", "min_token_len": 2, "stemmer": {"type": "snowball", "language": "english"}},
    }


@pytest.mark.parametrize("manifest", [collection(), EVERYTHING, *(each for each, _ in TUNINGS.values())])
def test_a_collection_made_as_declared_is_as_declared(manifest: Manifest) -> None:
    """The round trip through Qdrant: what is created from a spec must not look different from it."""
    found, server = resolved(manifest), Qdrant()
    marks = metadata(found.target, found.schema, declared=found.tuning.declared().as_json())
    server.create(found.target, create_body(found.schema, found.tuning, marks, defer=False))
    for path, index in found.tuning.indexes.items():
        server.create_index(found.target, path, index)
    state = server.state(found.target)
    assert not difference(found.tuning, state)
    assert state.schema.vectors == found.schema.vectors
    assert state.schema.sparse == found.schema.sparse


def test_policies() -> None:
    found = resolved(EVERYTHING, annotations={"teal.dev/retry": "plan-1"})
    assert (found.adopt, found.strategy, found.accept_normalised) == ("Old Docs", "BlueGreen", True)
    assert (found.keep_for, found.asked.retry) == (0.0, "plan-1")
    assert resolved(collection()).keep_for == 48 * 3600


class TestOptions:
    def test_the_defaults_of_the_resource_are_those_of_the_engine(self) -> None:
        assert options(resource(collection())) == Options(max_read_latency=0.2)

    def test_everything_in_seconds(self) -> None:
        found = options(resource(EVERYTHING))
        assert found == Options(
            parallelism=8,
            max_read_latency=0.1,
            change_field="updated_at",
            trust_change_field=True,
            writes=WriteMode.DUAL_WRITE,
            fence=False,
            quiet_wait=90.0,
            max_stall=2.0,
            max_fence=0.5,
            min_coverage=0.999,
            sample=100,
            min_overlap=0.9,
            min_recall=0.8,
            max_latency_ratio=2.5,
            manual=True,
            windows=(Window("0 2 * * 6", 7200.0, "Europe/Berlin"),),
            before_switch=Hook("http://hooks/switch", 60.0, 0),
            after_switch=Hook("http://hooks/switch", 60.0, 0),
            watch=WatchLimits(3600.0, 10.0, 2.0, 0.05),
            prometheus="http://prometheus:9090",
            queries=(BoundedQuery("errors", "sum(rate(errors[5m]))", 0.0, 0.5),),
            snapshot=False,
            delete_adopted=True,
        )

    def test_the_embedder_brings_its_budget_and_its_batches(self) -> None:
        found = options(resource(REFERRING, embeddings(model="m", embedder=EMBEDDER)))
        assert (found.max_tokens, found.embedding_batch) == (1000, 32)
        assert options(resource(REFERRING, embeddings())).max_tokens is None
