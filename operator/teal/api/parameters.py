"""Qdrant's parameters of a collection, with Qdrant's names in camelCase.

Teal does not manage a parameter that is unset: Qdrant keeps its default, and an adopted collection keeps its
value. The bounds are those of the server, so a value that the server would refuse is refused when the manifest
is applied. Sizes in "kB" are kilobytes of vector data, as everywhere in Qdrant.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from teal.api.model import Items, Model, exactly_one
from teal.api.values import Distinct, QdrantName, VectorName

Distance = Literal["Cosine", "Dot", "Euclid", "Manhattan"]
Datatype = Literal["Float32", "Float16", "Uint8"]

MAX_DIMENSIONS = 65536
Dimensions = Annotated[int, Field(ge=1, le=MAX_DIMENSIONS)]


class Hnsw(Model):
    """The HNSW index. Changed in place; Qdrant rebuilds it."""

    m: int | None = Field(default=None, ge=0, le=1024)
    """Edges per node. More: better recall, more memory. 0: no graph for the whole collection."""
    payload_m: int | None = Field(default=None, ge=0, le=1024)
    """Edges per node of the graph for each value of an indexed field, such as a tenant; default `m`."""
    ef_construct: int | None = Field(default=None, ge=4, le=65536)
    """Neighbours considered while building. More: better recall, slower build."""
    full_scan_threshold: int | None = Field(default=None, ge=10)
    """Below this many kB of matching vectors a search scans them instead of using the graph."""
    max_indexing_threads: int | None = Field(default=None, ge=0, le=1024)
    """Threads that build one index; 0: Qdrant chooses."""
    on_disk: bool | None = None
    """Keep the graph on disk instead of in memory."""


class ScalarQuantization(Model):
    """One byte per element."""

    type: Literal["int8"] = "int8"
    """The element's type."""
    quantile: float | None = Field(default=None, ge=0.5, le=1)
    """Share of the values that the range of the byte covers; the others are clipped. Unset: all."""
    always_ram: bool | None = None
    """Keep quantized vectors in memory, wherever the originals are."""


class ProductQuantization(Model):
    """Groups of elements, each replaced by the nearest of 256 centroids."""

    compression: Literal["x4", "x8", "x16", "x32", "x64"]
    """How many times smaller than 32-bit floats."""
    always_ram: bool | None = None
    """Keep quantized vectors in memory, wherever the originals are."""


class BinaryQuantization(Model):
    """A bit or two per element."""

    always_ram: bool | None = None
    """Keep quantized vectors in memory, wherever the originals are."""
    encoding: Literal["one_bit", "two_bits", "one_and_half_bits"] | None = None
    """Bits per element of a stored vector; default one_bit."""
    query_encoding: Literal["default", "binary", "scalar4bits", "scalar8bits"] | None = None
    """How a query is encoded; default: like the stored vectors."""


class Quantization(Model):
    """Compressed copies of the vectors for the first pass of a search; exactly one kind."""

    scalar: ScalarQuantization | None = None
    """One byte per element."""
    product: ProductQuantization | None = None
    """Groups of elements by centroid."""
    binary: BinaryQuantization | None = None
    """A bit or two per element."""

    one_kind = exactly_one("scalar", "product", "binary")


class Optimizers(Model):
    """When Qdrant merges, indexes and vacuums segments. Changed in place."""

    deleted_threshold: float | None = Field(default=None, ge=0, le=1)
    """Share of deleted points at which a segment is rebuilt."""
    vacuum_min_vector_number: int | None = Field(default=None, ge=100)
    """Segments with fewer vectors are not rebuilt for their deleted points."""
    default_segment_number: int | None = Field(default=None, ge=0, le=1024)
    """Segments per shard that Qdrant aims at; 0: the number of CPUs."""
    max_segment_size: int | None = Field(default=None, ge=1)
    """Segments larger than this size in kB are not merged."""
    memmap_threshold: int | None = Field(default=None, ge=0)
    """From this size in kB on, a segment is read from disk instead of memory."""
    indexing_threshold: int | None = Field(default=None, ge=0)
    """From this size in kB on, a segment gets an HNSW index; 0: never."""
    flush_interval_sec: int | None = Field(default=None, ge=1, le=86400)
    """Seconds between flushes to disk."""
    max_optimization_threads: int | None = Field(default=None, ge=1, le=1024)
    """Optimizations that run in parallel per shard. (0 is not allowed: such a collection would never become
    ready.)
    """


class StrictMode(Model):
    """Limits on requests of clients. Qdrant cannot remove a limit once it is set, only change it."""

    enabled: bool | None = None
    """Whether the limits apply."""
    max_query_limit: int | None = Field(default=None, ge=1)
    """Results per request."""
    max_timeout: int | None = Field(default=None, ge=1)
    """Longest timeout of a request in seconds."""
    unindexed_filtering_retrieve: bool | None = None
    """Allow reads that filter by fields without an index."""
    unindexed_filtering_update: bool | None = None
    """Allow writes that filter by fields without an index."""
    search_max_hnsw_ef: int | None = Field(default=None, ge=0)
    """Largest `hnsw_ef` of a search."""
    search_allow_exact: bool | None = None
    """Allow exact searches. Teal reads point versions with them; without them it has to read the contents."""
    search_max_oversampling: float | None = Field(default=None, ge=0)
    """Largest oversampling factor of a search over quantized vectors."""
    search_max_batchsize: int | None = Field(default=None, ge=0)
    """Searches per batch request."""
    upsert_max_batchsize: int | None = Field(default=None, ge=0)
    """Points per upsert."""
    max_collection_vector_size_bytes: int | None = Field(default=None, ge=0)
    """Bytes of vectors in the collection, for one replica."""
    max_collection_payload_size_bytes: int | None = Field(default=None, ge=0)
    """Bytes of payload in the collection, for one replica."""
    max_points_count: int | None = Field(default=None, ge=1)
    """Points in the collection."""
    read_rate_limit: int | None = Field(default=None, ge=1)
    """Reads per minute and replica."""
    write_rate_limit: int | None = Field(default=None, ge=1)
    """Written points per minute and replica."""
    filter_max_conditions: int | None = Field(default=None, ge=0)
    """Conditions per filter."""
    condition_max_size: int | None = Field(default=None, ge=0)
    """Items per condition, such as the values of a match-any."""
    max_payload_index_count: int | None = Field(default=None, ge=0)
    """Payload indexes of the collection."""


class Multivector(Model):
    """Several vectors under one name in each point, as late-interaction models produce them."""

    comparator: Literal["max_sim"] = "max_sim"
    """How two such lists are compared."""


class DenseVectorSpec(Model):
    """One vector of each point."""

    name: VectorName
    """The name that clients give in `using`. Empty: Qdrant's unnamed vector, which must then be the only one."""
    dimensions: Dimensions
    """Elements of each vector."""
    distance: Distance = "Cosine"
    """How two vectors are compared. Cosine stores vectors normalised to length 1."""
    datatype: Datatype = "Float32"
    """How an element is stored."""
    multivector: Multivector | None = None
    """Several vectors under this name in each point."""
    hnsw: Hnsw | None = None
    """Overrides the collection's index parameters for this vector."""
    quantization: Quantization | None = None
    """Overrides the collection's quantization for this vector."""
    on_disk: bool | None = None
    """Keep this vector on disk instead of in memory."""


class SparseIndex(Model):
    """The inverted index of a sparse vector."""

    full_scan_threshold: int | None = Field(default=None, ge=0)
    """Below this many matching points a search scans them instead of using the index."""
    on_disk: bool | None = None
    """Keep the index on disk instead of in memory."""
    datatype: Datatype | None = None
    """How a weight is stored in the index."""


class SparseVector(Model):
    """A sparse vector that points may have."""

    name: QdrantName
    """The name that clients give in `using`."""
    modifier: Literal["None", "Idf"] = "None"
    """Idf: Qdrant weights the terms of a query by how rare they are in the collection."""
    index: SparseIndex | None = None
    """Parameters of the inverted index."""


DenseVectors = Annotated[Items[DenseVectorSpec], Field(min_length=1, max_length=16), Distinct("name")]
SparseVectors = Annotated[Items[SparseVector], Field(max_length=16), Distinct("name")]
