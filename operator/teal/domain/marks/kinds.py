"""The marks: one dataclass for each, with its key.

A mark is read and written only through its dataclass. Most marks stand once on a collection. Those of `PairMark`
stand once for each other collection that they are about, the partner; its name is the end of their key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Annotated, Any, ClassVar, NewType, Self

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from teal.domain.transitions import Stage
from teal.domain.verdict import Check, Verdict, overall

PREFIX = "teal.dev/"

Json = Mapping[str, Any]
Key = NewType("Key", str)
"""A key of Teal's in a collection's metadata."""
Nullable = Field(default=None)
"""A field that is null if it is absent from the JSON, and that Python code must always pass."""


@dataclass(frozen=True)
class _AsJson:
    """A value that is camelCase in JSON; unknown keys are ignored."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(alias_generator=to_camel, allow_inf_nan=False)
    OMITS_NULLS: ClassVar[bool] = False

    def as_json(self) -> dict[str, Any]:
        written: dict[str, Any] = self._adapter().dump_python(
            self, mode="json", by_alias=True, exclude_none=self.OMITS_NULLS
        )
        return written

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """The value that `as_json` wrote.

        Raises:
            ValidationError: it was not written so.
        """
        read: Self = cls._adapter().validate_python(value)
        return read

    @classmethod
    @cache
    def _adapter(cls) -> TypeAdapter[Any]:
        return TypeAdapter(cls)


@dataclass(frozen=True)
class Mark(_AsJson):
    """What stands on a collection below `KEY`."""

    KEY: ClassVar[Key]

    @property
    def key(self) -> Key:
        return self.KEY


@dataclass(frozen=True)
class PairMark(Mark):
    """A mark about another collection, the partner. `KEY` is only how its key begins."""

    partner: str

    @property
    def key(self) -> Key:
        return self.about(self.partner)

    @classmethod
    def about(cls, partner: str) -> Key:
        """The key of the mark about `partner`."""
        return Key(f"{cls.KEY}/{partner}")

    def as_json(self) -> dict[str, Any]:
        """The value; the partner's name is in the key."""
        return {name: value for name, value in super().as_json().items() if name != "partner"}

    @classmethod
    def read_about(cls, partner: str, value: Any) -> Self:
        """The mark about `partner` that `as_json` wrote; raises like `from_json`."""
        return cls.from_json({**value, "partner": partner} if isinstance(value, Mapping) else value)


def is_mark(key: str) -> bool:
    """Whether a key of a collection's metadata is Teal's; all others are the application's."""
    return key.startswith(PREFIX)


def migration_id(plan_hash: str, attempt: int) -> str:
    """How status and annotations name one attempt to carry out one plan."""
    return f"{plan_hash}-{attempt}"


@dataclass(frozen=True)
class Owner(Mark):
    """The owner of this collection. `uid` is the VectorCollection's; `collection` must equal the actual name.

    `alias` is empty in a mark that an older Teal wrote.
    """

    KEY: ClassVar[Key] = Key(PREFIX + "owner")

    uid: str
    cluster: Annotated[str, Field(default="")]
    namespace: Annotated[str, Field(default="")]
    name: Annotated[str, Field(default="")]
    alias: Annotated[str, Field(default="")]
    collection: str
    revision: str
    schema_version: str
    created_at: Annotated[float, Field(default=0.0)]
    adopted: bool = False


@dataclass(frozen=True)
class Encoder(Mark):
    """The encoder of the vectors: what clients need to know of the `EmbeddingSet`.

    Clients read this mark, and an application may have written one before its collection was adopted.
    """

    KEY: ClassVar[Key] = Key(PREFIX + "encoder")

    model: Annotated[str | None, Nullable]
    schema_version: Annotated[str, Field(default="")]
    dimensions: Annotated[int | None, Nullable]
    url: str | None = None


@dataclass(frozen=True)
class Declared(Mark):
    """Which payload indexes the spec declared, and whether it declared a quantization."""

    KEY: ClassVar[Key] = Key(PREFIX + "declared")

    indexes: tuple[str, ...] = ()
    quantization: bool = False


@dataclass(frozen=True)
class Migration(Mark):
    """How far the migration into this collection got; `stage` moves only by the transition table.

    `copied`: its vectors are those of `source`, byte for byte (true), or another encoder's (false); `None` where
    that is not known. `anew`: its vectors failed a verification, so this attempt makes all of them again, and
    believes none that are there.
    """

    KEY: ClassVar[Key] = Key(PREFIX + "migration")

    plan_hash: str
    data_hash: str
    stage: Stage
    source: Annotated[str | None, Nullable]
    started_at: float
    attempt: int = 1
    stage_since: float = 0.0
    reason: str | None = None
    message: str | None = None
    anew: bool = False
    copied: bool | None = None

    @property
    def id(self) -> str:
        """What annotations name; a retry makes a new one, so an old annotation cannot act twice."""
        return migration_id(self.plan_hash, self.attempt)

    def at(self, stage: Stage, now: float, reason: str | None = None, message: str | None = None) -> Self:
        """The same migration in its next stage; `reason` says why it is held."""
        return replace(self, stage=stage, stage_since=now, reason=reason, message=message)


@dataclass(frozen=True)
class Checkpoint(Mark):
    """Sums by bucket over the versions of the points that were copied (`domain.buckets`), and the epoch of these.

    It is a proof: one that cannot be read, or that is of another epoch, proves nothing, and everything is copied
    again.
    """

    KEY: ClassVar[Key] = Key(PREFIX + "checkpoint")

    epoch: str
    sums: Mapping[str, Any]

    @classmethod
    def proof(cls, value: Any) -> Self | None:
        """What can be read of `value`."""
        try:
            return cls.from_json(value)
        except ValidationError:
            return None


@dataclass(frozen=True)
class Frozen(Mark):
    """A digest of all versions of blue, and their epoch: with `writes: Frozen` it must not change."""

    KEY: ClassVar[Key] = Key(PREFIX + "frozen")

    fingerprint: str
    epoch: Annotated[str, Field(default="")]


@dataclass(frozen=True)
class StoredCheck(_AsJson):
    """One check as it is kept; `observed` and `threshold` are numbers, as text."""

    OMITS_NULLS: ClassVar[bool] = True

    name: str
    verdict: Verdict
    message: str
    observed: str | None = None
    threshold: str | None = None
    samples: tuple[str, ...] | None = None


@dataclass(frozen=True)
class StoredVerdict(Mark):
    """The verdict of verification on green. It holds for this plan, also after a restart."""

    KEY: ClassVar[Key] = Key(PREFIX + "verdict")
    OMITS_NULLS: ClassVar[bool] = True

    plan_hash: str
    verdict: Verdict
    checks: tuple[StoredCheck, ...]

    @classmethod
    def of(cls, plan_hash: str, checks: Iterable[Check]) -> Self:
        rows = list(checks)
        return cls(plan_hash, overall(rows), tuple(StoredCheck.from_json(row.as_json()) for row in rows))


@dataclass(frozen=True)
class Hooks(Mark):
    """The answers of the hook before the cut-over, and whether the hook after it has been called.

    `not_before` is when the hook may be called again, in seconds since the epoch.
    """

    KEY: ClassVar[Key] = Key(PREFIX + "hooks")

    migration: str
    refusals: int = 0
    not_before: float = 0.0
    message: str = ""
    told: bool = False


@dataclass(frozen=True)
class CutoverBegun(Mark):
    """A cut-over from `source` to this collection has begun. As long as this mark exists, the operator that starts
    after a crash looks for late writes on `source`, by the marks that were written together with this one."""

    KEY: ClassVar[Key] = Key(PREFIX + "cutover-begun")

    source: str


@dataclass(frozen=True)
class Baseline(Mark):
    """How blue answered the probes before the cut-over. Times are in seconds."""

    KEY: ClassVar[Key] = Key(PREFIX + "baseline")

    migration: str
    points: tuple[str, ...]
    median: float
    p95: float
    error_rate: float
    answered: bool


@dataclass(frozen=True)
class Watched(Mark):
    """What the watch has seen of green since the cut-over, for `seconds` so far; a pause does not count.

    `slow_for` and `failing_for` are for how many seconds it has been slow or failing, `None` if it is not.
    """

    KEY: ClassVar[Key] = Key(PREFIX + "watched")

    migration: str
    seconds: float = 0.0
    slow_for: Annotated[float | None, Nullable] = None
    failing_for: Annotated[float | None, Nullable] = None
    p95: float | None = None
    error_rate: float | None = None
    paused: str | None = None


@dataclass(frozen=True)
class Fence(Mark):
    """On the old side while its writers are held back: what lifting the fence restores.

    `limits` are other limits of its strict mode, which is switched off, and which the fence must not wake.
    `write_consistency_factor` is its own, if the fence has raised it.
    """

    KEY: ClassVar[Key] = Key(PREFIX + "fence")

    at: float
    enabled: bool
    write_rate_limit: Annotated[int | None, Nullable]
    limits: Mapping[str, Any] = field(default_factory=dict)
    write_consistency_factor: int | None = None


@dataclass(frozen=True)
class Replaced(Mark):
    """On a collection that has served and no longer does: since when, and which one replaced it."""

    KEY: ClassVar[Key] = Key(PREFIX + "replaced")

    by: str
    at: float

    def until(self, keep_for: float) -> float:
        """When its retention of `keep_for` seconds ends, in seconds since the epoch."""
        return self.at + keep_for


@dataclass(frozen=True)
class StoredSnapshot(_AsJson):
    """One snapshot of a collection, on the peer that took it (the root of its REST interface)."""

    peer: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} at {self.peer}"


@dataclass(frozen=True)
class Snapshots(Mark):
    """On a collection that is about to be deleted: the snapshots that together hold all of it."""

    KEY: ClassVar[Key] = Key(PREFIX + "snapshots")

    taken: tuple[StoredSnapshot, ...]


@dataclass(frozen=True)
class Declined(Mark):
    """On the collection that keeps serving, or is to serve again: the migration away from it is declined.

    It holds as long as the spec asks for the same (`wish`), until it is lifted. A lifted mark stays, because it
    says which attempts there have been, so that an annotation which has acted never acts twice.
    """

    KEY: ClassVar[Key] = Key(PREFIX + "declined")

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
class SideNote(_AsJson):
    """What one collection held when it and its partner were last in step.

    Attributes:
        instance: which collection of this name it was.
        epoch: within which the floors hold (`Epoch.noted`).
        floors: for each part of the ids, the lowest and the highest `op_num` of the collection's replicas then;
            `None` where nobody knows.
        contents: sums by bucket over the contents (`domain.buckets`).
    """

    instance: str
    epoch: str
    floors: tuple[tuple[int, int] | None, ...]
    contents: Mapping[str, Any]


@dataclass(frozen=True)
class InStep(PairMark):
    """What this collection (`here`) and its partner (`there`) held when they were last in step, noted at `at`.

    Both are proofs: one that cannot be read proves nothing.

    Some points may not have been in step. Of those that are `unsettled` nobody knows which side changed; they are
    noted by id, with their digests here and there, in hexadecimal (0: not there). Those that are `uncarried` could
    not be made on the other side; they are noted by the collection that they stand on, with their digests (empty:
    for a reason that may pass).
    """

    KEY: ClassVar[Key] = Key(PREFIX + "in-step")
    OMITS_NULLS: ClassVar[bool] = True

    here: SideNote | None = None
    there: SideNote | None = None
    at: float = 0.0
    unsettled: Mapping[str, tuple[str, str]] | None = None
    uncarried: Mapping[str, Mapping[str, str]] | None = None

    def exchanged(self, partner: str) -> InStep:
        """The same note as it stands on the other side, about this one."""
        swapped = {point: (there, here) for point, (here, there) in (self.unsettled or {}).items()}
        return InStep(partner, self.there, self.here, self.at, swapped or None, self.uncarried)

    @classmethod
    def read_about(cls, partner: str, value: Any) -> Self:
        found = value if isinstance(value, Mapping) else {}
        told = {name: found[name] for name in ("at", "unsettled", "uncarried") if name in found}
        try:
            note = cls.from_json({**told, "partner": partner})
        except ValidationError:
            return cls(partner)
        return replace(note, here=_proof(found.get("here")), there=_proof(found.get("there")))


def _proof(value: Any) -> SideNote | None:
    """What can be read of `value`."""
    try:
        return None if value is None else SideNote.from_json(value)
    except ValidationError:
        return None


@dataclass(frozen=True)
class Carried(PairMark):
    """Write-ahead log: what Teal is about to write to this collection or to its partner.

    `points`: by the name of the collection that they go to, the ids with the digest of what is written, in
    hexadecimal; empty where the point is deleted. The log has many marks, so that a long one is never written
    twice: `partner` is the partner's name, a slash, and the number of the mark.
    """

    KEY: ClassVar[Key] = Key(PREFIX + "carried")

    points: Mapping[str, Mapping[str, str]]

    @property
    def collection(self) -> str:
        """The partner itself."""
        return self.partner.rpartition("/")[0]

    def as_json(self) -> dict[str, Any]:
        return dict(super().as_json()["points"])

    @classmethod
    def read_about(cls, partner: str, value: Any) -> Self:
        return cls.from_json({"partner": partner, "points": value})


@dataclass(frozen=True)
class Stale(PairMark):
    """A Bloom filter of the partner's points whose vector may be older than their text: see `domain.stale`.

    If it cannot be read, every point counts as one of them.
    """

    KEY: ClassVar[Key] = Key(PREFIX + "stale")

    points: str

    @classmethod
    def read_about(cls, partner: str, value: Any) -> Self:
        return cls(partner, str(value.get("points")) if isinstance(value, Mapping) else "")
