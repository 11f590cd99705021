"""What Teal writes on a collection, and the only memory that a migration has.

Qdrant keeps a JSON object, `metadata`, with every collection; a PATCH merges it key by key. Teal owns the keys
below `teal.dev/`. Whose a collection is, which revision it carries, how far its population got and what was
decided about it is read from here on every reconcile, so a wiped status or a killed operator loses nothing.

Two rules. A mark counts only on the collection that it names: a snapshot restored under another name carries
blue's marks along, and must not be mistaken for it. And a mark that cannot be read is never guessed at: it is
reported as `damaged`, so that nothing is decided about a collection whose memory is lost or was written by a
newer Teal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Annotated, Any, ClassVar, NamedTuple, Self, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from teal.domain.transitions import Stage

OWNER = "teal.dev/owner"
ENCODER = "teal.dev/encoder"
MIGRATION = "teal.dev/migration"
CHECKPOINT = "teal.dev/checkpoint"
VERDICT = "teal.dev/verdict"
REPLACED = "teal.dev/replaced"
DECLARED = "teal.dev/declared"
FENCE = "teal.dev/fence"
DECLINED = "teal.dev/declined"
HOOKS = "teal.dev/hooks"
BASELINE = "teal.dev/baseline"
WATCHED = "teal.dev/watched"
FROZEN = "teal.dev/frozen"
IN_STEP = "teal.dev/in-step"
CARRIED = "teal.dev/carried"
SWITCH = "teal.dev/switch"
STALE = "teal.dev/stale"

Json = Mapping[str, Any]
M = TypeVar("M", bound="Mark")
Nullable = Field(default=None)
"""In JSON, absent is null; in Python it has to be said."""


@dataclass(frozen=True)
class Mark:
    """A mark's value: camelCase in JSON; keys that are not known here are passed over."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(alias_generator=to_camel, allow_inf_nan=False)

    def as_json(self) -> dict[str, Any]:
        written: dict[str, Any] = self._adapter().dump_python(self, mode="json", by_alias=True)
        return written

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """The mark that `as_json` wrote.

        Raises:
            ValidationError: it was not written so.
        """
        read: Self = cls._adapter().validate_python(value)
        return read

    @classmethod
    @cache
    def _adapter(cls) -> TypeAdapter[Any]:
        return TypeAdapter(cls)


def is_mark(key: str) -> bool:
    """Whether a key of a collection's metadata is Teal's; all others are the application's."""
    return key.startswith("teal.dev/")


def about(key: str, collection: str) -> str:
    """The key of a mark that a collection carries once for each other one that it has to do with."""
    return f"{key}/{collection}"


def keys_about(metadata: Json | None, collection: str) -> list[str]:
    """All such keys that name `collection`."""
    found = metadata or {}
    return [about(key, collection) for key in (IN_STEP, CARRIED, STALE) if found.get(about(key, collection))]


class Noted(NamedTuple):
    """Digests of when two collections held the same: of the one that carries the mark, and of the one it names."""

    here: Json | None = None
    there: Json | None = None


@dataclass(frozen=True)
class Owner(Mark):
    """Whose this collection is. `uid` is the VectorCollection's; `collection` must equal the actual name."""

    uid: str
    cluster: Annotated[str, Field(default="")]
    namespace: Annotated[str, Field(default="")]
    name: Annotated[str, Field(default="")]
    collection: str
    revision: str
    schema_version: str
    created_at: Annotated[float, Field(default=0.0)]
    adopted: bool = False


def migration_id(plan_hash: str, attempt: int) -> str:
    """How status and annotations name one attempt to carry out one plan."""
    return f"{plan_hash}-{attempt}"


@dataclass(frozen=True)
class Migration(Mark):
    """How far the migration into this collection got; `stage` moves only by the transition table."""

    plan_hash: str
    data_hash: str
    stage: Stage
    source: Annotated[str | None, Nullable]
    started_at: float
    attempt: int = 1
    stage_since: float = 0.0
    reason: str | None = None
    message: str | None = None

    @property
    def id(self) -> str:
        """What annotations name; a retry makes a new one, so an old annotation cannot act twice."""
        return migration_id(self.plan_hash, self.attempt)

    def at(self, stage: Stage, now: float, reason: str | None = None, message: str | None = None) -> Self:
        """The same migration in its next stage; `reason` says why it is held."""
        return replace(self, stage=stage, stage_since=now, reason=reason, message=message)


@dataclass(frozen=True)
class Replaced(Mark):
    """On a collection that served and does not any more: since when, and by whom."""

    by: str
    at: float

    def until(self, keep_for: float) -> float:
        """When its retention of `keep_for` seconds ends, in seconds since the epoch."""
        return self.at + keep_for


@dataclass(frozen=True)
class Fence(Mark):
    """On blue while its writers are held back: what its own limits were, so that they come back."""

    at: float
    enabled: bool
    write_rate_limit: Annotated[int | None, Nullable]


@dataclass(frozen=True)
class Declined(Mark):
    """On the collection that keeps serving, or is to serve again: that migration away from it is not wanted.

    It holds as long as the spec asks for the same `wish`, until it is lifted; then it still says which attempts
    there have been, so that an annotation which has acted never acts twice.
    """

    wish: str
    plan_hash: str
    attempt: int
    reason: str
    message: str
    at: float
    lifted: bool = False

    @property
    def id(self) -> str:
        return migration_id(self.plan_hash, self.attempt)


@dataclass(frozen=True)
class Hooks(Mark):
    """On green: what the gate before the switch has answered, and whether the hook after it has been told.

    `not_before` is when the gate may be asked again, in seconds since the epoch.
    """

    migration: str
    refusals: int = 0
    not_before: float = 0.0
    message: str = ""
    told: bool = False


@dataclass(frozen=True)
class Baseline(Mark):
    """On green, from before the switch: how blue answered the probes. Times are in seconds."""

    migration: str
    points: tuple[str, ...]
    median: float
    p95: float
    error_rate: float
    answered: bool


@dataclass(frozen=True)
class Watched(Mark):
    """On green while it is watched. `seconds` have been watched; a pause adds none.

    `slow_for` and `failing_for` are seconds in which it has been so without a break, `None` where it is not.
    """

    migration: str
    seconds: float = 0.0
    slow_for: Annotated[float | None, Nullable] = None
    failing_for: Annotated[float | None, Nullable] = None
    p95: float | None = None
    error_rate: float | None = None
    paused: str | None = None


@dataclass(frozen=True)
class _Encoder(Mark):
    """What Teal reads of `Marks.encoder`, which is there for clients."""

    model: str | None = None


@dataclass(frozen=True)
class _Declared(Mark):
    """The shape of `Marks.declared`."""

    indexes: tuple[str, ...] = ()
    quantization: bool = False


@dataclass(frozen=True)
class _Check(Mark):
    name: str
    verdict: str
    message: str


@dataclass(frozen=True)
class _Verdict(Mark):
    """The shape of `Marks.verdict`."""

    plan_hash: str
    verdict: str
    checks: tuple[_Check, ...]


@dataclass(frozen=True)
class Marks:
    """All of a collection's marks, parsed; absent or foreign ones are `None`.

    `damaged` says which of them could not be read; nothing may be decided from the others then. Checkpoints are
    proofs, not memory: one that cannot be read proves nothing, and that is all.
    """

    owner: Owner | None = None
    migration: Migration | None = None
    replaced: Replaced | None = None
    fence: Fence | None = None
    verdict: Json | None = None
    checkpoint: Json | None = None
    frozen: Json | None = None
    in_step: Mapping[str, Noted] = field(default_factory=dict)
    carried: Mapping[str, Json] = field(default_factory=dict)
    switch: Json | None = None
    stale: Mapping[str, Json] = field(default_factory=dict)
    encoder: Json | None = None
    declared: Json = field(default_factory=dict)
    declined: Declined | None = None
    hooks: Hooks | None = None
    baseline: Baseline | None = None
    watched: Watched | None = None
    damaged: str | None = None

    @classmethod
    def read(cls, collection: str, metadata: Json | None) -> Self:
        """The marks that truly belong to `collection`; those of a clone are ignored."""
        found = metadata or {}
        named = found.get(OWNER)
        if not isinstance(named, Mapping) or named.get("collection") != collection:
            return cls()
        reader = _Reader(found)
        owner, migration = reader.read(OWNER, Owner), reader.read(MIGRATION, Migration)
        if MIGRATION not in found:
            reader.problems.append(f"{MIGRATION} is missing")
        return cls(
            owner=owner,
            migration=migration,
            replaced=reader.read(REPLACED, Replaced),
            fence=reader.read(FENCE, Fence),
            verdict=reader.checked(VERDICT, _Verdict),
            checkpoint=_object(found.get(CHECKPOINT)),
            frozen=_object(found.get(FROZEN)),
            in_step={
                name: Noted(_object(value.get("here")), _object(value.get("there")))
                for name, value in _by_collection(found, IN_STEP).items()
            },
            carried=_by_collection(found, CARRIED),
            switch=_object(found.get(SWITCH)),
            stale=_by_collection(found, STALE),
            encoder=reader.checked(ENCODER, _Encoder),
            declared=reader.checked(DECLARED, _Declared) or {},
            declined=reader.read(DECLINED, Declined),
            hooks=reader.read(HOOKS, Hooks),
            baseline=reader.read(BASELINE, Baseline),
            watched=reader.read(WATCHED, Watched),
            damaged="; ".join(reader.problems) or None,
        )


class _Reader:
    """Reads marks one by one and gathers what is wrong with them."""

    def __init__(self, found: Json) -> None:
        self._found = found
        self.problems: list[str] = []

    def read(self, key: str, kind: type[M]) -> M | None:
        """The mark `key` as a `kind`; `None` if it is absent or damaged."""
        if self._found.get(key) is None:
            return None
        try:
            return kind.from_json(self._found[key])
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, (key, *first["loc"])))
            shown = "" if first["type"] == "missing" else f", got {str(first['input'])[:60]!r}"
            self.problems.append(f"{place}: {first['msg']}{shown}")
            return None

    def checked(self, key: str, kind: type[Mark]) -> Json | None:
        """The mark `key` as it is, if it reads as a `kind`."""
        return self._found[key] if self.read(key, kind) is not None else None


def _by_collection(found: Json, key: str) -> dict[str, Json]:
    prefix = about(key, "")
    return {
        name.removeprefix(prefix): value
        for name, value in found.items()
        if name.startswith(prefix) and isinstance(value, Mapping)
    }


def _object(value: Any) -> Json | None:
    return value if isinstance(value, Mapping) else None
