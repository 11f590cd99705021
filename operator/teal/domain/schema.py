"""The shape of a collection, split by one question: can Qdrant change it in place?

`Schema` is what it cannot: a different `Schema` is a different *revision* and needs another collection.
`Tuning` (in `tuning.py`) is what it can. A revision's hash covers exactly the fields of `Schema`, so two specs
with the same hash are served by the same collection, and moving a field between the two classes moves it between
"blue-green" and "in place" everywhere at once.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from enum import StrEnum

UNNAMED = ""
MAX_NAME = 255
MAX_VERSION = 63
HASH_LENGTH = 8


class Distance(StrEnum):
    COSINE = "Cosine"
    DOT = "Dot"
    EUCLID = "Euclid"
    MANHATTAN = "Manhattan"


class Datatype(StrEnum):
    """How a vector's elements are stored; Qdrant's names are these in lower case."""

    FLOAT32 = "Float32"
    FLOAT16 = "Float16"
    UINT8 = "Uint8"

    @property
    def tolerance(self) -> float:
        """By how much of a vector's largest element (Uint8: by how many steps) an element may differ in a copy."""
        return {Datatype.FLOAT32: 1e-5, Datatype.FLOAT16: 2e-3, Datatype.UINT8: 1.0}[self]

    @property
    def bytes_per_element(self) -> int:
        return {Datatype.FLOAT32: 4, Datatype.FLOAT16: 2, Datatype.UINT8: 1}[self]


@dataclass(frozen=True, order=True)
class DenseVector:
    """One dense vector of every point. `name` is `""` for the collection's unnamed vector."""

    name: str
    size: int
    distance: Distance
    datatype: Datatype = Datatype.FLOAT32
    multivector: str | None = None


@dataclass(frozen=True)
class Schema:
    """What cannot change in place. `vectors` and `sparse` are sorted by name, so their order in a spec is no
    change.

    `shard_number` is `None` where the spec leaves it to the server.
    """

    vectors: tuple[DenseVector, ...]
    sparse: tuple[str, ...] = ()
    shard_number: int | None = None
    sharding_method: str = "auto"
    schema_version: str = "v1"
    model: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "vectors", tuple(sorted(self.vectors)))
        object.__setattr__(self, "sparse", tuple(sorted(self.sparse)))

    @property
    def revision(self) -> str:
        """Eight hex digits over every field: the identity of this revision."""
        canonical = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:HASH_LENGTH]

    @property
    def main(self) -> DenseVector | None:
        """The vector that status and clients of a single-vector collection mean: unnamed, else the first."""
        return self.vectors[0] if self.vectors else None

    @property
    def vector_bytes(self) -> int:
        """Bytes of one point's dense vectors, before quantization and index."""
        return sum(vector.size * vector.datatype.bytes_per_element for vector in self.vectors)


def sanitise(part: str) -> str:
    """A name part that Qdrant, file systems and URLs accept; case is kept, as in Qdrant."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", part).lstrip("-.") or "x"


def collection_name(alias: str, schema: Schema) -> str:
    """`<alias>-<schemaVersion>-<hash8>`: deterministic, so creating it is idempotent.

    It begins with `<alias>-`, by which it is found, as long as the alias is one that the API accepts.
    """
    return revision_name(alias, schema.schema_version, schema.revision)


def revision_name(alias: str, schema_version: str, revision: str) -> str:
    """The same name, from what the owner mark says of the revision."""
    tail = f"-{sanitise(schema_version)[:MAX_VERSION]}-{revision}"
    return sanitise(alias)[: MAX_NAME - len(tail)] + tail


def next_alias(alias: str) -> str:
    """The alias that points at green from *Verifying* on."""
    return f"{alias}-next"


def version_alias(alias: str, schema_version: str) -> str:
    """The alias of the newest live revision of one schemaVersion."""
    return f"{alias}-{sanitise(schema_version)}"
