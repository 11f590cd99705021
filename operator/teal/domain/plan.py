"""A plan is data: how the alias gets from the serving collection to the declared revision, and why.

A `Plan` can be printed, compared and hashed, and its hash is what an approval names. Where points come from is
part of it: bytes are copied as long as the encoder is the same. Where a copy would lose something, no plan is
made: the change is refused, with the reason.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from teal.domain.actions import Asked
from teal.domain.carry import effective
from teal.domain.errors import TerminalError
from teal.domain.marks import Encoder
from teal.domain.observed import CollectionState
from teal.domain.schema import Datatype, DenseVector, Distance, Schema, collection_name
from teal.domain.tuning import Tuning


class Strategy(StrEnum):
    """What kind of work makes Qdrant match."""

    NOTHING = "Nothing"
    CREATE = "Create"
    IN_PLACE = "InPlace"
    BLUE_GREEN = "BlueGreen"
    ROLLBACK = "Rollback"


class Population(StrEnum):
    """How green's points come to be."""

    NONE = "None"
    COPY = "Copy"
    REEMBED = "ReEmbed"


@dataclass(frozen=True)
class Identity:
    """Which resource a collection belongs to.

    The alias is part of it: the same manifest may be applied for two aliases, at different times or by two
    pipelines, and each of them keeps its own collections.
    """

    uid: str
    cluster: str
    namespace: str
    name: str
    alias: str


@dataclass(frozen=True)
class Desired:
    """One VectorCollection and its EmbeddingSet, resolved to what the planner needs."""

    identity: Identity
    alias: str
    schema: Schema
    tuning: Tuning = field(default_factory=Tuning)
    encoder: Encoder | None = None
    has_embedder: bool = False
    text_field: str | None = None
    adopt: str | None = None
    strategy: str = "Auto"
    accept_normalised: bool = False
    dual_write: bool = False
    keep_for: float = 48 * 3600.0
    asked: Asked = field(default_factory=Asked)
    past: CollectionState | None = None
    """The retained collection that a rollback goes to: see `as_it_was`."""

    @property
    def wish(self) -> str:
        """A digest of what the spec asks for: a declined migration stays declined until this changes."""
        return _digest(
            {
                "target": self.target,
                "tuning": [self.tuning.sections, self.tuning.indexes],
                "textField": self.text_field,
                "encoder": self.encoder.as_json() if self.encoder else None,
                "acceptNormalised": self.accept_normalised,
            }
        )

    @property
    def target(self) -> str:
        """The physical name of the collection that this spec wants to serve."""
        return collection_name(self.alias, self.schema)


@dataclass(frozen=True)
class Reason:
    """Why a new collection is needed: one field that Qdrant cannot change in place."""

    field: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.field}: {self.old} → {self.new}"


@dataclass(frozen=True)
class Plan:
    """What is to be done and why. `hash` covers everything that affects the outcome."""

    strategy: Strategy
    target: str
    source: str | None
    population: Population
    schema: Schema
    tuning: Tuning
    text_field: str | None = None
    encoder: Encoder | None = None
    reasons: tuple[Reason, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def data_hash(self) -> str:
        """A hash of what decides green's points: while it stays the same, a green that is under way is kept."""
        return _digest(
            {
                "target": self.target,
                "source": self.source,
                "population": self.population,
                "textField": self.text_field,
            }
        )

    @property
    def hash(self) -> str:
        """Twelve hex digits, which change with every edit of the spec that changes the outcome."""
        return _digest(
            {
                "data": self.data_hash,
                "strategy": self.strategy,
                "tuning": [self.tuning.sections, self.tuning.indexes],
            }
        )


def _digest(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def make_plan(
    desired: Desired,
    serving: CollectionState | None,
    *,
    target: str | None = None,
    strategy: Strategy | None = None,
) -> Plan:
    """The plan that takes the alias from `serving` (`None`: nothing serves yet) to the declared revision.

    Raises:
        TerminalError: the points of the new revision cannot come from the old one as declared.
    """
    if serving is None:
        return Plan(
            Strategy.CREATE, target or desired.target, None, Population.NONE, desired.schema, desired.tuning,
            encoder=desired.encoder,
        )  # fmt: skip
    if strategy is Strategy.ROLLBACK:
        population, warnings = rollback_population(desired, serving)
    else:
        population = choose_population(desired, serving)
        warnings = _warnings(desired.schema, serving.schema, population)
    return Plan(
        strategy=strategy or Strategy.BLUE_GREEN,
        target=target or desired.target,
        source=serving.name,
        population=population,
        schema=desired.schema,
        tuning=effective(desired.tuning, serving, desired.schema),
        text_field=desired.text_field if population is Population.REEMBED else None,
        encoder=desired.encoder,
        reasons=_reasons(desired, serving),
        warnings=warnings,
    )


def as_it_was(desired: Desired, past: CollectionState) -> Desired:
    """The spec as it must have been when `past` was made, as far as its marks say: for a rollback to it.

    Its encoder can be asked only at the URL that the spec names now: marks name no Secret, and no key goes to a
    URL that does not stand beside it.
    """
    told, main = past.marks.encoder, past.schema.main
    encoder = None
    if past.schema.model and main:
        encoder = Encoder(past.schema.model, past.schema.schema_version, main.size, told.url if told else None)
    here = desired.encoder.url if desired.encoder else None
    reachable = bool(encoder and encoder.url and encoder.url == here)
    return replace(desired, schema=past.schema, encoder=encoder, has_embedder=reachable, past=past)


def _reasons(desired: Desired, serving: CollectionState) -> tuple[Reason, ...]:
    """At least one reason: a shard number that has left the spec changes the revision, yet Qdrant shows one."""
    unseen = Reason("revision", serving.revision, desired.schema.revision)
    return tuple(schema_reasons(serving.schema, desired.schema)) or (unseen,)


def schema_reasons(old: Schema, new: Schema) -> list[Reason]:
    """Field by field, what Qdrant cannot change in place. A shard number left to Qdrant is no reason."""
    values = [
        ("schemaVersion", old.schema_version, new.schema_version),
        ("model", old.model, new.model),
        ("shardNumber", old.shard_number, new.shard_number or old.shard_number),
        ("shardingMethod", old.sharding_method, new.sharding_method),
    ]
    reasons = [Reason(name, before, after) for name, before, after in values if before != after]
    vectors, wanted = ({v.name: v for v in schema.vectors} for schema in (old, new))
    for name in sorted(vectors.keys() | wanted.keys()):
        reasons += _vector_reasons(name, vectors.get(name), wanted.get(name))
    if old.sparse != new.sparse:
        reasons.append(Reason("sparseVectors", list(old.sparse), list(new.sparse)))
    return reasons


def _vector_reasons(name: str, old: Any, new: Any) -> list[Reason]:
    label = f"vectors[{name}]." if name else ""
    if old is None or new is None:
        return [Reason(f"{label.rstrip('.') or 'vectors'}", _shape(old), _shape(new))]
    return [
        Reason(f"{label}{field_name}", getattr(old, attribute), getattr(new, attribute))
        for field_name, attribute in (
            ("dimensions", "size"),
            ("distance", "distance"),
            ("datatype", "datatype"),
            ("multivector", "multivector"),
        )
        if getattr(old, attribute) != getattr(new, attribute)
    ]


def _shape(vector: Any) -> str | None:
    return f"{vector.size} {vector.distance}" if vector else None


def needs_encoder(desired: Desired, old: Schema) -> bool:
    """Whether the new vectors need another encoder, so that bytes cannot be copied."""
    new = desired.schema
    if old.model and new.model and old.model != new.model:
        return True
    if old.schema_version != new.schema_version and desired.has_embedder:
        return True
    before = {v.name: v.size for v in old.vectors}
    return any(v.name in before and before[v.name] != v.size for v in new.vectors)


def choose_population(desired: Desired, serving: CollectionState) -> Population:
    """Copy the bytes where the encoder is the same, else embed the texts again.

    Raises:
        TerminalError: neither is possible as declared.
    """
    old, new = serving.schema, desired.schema
    _refuse_unsourced(serving, set(new.sparse) - set(old.sparse))
    if needs_encoder(desired, old):
        if not _can_embed(desired):
            raise TerminalError(
                "EmbedderRequired",
                f"The new revision needs new vectors ({'; '.join(map(str, schema_reasons(old, new)))}). Give "
                "the EmbeddingSet an embedder and source.collection.textField, so that Teal can make them "
                "(for collections with one dense vector).",
            )
        return Population.REEMBED
    _refuse_unsourced(serving, {v.name for v in new.vectors} - {v.name for v in old.vectors})
    _refuse_lost_magnitudes(desired, old)
    return Population.COPY


def _refuse_unsourced(serving: CollectionState, missing: set[str]) -> None:
    if missing:
        raise TerminalError(
            "VectorHasNoSource",
            f"{serving.name!r} has no vector named {', '.join(map(repr, sorted(missing)))} to copy from.",
        )


def same_encoder(one: CollectionState, other: CollectionState) -> bool:
    """Whether vectors can be copied between two revisions as they are.

    The migration between them has decided that, and its mark says how: what it copied can be copied both ways, and
    what it embedded again is another encoder's, whatever the names of the models are. Where no mark says it, both
    have to name the same model and version, or no model at all.
    """
    for newer, older in ((one, other), (other, one)):
        copied = _copied(newer, older)
        if copied is not None:
            return copied
    named = (one.schema.model, one.schema.schema_version), (other.schema.model, other.schema.schema_version)
    if named[0] != named[1] and (one.schema.model or other.schema.model):
        return False
    return _sizes(one.schema) == _sizes(other.schema)


def _sizes(schema: Schema) -> dict[str, int]:
    return {vector.name: vector.size for vector in schema.vectors}


def _copied(newer: CollectionState, older: CollectionState) -> bool | None:
    """Whether the migration from `older` to `newer` copied the vectors; `None` where no mark says it."""
    migration = newer.marks.migration
    return migration.copied if migration and migration.source == older.name else None


def rollback_population(desired: Desired, serving: CollectionState) -> tuple[Population, tuple[str, ...]]:
    """How writes made since the cut-over get into the retained collection; they never forbid a rollback.

    What the migration from the retained collection copied is copied back (`same_encoder`). Where its mark does not
    say, this is stricter than `choose_population`: vectors of two encoders in one collection are worse than points
    that are not copied. So if only one side names its model, the other is taken to have another encoder.
    """
    old, new = serving.schema, desired.schema
    copied = _copied(serving, desired.past) if desired.past else None
    if copied is None:
        unknown = old.model != new.model and old.schema_version != new.schema_version
        copied = not (unknown or needs_encoder(desired, old))
    if not copied:
        if _can_embed(desired):
            return Population.REEMBED, ()
        lost = "points written since the cut-over are not copied back: they have no vectors without an embedder"
        return Population.NONE, (lost,)
    if _lost_magnitudes(desired, old):
        return Population.COPY, (
            "vectors written since the cut-over are copied back normalised, as Cosine stored them",
        )
    return Population.COPY, ()


def _can_embed(desired: Desired) -> bool:
    return desired.has_embedder and desired.text_field is not None and len(desired.schema.vectors) == 1


def _lost_magnitudes(desired: Desired, old: Schema) -> list[DenseVector]:
    before = {v.name: v.distance for v in old.vectors}
    return [
        v
        for v in desired.schema.vectors
        if before.get(v.name) is Distance.COSINE and v.distance is not Distance.COSINE
    ]


def _refuse_lost_magnitudes(desired: Desired, old: Schema) -> None:
    lost = _lost_magnitudes(desired, old)
    if lost and not desired.accept_normalised:
        raise TerminalError(
            "MagnitudesLost",
            f"A Cosine collection stores normalised vectors, so a copy to {lost[0].distance} would lose their "
            "lengths. Set spec.migration.allowNormalized: true if the encoder's vectors have length 1 "
            "anyway, or change schemaVersion too and declare an embedder to embed all texts again.",
        )


def _warnings(new: Schema, old: Schema, population: Population) -> tuple[str, ...]:
    if population is not Population.COPY:
        return ()
    before = {v.name: v for v in old.vectors}
    order = [Datatype.UINT8, Datatype.FLOAT16, Datatype.FLOAT32]
    warnings = []
    for vector in new.vectors:
        change = order.index(vector.datatype) - order.index(before[vector.name].datatype)
        if change < 0:
            warnings.append(
                f"{vector.datatype} stores vectors with less precision than {before[vector.name].datatype}"
            )
        if change > 0:
            warnings.append(
                f"{vector.datatype} cannot restore the precision that {before[vector.name].datatype} lost"
            )
    return tuple(warnings)
