"""What was seen in Qdrant, as data. The planner reads nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from teal.domain.marks import Marks
from teal.domain.schema import Schema


@dataclass(frozen=True, order=True)
class Version:
    """A server's version; `1.19.0-dev` reads as 1.19.0."""

    major: int
    minor: int
    patch: int = 0

    @classmethod
    def parse(cls, text: str) -> Version:
        """The version that `text` begins with; text that is no version reads as 0.0.0, older than any."""
        found = re.match(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?", text.strip(), re.ASCII)
        return cls(*(int(number or 0) for number in found.groups())) if found else cls(0, 0)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


@dataclass(frozen=True)
class CollectionState:
    """One collection as `GET /collections/{name}` shows it.

    `schema` carries no model, and its schema version only where a mark names one: Qdrant knows neither.
    `config` is the answer's `config` object, `payload_schema` field → {data_type, params, points}.
    """

    name: str
    schema: Schema
    config: Mapping[str, Any]
    payload_schema: Mapping[str, Mapping[str, Any]]
    status: str
    points: int
    indexed_vectors: int
    queue_length: int
    marks: Marks
    optimizer_error: str | None = None

    @property
    def revision(self) -> str | None:
        """The revision that this collection was made for; `None` when Teal did not make it."""
        return self.marks.owner.revision if self.marks.owner else None

    @property
    def one_sequence(self) -> bool:
        """Whether one sequence numbers all changes. Each shard, and each of its replicas, has its own sequence."""
        params = self.config.get("params") or {}
        return self.schema.shard_number == 1 and int(params.get("replication_factor") or 1) == 1


@dataclass(frozen=True)
class Observed:
    """What one resource needs to know of its Qdrant.

    `names` are all collections there; `states` only those that can matter to the resource: what its aliases
    point at, what carries its alias's name as prefix, and what it wants to adopt.
    """

    version: Version
    names: frozenset[str]
    aliases: Mapping[str, str]
    states: Mapping[str, CollectionState] = field(default_factory=dict)

    def state(self, name: str | None) -> CollectionState | None:
        return self.states.get(name) if name else None
