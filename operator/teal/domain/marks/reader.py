"""All marks of one collection, as they are read from its metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from pydantic import ValidationError

from teal.domain.marks.kinds import (
    Baseline,
    Carried,
    Checkpoint,
    CutoverBegun,
    Declared,
    Declined,
    Encoder,
    Fence,
    Frozen,
    Hooks,
    InStep,
    Json,
    Key,
    Mark,
    Migration,
    Owner,
    PairMark,
    Replaced,
    Snapshots,
    Stale,
    StoredVerdict,
    Watched,
)

M = TypeVar("M", bound=Mark)
P = TypeVar("P", bound=PairMark)


@dataclass(frozen=True)
class Marks:
    """All of a collection's marks, parsed; absent or foreign ones are `None`.

    Those about another collection are kept by its name. `damaged` says which marks could not be read; nothing may
    be decided from the others then. A proof (`Checkpoint`, `InStep`) that cannot be read is not damage: it just
    proves nothing.
    """

    owner: Owner | None = None
    encoder: Encoder | None = None
    declared: Declared = field(default_factory=Declared)
    migration: Migration | None = None
    checkpoint: Checkpoint | None = None
    frozen: Frozen | None = None
    verdict: StoredVerdict | None = None
    hooks: Hooks | None = None
    cutover_begun: CutoverBegun | None = None
    baseline: Baseline | None = None
    watched: Watched | None = None
    fence: Fence | None = None
    replaced: Replaced | None = None
    snapshots: Snapshots | None = None
    declined: Declined | None = None
    in_step: Mapping[str, InStep] = field(default_factory=dict)
    carried: Mapping[str, Carried] = field(default_factory=dict)
    stale: Mapping[str, Stale] = field(default_factory=dict)
    damaged: str | None = None

    @property
    def partners(self) -> list[str]:
        """The other collections that any mark is about."""
        return sorted({*self.in_step, *(log.collection for log in self.carried.values()), *self.stale})

    def keys_about(self, partner: str) -> list[Key]:
        """The keys of all marks about this other collection."""
        found = (self.in_step.get(partner), *self.carried_about(partner), self.stale.get(partner))
        return [mark.key for mark in found if mark]

    def carried_about(self, partner: str) -> list[Carried]:
        """The write-ahead log of this collection and `partner`."""
        return [log for log in self.carried.values() if log.collection == partner]

    @classmethod
    def read(cls, collection: str, metadata: Json | None) -> Self:
        """The marks that truly belong to `collection`; those of a clone are ignored."""
        found = metadata or {}
        named = found.get(Owner.KEY)
        if not isinstance(named, Mapping) or named.get("collection") != collection:
            return cls()
        reader = _Reader(found)
        owner, migration = reader.one(Owner), reader.one(Migration)
        if Migration.KEY not in found:
            reader.problems.append(f"{Migration.KEY} is missing")
        return cls(
            owner=owner,
            encoder=reader.one(Encoder),
            declared=reader.one(Declared) or Declared(),
            migration=migration,
            checkpoint=Checkpoint.proof(found.get(Checkpoint.KEY)),
            frozen=reader.one(Frozen),
            verdict=reader.one(StoredVerdict),
            hooks=reader.one(Hooks),
            cutover_begun=reader.one(CutoverBegun),
            baseline=reader.one(Baseline),
            watched=reader.one(Watched),
            fence=reader.one(Fence),
            replaced=reader.one(Replaced),
            snapshots=reader.one(Snapshots),
            declined=reader.one(Declined),
            in_step=reader.by_partner(InStep),
            carried=reader.by_partner(Carried),
            stale=reader.by_partner(Stale),
            damaged="; ".join(reader.problems) or None,
        )


class _Reader:
    """Reads marks one by one and gathers what is wrong with them."""

    def __init__(self, found: Json) -> None:
        self._found = found
        self.problems: list[str] = []

    def one(self, kind: type[M]) -> M | None:
        """The mark of this kind; `None` if it is absent or damaged."""
        value = self._found.get(kind.KEY)
        if value is None:
            return None
        try:
            return kind.from_json(value)
        except ValidationError as error:
            self._complain(kind.KEY, error)
            return None

    def by_partner(self, kind: type[P]) -> dict[str, P]:
        """All marks of this kind that can be read, by the name of the collection that they are about."""
        read: dict[str, P] = {}
        start = kind.about("")
        for key, value in self._found.items():
            if not key.startswith(start) or value is None:
                continue
            partner = key.removeprefix(start)
            try:
                read[partner] = kind.read_about(partner, value)
            except ValidationError as error:
                self._complain(key, error)
        return read

    def _complain(self, key: str, error: ValidationError) -> None:
        first: Any = error.errors(include_url=False)[0]
        place = ".".join(map(str, (key, *first["loc"])))
        shown = "" if first["type"] == "missing" else f", got {str(first['input'])[:60]!r}"
        self.problems.append(f"{place}: {first['msg']}{shown}")
