"""VectorCollection: which collection serves vectors, under which alias, and how it may change.

The spec says what the collection is; Teal does not manage what the spec leaves unset. The alias never changes,
because clients use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from teal.api.common import CustomResource, Readable, SecretKeyRef
from teal.api.embedding_set import EmbeddingSetSpec
from teal.api.migration import MigrationSpec, Retention, Verification, Watch
from teal.api.model import CelRule, Model, only_where, present, section
from teal.api.parameters import (
    Datatype,
    DenseVectors,
    DenseVectorSpec,
    Dimensions,
    Distance,
    Hnsw,
    Optimizers,
    Quantization,
    SparseVectors,
    StrictMode,
)
from teal.api.payload_index import PayloadIndexes
from teal.api.status import VectorCollectionStatus
from teal.api.values import (
    ALIAS_LENGTH,
    ForeignName,
    HttpUrl,
    ModelName,
    ObjectName,
    QdrantName,
    SchemaVersion,
)

DEFAULT_SCHEMA_VERSION = "v1"
ALIAS = "(has({0}.spec.alias) ? {0}.spec.alias : {0}.metadata.name)"


class Tls(Model):
    """How Qdrant's certificate is checked."""

    ca_secret_ref: SecretKeyRef | None = None
    """PEM certificates to trust. Unset: those of the system."""
    insecure_skip_verify: bool = False
    """Accept any certificate. Only for tests: somebody between Teal and Qdrant could read the API key."""


class Qdrant(Model):
    """The Qdrant that serves the collection."""

    url: HttpUrl
    """Base URL of its REST API; with https, gRPC is encrypted too."""
    grpc_port: int = Field(default=6334, ge=1, le=65535)
    """Port of its gRPC API, on the same host."""
    api_key_secret_ref: SecretKeyRef | None = None
    """API key with write access. Unset: no key is sent."""
    tls: Tls | None = None
    """How its certificate is checked."""

    @CelRule("!has(self.tls) || self.url.startsWith('https://')", "tls needs a url that begins with https://")
    def tls_needs_https(self) -> bool:
        return self.tls is None or self.url.startswith("https://")


class EmbeddingSetRef(Model):
    """An EmbeddingSet in the same namespace."""

    name: ObjectName
    """Name of the EmbeddingSet."""


class Adopt(Model):
    """A collection that Teal did not create and takes over."""

    collection: ForeignName
    """Its name in Qdrant."""


@dataclass(frozen=True)
class Encoding:
    """What the vectors of a collection are, independent of the way in which the spec says it."""

    schema_version: str
    model: str | None
    vectors: tuple[DenseVectorSpec, ...]


class VectorCollectionSpec(Model):
    """The desired state. Dense vectors are given in one of three ways: embeddingSetRef, dimensions, or vectors."""

    qdrant: Qdrant
    """The Qdrant that serves the collection."""
    alias: QdrantName | None = None
    """The name that clients use; default: the resource's name. It cannot be changed."""

    embedding_set_ref: EmbeddingSetRef | None = None
    """The EmbeddingSet that describes the vectors."""
    dimensions: Dimensions | None = None
    """Inline: elements of each vector."""
    distance: Distance | None = None
    """Inline: how two vectors are compared; default Cosine."""
    datatype: Datatype | None = None
    """Inline: how an element is stored; default Float32."""
    schema_version: SchemaVersion | None = None
    """Inline or vectors: version of the embeddings, part of the collection's name; default v1."""
    model: ModelName | None = None
    """Inline or vectors: the encoder's name. Another model means a new collection."""
    vectors: DenseVectors = ()
    """Named vectors."""
    sparse_vectors: SparseVectors = ()
    """Sparse vectors, beside dense ones or alone."""

    shard_number: int | None = Field(default=None, ge=1, le=1024)
    """Shards of the collection; another number means a new collection. Unset: Qdrant's default."""
    replication_factor: int | None = Field(default=None, ge=1, le=64)
    """Copies of each shard."""
    write_consistency_factor: int | None = Field(default=None, ge=1, le=64)
    """Copies that must have applied a write before it is acknowledged."""
    hnsw: Hnsw | None = None
    """The HNSW index."""
    quantization: Quantization | None = None
    """Compressed copies of the vectors."""
    optimizers: Optimizers | None = None
    """When segments are merged, indexed and vacuumed."""
    on_disk_payload: bool | None = None
    """Keep payloads on disk instead of in memory."""
    strict_mode: StrictMode | None = None
    """Limits on requests of clients."""
    payload_indexes: PayloadIndexes = ()
    """Indexes of payload fields."""

    migration: MigrationSpec = section(MigrationSpec)
    """How a change is made."""
    verification: Verification = section(Verification)
    """What must be true of a new collection before it serves."""
    watch: Watch = section(Watch)
    """What is watched after the cut-over."""
    retention: Retention = section(Retention)
    """What happens to a collection that was replaced."""
    adopt: Adopt | None = None
    """A collection that Teal did not create and takes over."""
    deletion_policy: Literal["Retain", "Delete"] = "Retain"
    """What happens to the collections in Qdrant when this resource is deleted."""
    suspend: bool = False
    """While true, Teal changes nothing in Qdrant; a migration stops where it is."""

    @CelRule(
        "(has(self.embeddingSetRef) ? 1 : 0) + (has(self.dimensions) ? 1 : 0) + (has(self.vectors) ? 1 : 0)"
        " == 1 || (!has(self.embeddingSetRef) && !has(self.dimensions) && !has(self.vectors)"
        " && has(self.sparseVectors) && self.sparseVectors.size() > 0)",
        "set exactly one of embeddingSetRef, dimensions and vectors, or sparseVectors alone",
    )
    def one_way(self) -> bool:
        given = present(self, "embedding_set_ref", "dimensions", "vectors")
        return given == 1 or (given == 0 and present(self, "sparse_vectors") == 1)

    inline_fields = only_where(
        "has(self.dimensions)",
        "distance",
        "datatype",
        message="distance and datatype belong to dimensions; an EmbeddingSet and vectors have their own",
        holds=lambda spec: spec.dimensions is not None,
    )
    provenance = only_where(
        "!has(self.embeddingSetRef)",
        "schema_version",
        "model",
        message="schemaVersion and model are those of the EmbeddingSet; set them there",
        holds=lambda spec: spec.embedding_set_ref is None,
    )

    @CelRule(
        "!has(self.vectors) || self.vectors.size() == 1 || self.vectors.all(vector, vector.name != '')",
        "a vector with an empty name (Qdrant's unnamed vector) must be the only one",
    )
    def unnamed_alone(self) -> bool:
        return len(self.vectors) <= 1 or all(vector.name for vector in self.vectors)

    @CelRule(
        "!has(self.vectors) || !has(self.sparseVectors)"
        " || self.vectors.all(vector, !self.sparseVectors.exists(sparse, sparse.name == vector.name))",
        "vectors and sparseVectors must not share a name",
    )
    def distinct_names(self) -> bool:
        return not {vector.name for vector in self.vectors} & {vector.name for vector in self.sparse_vectors}

    @CelRule(
        "!has(self.writeConsistencyFactor) || !has(self.replicationFactor)"
        " || self.writeConsistencyFactor <= self.replicationFactor",
        "writeConsistencyFactor must not exceed replicationFactor",
    )
    def consistent_copies(self) -> bool:
        if self.write_consistency_factor is None or self.replication_factor is None:
            return True
        return self.write_consistency_factor <= self.replication_factor

    def effective_alias(self, name: str) -> str:
        """The alias that clients use, for a resource called `name`."""
        return self.alias or name

    def encoding(self, embedding_set: EmbeddingSetSpec | None = None) -> Encoding:
        """What the vectors are; with embeddingSetRef or dimensions, the only vector is unnamed (`""`).

        Raises:
            ValueError: the spec refers to an EmbeddingSet and `embedding_set` is `None`.
        """
        if self.embedding_set_ref is not None:
            if embedding_set is None:
                raise ValueError(f"the EmbeddingSet {self.embedding_set_ref.name!r} is needed")
            given: Any = embedding_set
        else:
            given = self
        one = (_unnamed(given.dimensions, given.distance, given.datatype),) if given.dimensions else ()
        vectors = self.vectors or one
        return Encoding(given.schema_version or DEFAULT_SCHEMA_VERSION, given.model, vectors)


def _unnamed(dimensions: int, distance: Distance | None, datatype: Datatype | None) -> DenseVectorSpec:
    return DenseVectorSpec(
        name="", dimensions=dimensions, distance=distance or "Cosine", datatype=datatype or "Float32"
    )


class VectorCollection(CustomResource):
    """A Qdrant collection behind an alias, kept as declared and migrated without a failed read."""

    kind: Literal["VectorCollection"] = "VectorCollection"
    spec: VectorCollectionSpec
    """The desired state."""
    status: Annotated[VectorCollectionStatus | None, Readable] = None
    """The observed state; only Teal writes it."""

    @CelRule(
        f"has(self.spec.alias) || self.metadata.name.size() <= {ALIAS_LENGTH}",
        f"the resource's name is the alias and has more than {ALIAS_LENGTH} characters: set spec.alias",
    )
    def name_fits(self) -> bool:
        return len(self.alias) <= ALIAS_LENGTH

    @CelRule(
        f"!has(self.spec.adopt) || self.spec.adopt.collection != {ALIAS.format('self')}",
        "the alias must differ from adopt.collection: in Qdrant an alias and a collection cannot share a name",
    )
    def alias_is_free(self) -> bool:
        return self.spec.adopt is None or self.spec.adopt.collection != self.alias

    alias_stays = CelRule(
        f"{ALIAS.format('self')} == {ALIAS.format('oldSelf')}",
        "the alias cannot be changed: clients use it. Create another VectorCollection for another alias",
    )

    @property
    def alias(self) -> str:
        """The alias that clients use."""
        return self.spec.effective_alias(self.metadata.name)
