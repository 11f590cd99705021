"""What Teal writes on a collection, and the only memory that a migration has.

Qdrant keeps a JSON object, `metadata`, with every collection; a PATCH merges it key by key. Teal owns the keys
below `teal.dev/`. Whose a collection is, which revision it carries, how far its population got and what was
decided about it is read from here on every reconcile, so a wiped status or a killed operator loses nothing.

A mark counts only on the collection that it names: a snapshot restored under another name carries blue's marks
along, and must not be mistaken for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from teal.domain.transitions import Stage

OWNER = "teal.dev/owner"
ENCODER = "teal.dev/encoder"
MIGRATION = "teal.dev/migration"
CHECKPOINT = "teal.dev/checkpoint"
VERDICT = "teal.dev/verdict"
REPLACED = "teal.dev/replaced"
DECLARED = "teal.dev/declared"
FENCE = "teal.dev/fence"
AT_SWITCH = "teal.dev/at-switch"

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Owner:
    """Whose this collection is. `uid` is the VectorCollection's; `collection` must equal the actual name."""

    uid: str
    cluster: str
    namespace: str
    name: str
    collection: str
    revision: str
    schema_version: str
    created_at: float
    adopted: bool = False

    def as_json(self) -> dict[str, Any]:
        return {
            "uid": self.uid,
            "cluster": self.cluster,
            "namespace": self.namespace,
            "name": self.name,
            "collection": self.collection,
            "revision": self.revision,
            "schemaVersion": self.schema_version,
            "createdAt": self.created_at,
            "adopted": self.adopted,
        }

    @classmethod
    def from_json(cls, value: Json) -> Self:
        return cls(
            uid=str(value["uid"]),
            cluster=str(value.get("cluster", "")),
            namespace=str(value.get("namespace", "")),
            name=str(value.get("name", "")),
            collection=str(value.get("collection", "")),
            revision=str(value.get("revision", "")),
            schema_version=str(value.get("schemaVersion", "")),
            created_at=float(value.get("createdAt", 0)),
            adopted=bool(value.get("adopted", False)),
        )


@dataclass(frozen=True)
class Migration:
    """How far the migration into this collection got; `stage` moves only by the transition table."""

    plan_hash: str
    data_hash: str
    stage: Stage
    source: str | None
    started_at: float
    attempt: int = 1
    stage_since: float = 0.0
    reason: str | None = None
    message: str | None = None

    @property
    def id(self) -> str:
        """What annotations name; a retry makes a new one, so an old annotation cannot act twice."""
        return f"{self.plan_hash}-{self.attempt}"

    def at(self, stage: Stage, now: float, reason: str | None = None, message: str | None = None) -> Self:
        """The same migration in its next stage; `reason` says why it is held."""
        return replace(self, stage=stage, stage_since=now, reason=reason, message=message)

    def as_json(self) -> dict[str, Any]:
        return {
            "planHash": self.plan_hash,
            "dataHash": self.data_hash,
            "stage": self.stage.value,
            "source": self.source,
            "startedAt": self.started_at,
            "attempt": self.attempt,
            "stageSince": self.stage_since,
            "reason": self.reason,
            "message": self.message,
        }

    @classmethod
    def from_json(cls, value: Json) -> Self:
        return cls(
            plan_hash=str(value["planHash"]),
            data_hash=str(value.get("dataHash", "")),
            stage=Stage(value["stage"]),
            source=value.get("source"),
            started_at=float(value.get("startedAt", 0)),
            attempt=int(value.get("attempt", 1)),
            stage_since=float(value.get("stageSince", 0)),
            reason=value.get("reason"),
            message=value.get("message"),
        )


@dataclass(frozen=True)
class Replaced:
    """On a collection that served and does not any more: since when, and by whom."""

    by: str
    at: float

    def as_json(self) -> dict[str, Any]:
        return {"by": self.by, "at": self.at}


@dataclass(frozen=True)
class Fence:
    """On blue while its writers are held back: what its own limits were, so that they come back."""

    at: float
    enabled: bool
    write_rate_limit: int | None

    def as_json(self) -> dict[str, Any]:
        return {"at": self.at, "enabled": self.enabled, "writeRateLimit": self.write_rate_limit}


@dataclass(frozen=True)
class Marks:
    """All of a collection's marks, parsed; absent or foreign ones are `None`."""

    owner: Owner | None = None
    migration: Migration | None = None
    replaced: Replaced | None = None
    fence: Fence | None = None
    verdict: Json | None = None
    checkpoint: Json | None = None
    at_switch: Json | None = None
    encoder: Json | None = None
    declared: Json = field(default_factory=dict)

    @classmethod
    def read(cls, collection: str, metadata: Json | None) -> Self:
        """The marks that truly belong to `collection`; those of a clone are ignored."""
        found = metadata or {}
        raw_owner = found.get(OWNER)
        if not isinstance(raw_owner, Mapping) or raw_owner.get("collection") != collection:
            return cls()
        migration, replaced, fence = found.get(MIGRATION), found.get(REPLACED), found.get(FENCE)
        return cls(
            owner=Owner.from_json(raw_owner),
            migration=Migration.from_json(migration) if migration else None,
            replaced=Replaced(str(replaced["by"]), float(replaced["at"])) if replaced else None,
            fence=(
                Fence(float(fence["at"]), bool(fence["enabled"]), fence.get("writeRateLimit")) if fence else None
            ),
            verdict=found.get(VERDICT),
            checkpoint=found.get(CHECKPOINT),
            at_switch=found.get(AT_SWITCH),
            encoder=found.get(ENCODER),
            declared=found.get(DECLARED) or {},
        )
