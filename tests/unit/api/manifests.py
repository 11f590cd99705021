"""Manifests that both judges, the models and the API server, must accept or refuse alike.

`GOOD` uses every field; `BAD` breaks every rule once and every kind of bound at least once; `EDITS` are changes
of an accepted object, which only the API server can judge. Tests without a server and tests with one share them.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]

EXAMPLES = Path(__file__).parents[3] / "examples"
PLURALS = {"EmbeddingSet": "embeddingsets", "VectorCollection": "vectorcollections"}


def manifest(kind: str, spec: Manifest, name: str = "docs") -> Manifest:
    return {"apiVersion": "teal.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": deepcopy(spec)}


def collection(name: str = "docs", **changes: Any) -> Manifest:
    """The smallest VectorCollection with `changes` (camelCase) in its spec; `None` takes a field away."""
    spec = {"qdrant": {"url": "http://qdrant:6333"}, "dimensions": 384, **changes}
    return manifest("VectorCollection", {key: value for key, value in spec.items() if value is not None}, name)


def embeddings(**changes: Any) -> Manifest:
    """The smallest EmbeddingSet with `changes` (camelCase) in its spec."""
    return manifest("EmbeddingSet", {"schemaVersion": "v1", "dimensions": 384, **changes})


def examples() -> dict[str, Manifest]:
    """The documents of examples/: `<file>/<kind>` → manifest."""
    return {
        f"{path.name}/{document['kind']}": document
        for path in sorted(EXAMPLES.glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
    }


SECRET = {"name": "secret", "key": "token"}
HNSW = {
    "m": 16,
    "payloadM": 8,
    "efConstruct": 100,
    "fullScanThreshold": 10000,
    "maxIndexingThreads": 2,
    "onDisk": True,
}
BINARY = {"binary": {"alwaysRam": True, "encoding": "one_bit", "queryEncoding": "scalar8bits"}}
HOOK = {"url": "http://hooks/switch", "timeout": "1m", "retries": 0}
EMBEDDER = {
    "openAI": {"url": "http://tei:8080/v1", "apiKeySecretRef": SECRET, "batchSize": 32, "parallelism": 2},
    "budget": {"maxTokens": 1000, "requestsPerMinute": 60},
}

EVERYTHING = collection(
    qdrant={
        "url": "https://qdrant:6333/prefix",
        "grpcPort": 6335,
        "apiKeySecretRef": SECRET,
        "tls": {"caSecretRef": SECRET, "insecureSkipVerify": True},
    },
    alias="Docs_2",
    dimensions=None,
    schemaVersion="v2",
    model="intfloat/e5-large",
    vectors=[
        {
            "name": "text",
            "dimensions": 65536,
            "distance": "Manhattan",
            "datatype": "Uint8",
            "multivector": {"comparator": "max_sim"},
            "hnsw": HNSW,
            "quantization": BINARY,
            "onDisk": True,
        },
        {
            "name": "image",
            "dimensions": 1,
            "quantization": {"product": {"compression": "x16", "alwaysRam": False}},
        },
    ],
    sparseVectors=[
        {
            "name": "bm25",
            "modifier": "Idf",
            "index": {"fullScanThreshold": 1000, "onDisk": True, "datatype": "Float16"},
        }
    ],
    shardNumber=2,
    replicationFactor=2,
    writeConsistencyFactor=2,
    hnsw=HNSW,
    quantization={"scalar": {"type": "int8", "quantile": 0.99, "alwaysRam": True}},
    optimizers={
        "deletedThreshold": 0.3,
        "vacuumMinVectorNumber": 500,
        "defaultSegmentNumber": 4,
        "maxSegmentSize": 200000,
        "memmapThreshold": 50000,
        "indexingThreshold": 20000,
        "flushIntervalSec": 5,
        "maxOptimizationThreads": 2,
    },
    onDiskPayload=True,
    strictMode={
        "enabled": True,
        "maxQueryLimit": 1000,
        "maxTimeout": 30,
        "unindexedFilteringRetrieve": False,
        "unindexedFilteringUpdate": False,
        "searchMaxHnswEf": 512,
        "searchAllowExact": True,
        "searchMaxOversampling": 4.5,
        "searchMaxBatchsize": 100,
        "upsertMaxBatchsize": 1000,
        "maxCollectionVectorSizeBytes": 2**40,
        "maxCollectionPayloadSizeBytes": 2**40,
        "maxPointsCount": 10**10,
        "readRateLimit": 1000,
        "writeRateLimit": 1000,
        "filterMaxConditions": 10,
        "conditionMaxSize": 100,
        "maxPayloadIndexCount": 20,
    },
    payloadIndexes=[
        {"field": "tenant", "type": "keyword", "isTenant": True, "onDisk": True, "enableHnsw": True},
        {"field": "n", "type": "integer", "lookup": False, "range": True, "isPrincipal": True},
        {"field": "price", "type": "float", "isPrincipal": True},
        {"field": "sold", "type": "bool"},
        {"field": "place", "type": "geo"},
        {"field": "at", "type": "datetime", "isPrincipal": False},
        {"field": "ids[].id", "type": "uuid", "isTenant": False},
        {
            "field": "text",
            "type": "text",
            "tokenizer": "word",
            "lowercase": True,
            "asciiFolding": True,
            "minTokenLen": 2,
            "maxTokenLen": 20,
            "phraseMatching": True,
            "stopwords": {"languages": ["english"], "custom": ["foo"]},
            "stemmer": {"type": "snowball", "language": "english"},
        },
    ],
    migration={
        "strategy": "BlueGreen",
        "writes": "DualWrite",
        "changeField": {"name": "updated_at", "trusted": True},
        "runner": "Job",
        "parallelism": 8,
        "allowNormalized": True,
        "throttle": {"maxReadLatencyMillis": 100},
        "promotion": {
            "mode": "Manual",
            "fence": "Never",
            "quietWait": "1m30s",
            "maxStall": "2s",
            "maxFence": "500ms",
            "windows": [{"schedule": "0 2 * * 6", "duration": "2h", "timeZone": "Europe/Berlin"}],
        },
        "hooks": {"beforeSwitch": HOOK, "afterSwitch": HOOK},
    },
    verification={
        "minCoverage": 0.999,
        "sample": 100,
        "minOverlap": 0.9,
        "goldenQueries": {"configMapRef": {"name": "golden"}, "minRecall": 0.8},
        "maxLatencyRatio": 2.5,
    },
    watch={
        "duration": "1h",
        "interval": "10s",
        "maxErrorRate": 0.05,
        "maxLatencyRatio": 2,
        "prometheus": {
            "url": "http://prometheus:9090",
            "queries": [{"name": "errors", "query": "sum(rate(errors[5m]))", "min": 0, "max": 0.5}],
        },
    },
    retention={"keepFor": "0s", "snapshot": False, "deleteAdopted": True},
    adopt={"collection": "Old Docs"},
    deletionPolicy="Delete",
    suspend=True,
)

EVERY_EMBEDDING = embeddings(
    distance="Dot",
    datatype="Float16",
    model="intfloat/e5-large",
    embedder=EMBEDDER,
    source={"collection": {"textField": "meta.text"}},
)

POSTGRES = {
    "dsnSecretRef": SECRET,
    "table": "public.docs",
    "idColumn": "id",
    "vectorColumn": "embedding",
    "payloadColumns": ["title", "url"],
    "changeColumn": "updated_at",
}
FILES = {"url": "s3://bucket/docs/*.parquet", "format": "parquet", "idField": "id", "vectorField": "vector"}

GOOD: dict[str, Manifest] = {
    **examples(),
    "smallest": collection(),
    "inline in full": collection(
        distance="Euclid", datatype="Float16", schemaVersion="2024-01", model="m", hnsw={}, strictMode={}
    ),
    "by reference": collection(dimensions=None, embeddingSetRef={"name": "docs.v1"}),
    "every field": EVERYTHING,
    "the unnamed vector with its own parameters": collection(
        dimensions=None, vectors=[{"name": "", "dimensions": 4, "onDisk": True}]
    ),
    "quantization by bits": collection(quantization=BINARY),
    "quantization by groups, and by bytes for one vector": collection(
        dimensions=None,
        quantization={"product": {"compression": "x64", "alwaysRam": True}},
        vectors=[
            {
                "name": "a",
                "dimensions": 4,
                "quantization": {"scalar": {"type": "int8", "quantile": 0.5, "alwaysRam": False}},
            }
        ],
    ),
    "the longest alias": collection(alias="a" * 128),
    "a long name with an alias": collection(name="a" * 200, alias="docs"),
    "nulls": collection(hnsw={"m": None}),
    "embeddings, smallest": embeddings(),
    "embeddings, every field": EVERY_EMBEDDING,
    "embeddings from a table": embeddings(source={"postgres": POSTGRES}),
    "embeddings from a query": embeddings(
        model="m",
        embedder=EMBEDDER,
        source={"postgres": {"dsnSecretRef": SECRET, "query": "SELECT 1", "idColumn": "id", "textColumn": "text"}},
    ),
    "embeddings from files": embeddings(source={"files": FILES}),
    "embeddings of the texts in files": embeddings(
        model="m",
        embedder=EMBEDDER,
        source={"files": {"url": "file:///data/docs.jsonl", "format": "jsonl", "idField": "id", "textField": "t"}},
    ),
    "embeddings from elsewhere": embeddings(source={"external": {"expectedPoints": 1000}}),
}


@dataclass(frozen=True)
class Bad:
    """A manifest that is refused: for the field `path`, and where a rule says so, with its `message`."""

    why: str
    manifest: Manifest
    path: str
    message: str = ""


def wrong(why: str, path: str, value: Any, message: str = "", *, below: str = "") -> Bad:
    """The smallest VectorCollection with `value` at `path` of its spec, refused there (or `below` there)."""
    top, *steps = path.split(".")
    return Bad(why, collection(**{top: nested(steps, value)}), f"spec.{path}{below}", message)


def wrong_set(why: str, path: str, value: Any, message: str = "", *, below: str = "") -> Bad:
    """The same for an EmbeddingSet, which has a model and an embedder."""
    top, *steps = path.split(".")
    given = {"model": "m", "embedder": EMBEDDER, top: nested(steps, value)}
    return Bad(why, embeddings(**given), f"spec.{path}{below}", message)


def contradiction(why: str, message: str, **changes: Any) -> Bad:
    """The smallest VectorCollection with `changes` that contradict each other, refused as a whole."""
    return Bad(why, collection(**changes), "spec", message)


def nested(steps: list[str], value: Any) -> Any:
    return {steps[0]: nested(steps[1:], value)} if steps else value


def wrong_index(why: str, message: str, kind: str, **options: Any) -> Bad:
    return wrong(why, "payloadIndexes", [{"field": "f", "type": kind, **options}], message, below="[0]")


def wrong_window(why: str, field: str, message: str = "", **changes: Any) -> Bad:
    window = {"schedule": "0 2 * * *", "duration": "1h", **changes}
    given = [{key: value for key, value in window.items() if value is not None}]
    return wrong(why, "migration.promotion.windows", given, message, below=f"[0].{field}")


def without(manifest: Manifest, field: str) -> Manifest:
    return {**manifest, "spec": {key: value for key, value in manifest["spec"].items() if key != field}}


NAME = "may hold letters, digits, '.', '_' and '-', and begins with a letter, a digit or '_'"
URL = "must be an http:// or https:// URL without user, query and fragment"
ONE_WAY = "set exactly one of embeddingSetRef, dimensions and vectors, or sparseVectors alone"
ONE_KIND = "set exactly one of scalar, product and binary"
TEXT_ONLY = "only for an index of type text"
NEEDS_EMBEDDER = "a source of text (textField, textColumn) needs an embedder"

E = {"name": "e"}
A, UNNAMED = {"name": "a", "dimensions": 1}, {"name": "", "dimensions": 1}
TEXT_ROWS = {"dsnSecretRef": SECRET, "table": "t", "idColumn": "i", "textColumn": "t"}
TEXT_FILES = {"url": "s3://b/f", "format": "jsonl", "idField": "i", "textField": "t"}
PROMETHEUS = "watch.prometheus"

VECTORS = [
    contradiction("no vectors", ONE_WAY, dimensions=None),
    contradiction("vectors in two ways", ONE_WAY, embeddingSetRef=E),
    wrong("no dimensions", "dimensions", 0),
    wrong("too many dimensions", "dimensions", 65537),
    wrong("dimensions as text", "dimensions", "384"),
    wrong("another distance", "distance", "cosine"),
    contradiction(
        "a distance beside an EmbeddingSet",
        "distance and datatype belong to dimensions",
        dimensions=None,
        embeddingSetRef=E,
        distance="Dot",
    ),
    contradiction(
        "a schemaVersion beside an EmbeddingSet",
        "schemaVersion and model are those of the EmbeddingSet",
        dimensions=None,
        embeddingSetRef=E,
        schemaVersion="v1",
    ),
    Bad("an empty list of vectors", collection(dimensions=None, vectors=[]), "spec.vectors"),
    Bad("two vectors of one name", collection(dimensions=None, vectors=[A, A]), "spec.vectors"),
    contradiction("an unnamed vector among others", "must be the only one", dimensions=None, vectors=[UNNAMED, A]),
    contradiction(
        "one name for a dense and a sparse vector",
        "vectors and sparseVectors must not share a name",
        dimensions=None,
        vectors=[A],
        sparseVectors=[{"name": "a"}],
    ),
    wrong("an unnamed sparse vector", "sparseVectors", [{"name": ""}], below="[0].name"),
    wrong("another modifier", "sparseVectors", [{"name": "a", "modifier": "idf"}], below="[0].modifier"),
]

NAMES = [
    wrong("an alias with a slash", "alias", "a/b", NAME),
    wrong("an alias that begins with a dot", "alias", "..", NAME),
    wrong("an alias with a line break", "alias", "a\n", NAME),
    wrong("an empty alias", "alias", ""),
    wrong("an alias that is too long", "alias", "a" * 129),
    Bad("a name that is too long for an alias", collection(name="a" * 129), "", "set spec.alias"),
    Bad(
        "the alias is the adopted collection",
        collection(adopt={"collection": "docs"}),
        "",
        "the alias must differ from adopt.collection",
    ),
    wrong("an adopted name that Qdrant refuses", "adopt.collection", "a:b", "must not hold control characters"),
    wrong("a version that ends with a dash", "schemaVersion", "v1-", "ends with a letter or a digit"),
    wrong("a version that is a number", "schemaVersion", 2),
    Bad(
        "a reference that is no name",
        collection(dimensions=None, embeddingSetRef={"name": "Docs"}),
        "spec.embeddingSetRef.name",
        "must be the name of an object",
    ),
]

QDRANT = [
    Bad("no Qdrant", collection(qdrant=None), "spec.qdrant"),
    Bad("no URL", collection(qdrant={}), "spec.qdrant.url"),
    wrong("another scheme", "qdrant.url", "grpc://q:6334", URL),
    wrong("a password in the URL", "qdrant.url", "http://u:p@q:6333", URL),
    wrong("no port", "qdrant", {"url": "http://q", "grpcPort": 0}, below=".grpcPort"),
    wrong(
        "TLS without https", "qdrant", {"url": "http://q", "tls": {}}, "tls needs a url that begins with https://"
    ),
    wrong(
        "a key that no Secret has",
        "qdrant",
        {"url": "http://q", "apiKeySecretRef": {"name": "q", "key": "a/b"}},
        "must be a key of the Secret's data",
        below=".apiKeySecretRef.key",
    ),
]

PARAMETERS = [
    wrong("no shards", "shardNumber", 0),
    contradiction(
        "more consistent copies than copies",
        "writeConsistencyFactor must not exceed replicationFactor",
        replicationFactor=1,
        writeConsistencyFactor=2,
    ),
    wrong("efConstruct below Qdrant's least", "hnsw.efConstruct", 3),
    wrong("no quantization", "quantization", {}, ONE_KIND),
    wrong("two quantizations", "quantization", {"scalar": {}, "binary": {}}, ONE_KIND),
    wrong("a quantile below a half", "quantization.scalar.quantile", 0.4),
    wrong("product without compression", "quantization.product", {}, below=".compression"),
    wrong("a share above one", "optimizers.deletedThreshold", 1.1),
    wrong("a limit of zero", "strictMode.maxQueryLimit", 0),
]

INDEXES = [
    wrong("another index type", "payloadIndexes", [{"field": "f", "type": "keywrd"}], below="[0].type"),
    wrong(
        "two indexes on one field",
        "payloadIndexes",
        [{"field": "f", "type": "geo"}, {"field": "f", "type": "bool"}],
    ),
    wrong_index("a tenant by number", "isTenant: only for", "integer", isTenant=True),
    wrong_index("a principal keyword", "isPrincipal: only for", "keyword", isPrincipal=True),
    wrong_index("ranges of keywords", "lookup, range: only for", "keyword", range=True),
    wrong_index("neither lookup nor range", "needs lookup or range", "integer", lookup=False, range=False),
    wrong_index("tokens of a keyword", TEXT_ONLY, "keyword", tokenizer="word"),
    wrong_index("stemming numbers", TEXT_ONLY, "float", stemmer={"language": "english"}),
    wrong_index(
        "tokens too long and too short",
        "minTokenLen must not exceed maxTokenLen",
        "text",
        minTokenLen=3,
        maxTokenLen=2,
    ),
]

POLICIES = [
    wrong("another strategy", "migration.strategy", "auto"),
    wrong("no streams", "migration.parallelism", 0),
    wrong("a change field as a word", "migration.changeField", "updated_at"),
    wrong("a change field without a name", "migration.changeField", {"trusted": True}, below=".name"),
    wrong("a change field with an empty name", "migration.changeField.name", ""),
    wrong(
        "a change field that is perhaps trusted",
        "migration.changeField",
        {"name": "at", "trusted": "perhaps"},
        below=".trusted",
    ),
    wrong("a long fence", "migration.promotion.maxFence", "61s", "must be between 100ms and 60s"),
    wrong("no fence at all", "migration.promotion.maxFence", "0s", "must be between 100ms and 60s"),
    wrong("a long stall", "migration.promotion.maxStall", "61s", "must be between 0s and 60s"),
    wrong("waiting for ever", "migration.promotion.quietWait", "25h", "must be between 0s and 24h"),
    wrong_window("a window without schedule", "schedule", schedule=None),
    wrong_window("a window without duration", "duration", duration=None),
    wrong_window("four fields of cron", "schedule", "must be a cron expression", schedule="0 2 * *"),
    wrong_window("a window of no length", "duration", "must be between 1m and 168h", duration="1s"),
    wrong_window("an offset for a zone", "timeZone", "must be an IANA name", timeZone="+01:00"),
    wrong(
        "a hook that may hang",
        "migration.hooks.beforeSwitch",
        {"url": "http://h", "timeout": "11m"},
        "must be between 1s and 10m",
        below=".timeout",
    ),
    wrong("no coverage", "verification.minCoverage", 0),
    wrong("watching for ever", "watch.duration", "169h", "must be between 0s and 168h"),
    wrong("watching without pause", "watch.interval", "0s", "must be between 1s and 1h"),
    wrong("no queries", PROMETHEUS, {"url": "http://p", "queries": []}, below=".queries"),
    wrong(
        "a query without bounds",
        PROMETHEUS,
        {"url": "http://p", "queries": [{"name": "q", "query": "up"}]},
        "set min, max or both",
        below=".queries[0]",
    ),
    wrong("a duration in days", "retention.keepFor", "2d"),
    wrong("a duration that is a number", "retention.keepFor", 3600),
    wrong("kept for two years", "retention.keepFor", "20000h", "must be between 0s and 8760h"),
    wrong("another policy", "deletionPolicy", "Keep"),
]

EMBEDDING_SETS = [
    Bad("no version", without(embeddings(), "schemaVersion"), "spec.schemaVersion"),
    Bad("no size", without(embeddings(), "dimensions"), "spec.dimensions"),
    wrong_set("another datatype", "datatype", "float32"),
    Bad("an embedder without a model", embeddings(embedder=EMBEDDER), "spec", "an embedder needs model"),
    Bad("an embedder that is nothing", embeddings(model="m", embedder={}), "spec.embedder.openAI"),
    *(
        Bad(f"text of {kind} without an embedder", embeddings(source={kind: source}), "spec", NEEDS_EMBEDDER)
        for kind, source in {
            "collection": {"textField": "t"},
            "postgres": TEXT_ROWS,
            "files": TEXT_FILES,
        }.items()
    ),
    wrong_set(
        "two sources",
        "source",
        {"collection": {}, "external": {"expectedPoints": 1}},
        "set at most one of collection, postgres, files and external",
    ),
    wrong_set(
        "a table and a query",
        "source.postgres",
        {**POSTGRES, "query": "SELECT 1"},
        "set exactly one of table and query",
    ),
    wrong_set(
        "a vector and a text",
        "source.postgres",
        {**POSTGRES, "textColumn": "t"},
        "set exactly one of vectorColumn and textColumn",
    ),
    wrong_set(
        "neither vector nor text",
        "source.files",
        {"url": "s3://b/f", "format": "jsonl", "idField": "i"},
        "set exactly one of vectorField and textField",
    ),
    Bad(
        "files by another scheme",
        embeddings(source={"files": {**FILES, "url": "ftp://h/f"}}),
        "spec.source.files.url",
        "must be an s3://, https:// or file:// URL",
    ),
    wrong_set(
        "a column twice", "source.postgres", {**POSTGRES, "payloadColumns": ["a", "a"]}, below=".payloadColumns"
    ),
    wrong_set("nothing expected", "source.external.expectedPoints", 0),
]

BAD = [*VECTORS, *NAMES, *QDRANT, *PARAMETERS, *INDEXES, *POLICIES, *EMBEDDING_SETS]


@dataclass(frozen=True)
class Edit:
    """A change of an accepted object; `message` is what it is refused with, empty where it is accepted."""

    what: str
    before: Manifest
    after: Manifest
    message: str = ""


FIXED = "the alias cannot be changed"
EDITS = [
    Edit("another alias", collection(alias="a"), collection(alias="b"), FIXED),
    Edit("an alias beside the name", collection(), collection(alias="b"), FIXED),
    Edit("an alias taken away", collection(alias="a"), collection(), FIXED),
    Edit("the name written out as alias", collection(), collection(alias="docs")),
    Edit("the written-out name taken away", collection(alias="docs"), collection()),
    Edit("another size", collection(), collection(dimensions=768)),
    Edit(
        "from inline to an EmbeddingSet", collection(), collection(dimensions=None, embeddingSetRef={"name": "e"})
    ),
    Edit("the EmbeddingSet's version", embeddings(), embeddings(schemaVersion="v2", dimensions=768)),
]
