"""EmbeddingSet: what the vectors are, how they are made, and where the points come from.

It is a resource of its own because several collections may share one encoder, and because often one team chooses
the model and another one runs the collection. A team edits it to ask for a new encoder.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from teal.api.common import CustomResource, Readable, Report, SecretKeyRef
from teal.api.conditions import Conditions
from teal.api.model import CelRule, Items, Model, at_most_one, exactly_one
from teal.api.parameters import Datatype, Dimensions, Distance
from teal.api.values import Distinct, FieldPath, HttpUrl, Identifier, Matches, ModelName, SchemaVersion, Word


class OpenAI(Model):
    """Any server that answers `POST {url}/embeddings` as OpenAI's does: TEI, vLLM, Ollama, LiteLLM, OpenAI."""

    url: HttpUrl
    """Base URL including the version, such as `http://tei:8080/v1`."""
    api_key_secret_ref: SecretKeyRef | None = None
    """Bearer token. Unset: no token is sent."""
    batch_size: int = Field(default=64, ge=1, le=2048)
    """Texts per request."""
    parallelism: int = Field(default=4, ge=1, le=64)
    """Requests in parallel."""


class Budget(Model):
    """What embedding may cost; population stops before it would exceed a limit."""

    max_tokens: int | None = Field(default=None, ge=1)
    """Tokens for one migration."""
    requests_per_minute: int | None = Field(default=None, ge=1, le=1000000)
    """Requests to the embedder per minute."""


class EmbedderSpec(Model):
    """The server that turns text into vectors."""

    open_ai: OpenAI = Field(validation_alias="openAI", serialization_alias="openAI")
    """A server with OpenAI's embeddings API."""
    budget: Budget | None = None
    """What embedding may cost."""


class CollectionSource(Model):
    """Points of the collection that is being replaced."""

    text_field: FieldPath | None = None
    """Payload field with the text to embed. Unset: vectors are copied unchanged."""


class PostgresSource(Model):
    """Rows of a table or a query."""

    dsn_secret_ref: SecretKeyRef
    """Connection string."""
    table: Identifier | None = None
    """Table or view, with its schema if it is not on the search path."""
    query: Annotated[str, Field(min_length=1, max_length=8192)] | None = None
    """A SELECT."""
    id_column: Identifier
    """Column with the point's id: an unsigned integer or a UUID."""
    vector_column: Identifier | None = None
    """Column with the vector."""
    text_column: Identifier | None = None
    """Column with the text to embed."""
    payload_columns: Annotated[Items[Identifier], Field(max_length=256), Distinct()] = ()
    """Columns that become payload."""
    change_column: Identifier | None = None
    """Column whose value grows with every change of a row, so that later changes are found."""

    rows = exactly_one("table", "query")
    content = exactly_one("vector_column", "text_column")


class FilesSource(Model):
    """Records in files."""

    url: Annotated[
        str,
        Field(min_length=1, max_length=2048),
        Matches(r"(s3|https|file)://[^\s@]+", "must be an s3://, https:// or file:// URL without user"),
    ]
    """Where the files are; may end in a pattern such as `*.parquet`."""
    format: Literal["parquet", "jsonl"]
    """File format."""
    id_field: Identifier
    """Field with the point's id: an unsigned integer or a UUID."""
    vector_field: Identifier | None = None
    """Field with the vector."""
    text_field: Identifier | None = None
    """Field with the text to embed."""

    content = exactly_one("vector_field", "text_field")


class ExternalSource(Model):
    """An external pipeline fills the new collection; Teal waits, verifies and cuts over."""

    expected_points: int = Field(ge=1)
    """Number of points at which the collection counts as filled."""


class Source(Model):
    """Where the points of a new collection come from; at most one source. Unset: the collection that is
    replaced.
    """

    collection: CollectionSource | None = None
    """The collection that is being replaced."""
    postgres: PostgresSource | None = None
    """A PostgreSQL database."""
    files: FilesSource | None = None
    """Parquet or JSON lines."""
    external: ExternalSource | None = None
    """An external pipeline."""

    one_source = at_most_one("collection", "postgres", "files", "external")

    @property
    def embeds_text(self) -> bool:
        """Whether vectors are made from text, which needs an embedder."""
        texts = (
            self.collection and self.collection.text_field,
            self.postgres and self.postgres.text_column,
            self.files and self.files.text_field,
        )
        return any(texts)


class EmbeddingSetSpec(Model):
    """What the vectors are."""

    schema_version: SchemaVersion
    """Version of these embeddings; part of the collection's name. A new version means a new collection."""
    dimensions: Dimensions
    """Elements of each vector."""
    distance: Distance = "Cosine"
    """How two vectors are compared. Cosine stores vectors normalised to length 1."""
    datatype: Datatype = "Float32"
    """How an element is stored."""
    model: ModelName | None = None
    """The encoder's name, as the embedder knows it. Another model means a new collection."""
    embedder: EmbedderSpec | None = None
    """The server that turns text into vectors; required if a source contains text."""
    source: Source | None = None
    """Where the points of a new collection come from; default: the collection that is being replaced."""

    @CelRule("!has(self.embedder) || has(self.model)", "an embedder needs model: it is named in every request")
    def embedder_needs_model(self) -> bool:
        return self.embedder is None or self.model is not None

    @CelRule(
        "!has(self.source) || has(self.embedder)"
        " || !(has(self.source.collection) && has(self.source.collection.textField)"
        " || has(self.source.postgres) && has(self.source.postgres.textColumn)"
        " || has(self.source.files) && has(self.source.files.textField))",
        "a source of text (textField, textColumn) needs an embedder",
    )
    def text_needs_embedder(self) -> bool:
        return self.source is None or self.embedder is not None or not self.source.embeds_text

    @property
    def text_field(self) -> str | None:
        """The payload field with the text to embed; `None` if vectors are copied."""
        collection = self.source.collection if self.source else None
        return collection.text_field if collection else None


class EmbeddingSetStatus(Report):
    """What Teal found out about the embedder, and which collections use the set."""

    observed_generation: int | None = None
    """The generation that this status is about; -1 before the first reconcile."""
    conditions: Conditions = ()
    """Ready: the embedder answers as the spec says."""
    probed_dimensions: int | None = None
    """Elements of the vector that the embedder returned for a test text."""
    fingerprint: Word | None = None
    """Hash of that vector: it changes if a provider changes a model under the same name."""
    used_by: Items[Word] = Field(default=(), max_length=10000)
    """VectorCollections in this namespace that refer to the set."""


class EmbeddingSet(CustomResource):
    """What the vectors are, how they are made, and where the points come from."""

    kind: Literal["EmbeddingSet"] = "EmbeddingSet"
    spec: EmbeddingSetSpec
    """The desired state."""
    status: Annotated[EmbeddingSetStatus | None, Readable] = None
    """The observed state; only Teal writes it."""
