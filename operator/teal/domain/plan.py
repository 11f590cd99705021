"""What has to be done, decided by a pure function and returned as data.

`decide` looks at what is declared, what was observed and the clock, and names the one thing to do next. It never
asks anybody and keeps nothing, so the same inputs give the same answer on any machine, before and after a crash.
Cheapest strategy first: nothing, in place, blue-green. A `Plan` can be printed, and its hash is what an
approval names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from teal.domain.errors import TerminalError
from teal.domain.observed import CollectionState, Observed
from teal.domain.schema import Datatype, Distance, Encoder, Schema, collection_name
from teal.domain.transitions import HAS_SERVED, Stage
from teal.domain.tuning import InPlace, Tuning, difference


class Strategy(StrEnum):
    """What kind of work makes Qdrant match."""

    NOTHING = "Nothing"
    CREATE = "Create"
    IN_PLACE = "InPlace"
    BLUE_GREEN = "BlueGreen"
    SWITCH_BACK = "SwitchBack"


class Population(StrEnum):
    """How green's points come to be."""

    NONE = "None"
    COPY = "Copy"
    REEMBED = "ReEmbed"


@dataclass(frozen=True)
class Identity:
    """Which resource a collection belongs to."""

    uid: str
    cluster: str
    namespace: str
    name: str


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
    keep_for: float = 48 * 3600.0
    watch_for: float = 1800.0
    delete_collections: bool = False
    retry: str | None = None

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
    """What is to be done and why. `hash` covers everything that decides the outcome."""

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
    def hash(self) -> str:
        """Twelve hex digits; any change of the spec that changes the outcome changes them."""
        content = {
            "strategy": self.strategy,
            "target": self.target,
            "source": self.source,
            "population": self.population,
            "textField": self.text_field,
            "encoder": self.encoder.as_metadata() if self.encoder else None,
            "tuning": [self.tuning.sections, self.tuning.indexes],
        }
        canonical = json.dumps(content, sort_keys=True, default=str)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]


class Do(StrEnum):
    """The one thing to do next."""

    REST = "rest"
    ADOPT = "adopt"
    CLAIM = "claim"
    LIFT_FENCE = "lift fence"
    PROVISION = "provision"
    CONTINUE = "continue"
    FINISH_SWITCH = "finish switch"
    RESTORE_ALIAS = "restore alias"
    SWITCH_BACK = "switch back"
    APPLY_IN_PLACE = "apply in place"
    DROP_ABANDONED = "drop abandoned"
    STAMP_REPLACED = "stamp replaced"
    RETIRE = "retire"


@dataclass(frozen=True)
class Decision:
    """`subject` is the collection that `do` is about; `plan` what it is part of."""

    do: Do
    plan: Plan
    subject: str | None = None
    in_place: InPlace = field(default_factory=InPlace)


def ours(state: CollectionState | None, identity: Identity) -> bool:
    """Whether `state` belongs to this resource.

    The UID decides; a resource that was deleted and applied again has a new one, but a cluster holds only one
    object of a name, so cluster, namespace and name together are as good.
    """
    owner = state.marks.owner if state else None
    if owner is None:
        return False
    return owner.uid == identity.uid or (owner.cluster, owner.namespace, owner.name) == (
        identity.cluster,
        identity.namespace,
        identity.name,
    )


def stage_of(state: CollectionState) -> Stage:
    """The stage that a collection of ours carries; an adopted one has always served."""
    return state.marks.migration.stage if state.marks.migration else Stage.READY


def has_served(state: CollectionState) -> bool:
    """Whether the alias ever pointed at it: such a collection is retired, not just dropped."""
    return stage_of(state) in HAS_SERVED


def serving_revision(desired: Desired, serving: CollectionState) -> bool:
    return serving.revision == desired.schema.revision


def decide(desired: Desired, observed: Observed, now: float) -> Decision:
    """The next thing to do.

    Raises:
        TerminalError: nothing may be done until somebody changes something; the message says what.
    """
    refuse_foreign(desired, observed)
    serving = observed.state(observed.aliases.get(desired.alias))
    adoptee = _adoptee(desired, observed, serving)
    if adoptee:
        return Decision(Do.ADOPT, _plan_nothing(desired), adoptee)
    mine = {name: state for name, state in observed.states.items() if ours(state, desired.identity)}
    leftover = _claim(desired, mine) or _lift_fence(desired, mine)
    if leftover:
        return leftover
    if serving is None:
        return _restore(desired, mine) or _first(desired, mine)
    if serving_revision(desired, serving):
        return _converged(desired, mine, serving, now)
    return _switch_back(desired, mine, serving) or _migrate(desired, mine, serving)


def refuse_foreign(desired: Desired, observed: Observed) -> None:
    """Stop before anything of somebody else's could be touched."""
    alias, target = desired.alias, desired.target
    if alias in observed.names:
        raise TerminalError(
            "AliasIsCollection",
            f"A collection is named {alias!r}, so Qdrant cannot have an alias of that name. Choose another "
            f"spec.alias (and set spec.adopt.collection: {alias} to take the collection over).",
        )
    serving = observed.aliases.get(alias)
    if serving and not ours(observed.state(serving), desired.identity) and desired.adopt != serving:
        raise TerminalError(
            "AliasNotOwned",
            f"The alias {alias!r} points at {serving!r}, which {_owner_text(observed.state(serving))}. "
            f"Choose another spec.alias, or set spec.adopt.collection: {serving} to take it over.",
        )
    if target in observed.names and not ours(observed.state(target), desired.identity) and desired.adopt != target:
        raise TerminalError(
            "CollectionNotOwned",
            f"The collection {target!r} exists and {_owner_text(observed.state(target))}. Teal never touches it; "
            f"remove it, change spec.schemaVersion, or set spec.adopt.collection: {target}.",
        )


def _owner_text(state: CollectionState | None) -> str:
    owner = state.marks.owner if state else None
    if owner is None:
        return "Teal did not create"
    return f"belongs to the VectorCollection {owner.namespace}/{owner.name} (cluster {owner.cluster or 'unknown'})"


def _adoptee(desired: Desired, observed: Observed, serving: CollectionState | None) -> str | None:
    name = desired.adopt
    if not name or (serving and ours(serving, desired.identity)):
        return None
    mine = [s for s in observed.states.values() if ours(s, desired.identity)]
    if any(has_served(state) for state in mine):
        return None
    state = observed.state(name)
    if state is None:
        raise TerminalError(
            "AdoptNotFound", f"spec.adopt.collection names {name!r}, which does not exist in this Qdrant."
        )
    if ours(state, desired.identity):
        return None
    if state.marks.owner:
        raise TerminalError(
            "CollectionNotOwned", f"The collection {name!r} {_owner_text(state)} and cannot be adopted."
        )
    return name


Mine = Mapping[str, CollectionState]


def _claim(desired: Desired, mine: Mine) -> Decision | None:
    """Collections of the same resource under an older UID: stamp them with the new one."""
    for name, state in sorted(mine.items()):
        if state.marks.owner and state.marks.owner.uid != desired.identity.uid:
            return Decision(Do.CLAIM, _plan_nothing(desired), name)
    return None


def _lift_fence(desired: Desired, mine: Mine) -> Decision | None:
    """A fence that is found, rather than held by the running step, was left by a crash."""
    for name, state in sorted(mine.items()):
        if state.marks.fence:
            return Decision(Do.LIFT_FENCE, _plan_nothing(desired), name)
    return None


def _restore(desired: Desired, mine: Mine) -> Decision | None:
    """The alias is gone though something of ours has served: point it there again, whatever the spec wants."""
    served = [state for state in mine.values() if has_served(state)]
    if not served:
        return None
    best = max(served, key=lambda s: (s.marks.replaced is None, s.name == desired.target, s.name))
    return Decision(Do.RESTORE_ALIAS, _plan_nothing(desired), best.name)


def _first(desired: Desired, mine: Mine) -> Decision:
    """Nothing serves and nothing has: make the first revision."""
    plan = make_plan(desired, None)
    return _drop_abandoned(desired, mine, plan) or _provision_or_continue(mine, plan)


def _converged(desired: Desired, mine: Mine, serving: CollectionState, now: float) -> Decision:
    """The serving collection is the declared revision: finish, tune, tidy up, rest."""
    nothing = _plan_nothing(desired)
    stage = stage_of(serving)
    if stage not in (Stage.WATCHING, Stage.READY) or serving.marks.replaced:
        return Decision(Do.FINISH_SWITCH, nothing, serving.name)
    for other in sorted(mine):
        if other != serving.name and has_served(mine[other]) and mine[other].marks.replaced is None:
            return Decision(Do.STAMP_REPLACED, nothing, other)
    if stage is Stage.WATCHING:
        return Decision(Do.CONTINUE, nothing, serving.name)
    changes = difference(desired.tuning, serving)
    if changes:
        plan = Plan(
            Strategy.IN_PLACE, serving.name, None, Population.NONE, desired.schema, desired.tuning,
            reasons=tuple(Reason(c.path, c.old, c.new) for c in changes.changes),
        )  # fmt: skip
        return Decision(Do.APPLY_IN_PLACE, plan, serving.name, changes)
    return (
        _drop_abandoned(desired, mine, nothing, keep=serving.name)
        or _retire(desired, mine, serving, now)
        or Decision(Do.REST, nothing, serving.name)
    )


def _switch_back(desired: Desired, mine: Mine, serving: CollectionState | None, now: float) -> Decision | None:
    """The declared revision is still retained: go back to it instead of building it again."""
    del now
    assert serving is not None
    target = next((s for s in mine.values() if serving_revision(desired, s) and has_served(s)), None)
    if target is None:
        return None
    plan = make_plan(desired, serving, target=target.name, strategy=Strategy.SWITCH_BACK)
    return Decision(Do.SWITCH_BACK, plan, target.name)


def _migrate(desired: Desired, mine: Mine, serving: CollectionState) -> Decision:
    """Blue serves another revision than the declared one: build green beside it."""
    plan = make_plan(desired, serving)
    if desired.strategy == "InPlaceOnly":
        raise TerminalError(
            "NewCollectionNeeded",
            "spec.migration.strategy is InPlaceOnly, but these changes need a new collection: "
            + "; ".join(str(reason) for reason in plan.reasons),
        )
    return _drop_abandoned(desired, mine, plan, keep=serving.name) or _provision_or_continue(mine, plan)


def _provision_or_continue(mine: Mine, plan: Plan) -> Decision:
    if plan.target in mine:
        return Decision(Do.CONTINUE, plan, plan.target)
    return Decision(Do.PROVISION, plan, plan.target)


def _drop_abandoned(desired: Desired, mine: Mine, plan: Plan, keep: str | None = None) -> Decision | None:
    """Greens of plans that no longer hold: ours, and they have served nobody."""
    for name, state in sorted(mine.items()):
        if name not in (desired.target, keep) and not has_served(state):
            return Decision(Do.DROP_ABANDONED, plan, name)
    return None


def _retire(desired: Desired, mine: Mine, serving: CollectionState, now: float) -> Decision | None:
    for name, state in sorted(mine.items()):
        replaced = state.marks.replaced
        if name != serving.name and replaced and now >= replaced.at + desired.keep_for:
            return Decision(Do.RETIRE, _plan_nothing(desired), name)
    return None


def _plan_nothing(desired: Desired) -> Plan:
    return Plan(Strategy.NOTHING, desired.target, None, Population.NONE, desired.schema, desired.tuning)


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
    population = choose_population(desired, serving)
    warnings = _warnings(desired.schema, serving.schema, population)
    return Plan(
        strategy=strategy or Strategy.BLUE_GREEN,
        target=target or desired.target,
        source=serving.name,
        population=population,
        schema=desired.schema,
        tuning=desired.tuning,
        text_field=desired.text_field if population is Population.REEMBED else None,
        encoder=desired.encoder,
        reasons=tuple(schema_reasons(serving.schema, desired.schema)),
        warnings=warnings,
    )


def schema_reasons(old: Schema, new: Schema) -> list[Reason]:
    """Field by field, what Qdrant cannot change in place."""
    reasons = [
        Reason(name, getattr(old, attribute), getattr(new, attribute))
        for name, attribute in (
            ("schemaVersion", "schema_version"),
            ("model", "model"),
            ("shardNumber", "shard_number"),
            ("shardingMethod", "sharding_method"),
        )
        if getattr(old, attribute) != getattr(new, attribute) and getattr(new, attribute) is not None
    ]
    before, after = ({v.name: v for v in schema.vectors} for schema in (old, new))
    for name in sorted(before.keys() | after.keys()):
        reasons += _vector_reasons(name, before.get(name), after.get(name))
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
    """Whether the new vectors are another encoder's work, so that bytes cannot be copied."""
    new = desired.schema
    if old.model and new.model and old.model != new.model:
        return True
    if old.schema_version != new.schema_version and desired.has_embedder:
        return True
    before = {v.name: v.size for v in old.vectors}
    return any(v.name in before and before[v.name] != v.size for v in new.vectors)


def choose_population(desired: Desired, serving: CollectionState) -> Population:
    """Copy the bytes where the encoder is the same, else make the vectors anew from the text.

    Raises:
        TerminalError: neither is possible as declared.
    """
    old, new = serving.schema, desired.schema
    if needs_encoder(desired, old):
        if not desired.has_embedder or not desired.text_field:
            raise TerminalError(
                "EmbedderRequired",
                f"The new revision needs other vectors ({'; '.join(map(str, schema_reasons(old, new)))}). Give "
                "the EmbeddingSet an embedder and source.collection.textField, so that Teal can make them.",
            )
        if len(new.vectors) != 1:
            raise TerminalError(
                "NotSupportedYet", "Re-embedding is supported for collections with one dense vector."
            )
        return Population.REEMBED
    missing = {v.name for v in new.vectors} - {v.name for v in old.vectors} | (set(new.sparse) - set(old.sparse))
    if missing:
        raise TerminalError(
            "VectorHasNoSource",
            f"{serving.name!r} has no vector named {', '.join(map(repr, sorted(missing)))} to copy from.",
        )
    _refuse_lost_magnitudes(desired, old)
    return Population.COPY


def _refuse_lost_magnitudes(desired: Desired, old: Schema) -> None:
    before = {v.name: v.distance for v in old.vectors}
    lost = [
        v for v in desired.schema.vectors
        if before.get(v.name) is Distance.COSINE and v.distance is not Distance.COSINE
    ]  # fmt: skip
    if lost and not desired.accept_normalised:
        raise TerminalError(
            "MagnitudesLost",
            f"A Cosine collection stores normalised vectors, so a copy to {lost[0].distance} would lose their "
            "lengths. Set spec.migration.acceptNormalizedVectors: true if the encoder's vectors have length 1 "
            "anyway, or change schemaVersion too and declare an embedder to make them anew.",
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
            warnings.append(f"{vector.datatype} keeps less of each vector than {before[vector.name].datatype}")
        if change > 0:
            warnings.append(f"{vector.datatype} cannot bring back what {before[vector.name].datatype} lost")
    return tuple(warnings)
