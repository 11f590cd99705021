"""The next thing to do, by a pure function of what is declared, what was observed and the clock.

`decide` asks nobody and keeps nothing, so the same inputs give the same answer on any machine, before and after
a crash. The order of its checks is the policy: leave alone what is not ours, mend what a crash left behind, keep
the alias serving, prefer nothing to in place to a retained collection to a new one, tidy up last.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from teal.domain.errors import TerminalError
from teal.domain.marks import Declined
from teal.domain.observed import CollectionState, Observed
from teal.domain.ownership import Mine, has_served, ours, owner_text, stage_of
from teal.domain.plan import Desired, Plan, Population, Reason, Strategy, as_it_was, make_plan
from teal.domain.refusals import refuse_damaged, refuse_foreign, refuse_foreign_target, refuse_last_copy
from teal.domain.schema import next_alias, version_alias
from teal.domain.transitions import Stage
from teal.domain.tuning import Change, InPlace, difference


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
    SET_ALIASES = "set aliases"
    DROP_ABANDONED = "drop abandoned"
    STAMP_REPLACED = "stamp replaced"
    RETIRE = "retire"
    DECLINE = "decline"
    LIFT_DECLINE = "lift decline"
    STAY = "stay"


@dataclass(frozen=True)
class Decision:
    """`subject` is the collection that `do` is about; `plan` what it is part of.

    STAY rests like REST, though the spec asks for another revision: the way to it was declined. `declined` is the
    mark that says so, which DECLINE writes and which a rollback by it follows.
    """

    do: Do
    plan: Plan
    subject: str | None = None
    in_place: InPlace = field(default_factory=InPlace)
    declined: Declined | None = None


def serving_revision(desired: Desired, serving: CollectionState) -> bool:
    return serving.revision == desired.schema.revision


def decide(desired: Desired, observed: Observed, now: float) -> Decision:
    """The next thing to do.

    Raises:
        TerminalError: nothing may be done until somebody changes something; the message says what.
        TransientError: what was seen does not fit together; look again.
    """
    mine: Mine = {n: s for n, s in sorted(observed.states.items()) if ours(s, desired.identity)}
    held_back = _lift_fence(desired, mine)
    if held_back:
        return held_back
    refuse_damaged(desired, observed)
    refuse_foreign(desired, observed)
    serving = observed.state(observed.aliases.get(desired.alias))
    mend = _adopt(desired, observed, mine, serving) or _claim(desired, mine) or _mend_alias(desired, mine, serving)
    if mend:
        return mend
    if serving is None:
        return _first(desired, observed, mine)
    if serving_revision(desired, serving):
        back = _roll_back(desired, mine, serving, now)
        return back or _outdated(desired, serving) or _converged(desired, observed, mine, serving, now)
    stay = _outdated(desired, serving) or _declined(desired, observed, mine, serving, now)
    return stay or _switch_back(desired, mine, serving, now) or _migrate(desired, observed, mine, serving, now)


def _adopt(desired: Desired, observed: Observed, mine: Mine, serving: CollectionState | None) -> Decision | None:
    """Take over the collection that the spec names, unless that has been done: then `adopt` is history."""
    name = desired.adopt
    if not name or name in mine or (serving and serving.name in mine):
        return None
    if serving is None and any(map(has_served, mine.values())):
        return None
    state = observed.state(name)
    if state is None:
        raise TerminalError(
            "AdoptNotFound", f"spec.adopt.collection names {name!r}, which does not exist in this Qdrant."
        )
    if state.marks.owner:
        raise TerminalError(
            "CollectionNotOwned", f"The collection {name!r} {owner_text(state)} and cannot be adopted."
        )
    return Decision(Do.ADOPT, _plan_nothing(desired), name)


def _claim(desired: Desired, mine: Mine) -> Decision | None:
    """Collections of the same resource under an older UID: stamp them with the new one."""
    for name, state in mine.items():
        if state.marks.owner and state.marks.owner.uid != desired.identity.uid:
            return Decision(Do.CLAIM, _plan_nothing(desired), name)
    return None


def _lift_fence(desired: Desired, mine: Mine) -> Decision | None:
    """A fence that is found, rather than held by the running step, was left by a crash."""
    for name, state in mine.items():
        if state.marks.fence:
            return Decision(Do.LIFT_FENCE, _plan_nothing(desired), name)
    return None


def _mend_alias(desired: Desired, mine: Mine, serving: CollectionState | None) -> Decision | None:
    """The alias and the marks of what it points at must agree before anything is planned from them.

    Everything is copied from the serving collection. One that the alias points at by somebody's hand, though it
    may lack what was written last, must not become anybody's source: the alias goes back to what has served.
    """
    if serving is None or not (has_served(serving) or _was_switched_to(serving)):
        return _restore(desired, mine)
    if stage_of(serving) not in (Stage.WATCHING, Stage.READY) or serving.marks.replaced:
        return Decision(Do.FINISH_SWITCH, _plan_nothing(desired), serving.name)
    return None


def _was_switched_to(serving: CollectionState) -> bool:
    """Whether Teal itself pointed the alias there: it leaves a mark right before, unless there is no blue."""
    migration = serving.marks.migration
    if migration is None or migration.stage is not Stage.PROMOTING:
        return False
    return serving.marks.cutover_begun is not None or migration.source is None


def _restore(desired: Desired, mine: Mine) -> Decision | None:
    """Point the alias at what has served, whatever the spec wants: rather what was not replaced.

    Right after a switch the old side does not know yet that it was: then it is what has served since last.
    """
    served = [state for state in mine.values() if has_served(state)]
    if not served:
        return None
    best = max(served, key=lambda s: (s.marks.replaced is None, _since(s), s.name == desired.target, s.name))
    return Decision(Do.RESTORE_ALIAS, _plan_nothing(desired), best.name)


def _since(state: CollectionState) -> float:
    return state.marks.migration.stage_since if state.marks.migration else 0.0


def _first(desired: Desired, observed: Observed, mine: Mine) -> Decision:
    """Nothing serves and nothing has: make the first revision."""
    refuse_last_copy(observed, mine)
    plan = make_plan(desired, None)
    return _drop_abandoned(mine, plan, desired.target) or _provision_or_continue(desired, observed, mine, plan)


def _converged(desired: Desired, observed: Observed, mine: Mine, serving: CollectionState, now: float) -> Decision:
    """The serving collection is the declared revision: finish, tune, tidy up, rest."""
    nothing = _plan_nothing(desired)
    if not has_served(serving):
        # Somebody pointed the alias at an unfinished green, and there is nothing to point it back to.
        return Decision(Do.CONTINUE, make_plan(desired, None), serving.name)
    blue = _unreplaced(mine, serving)
    if blue:
        return Decision(Do.STAMP_REPLACED, nothing, blue)
    if misplaced_aliases(desired, observed, mine, serving):
        return Decision(Do.SET_ALIASES, nothing, serving.name)
    if stage_of(serving) is Stage.WATCHING:
        return Decision(Do.CONTINUE, nothing, serving.name)
    changes = _in_place(desired, serving)
    if changes:
        plan = Plan(
            Strategy.IN_PLACE, serving.name, None, Population.NONE, desired.schema, desired.tuning,
            reasons=tuple(Reason(c.path, c.old, c.new) for c in changes.changes),
        )  # fmt: skip
        return Decision(Do.APPLY_IN_PLACE, plan, serving.name, changes)
    return _tidy(desired, mine, serving, now) or Decision(Do.REST, nothing, serving.name)


def _tidy(desired: Desired, mine: Mine, serving: CollectionState, now: float) -> Decision | None:
    """What is left over and may go."""
    return _drop_abandoned(mine, _plan_nothing(desired), serving.name) or _retire(desired, mine, serving, now)


def retained_source(mine: Mine, serving: CollectionState) -> CollectionState | None:
    """What `serving` was made from, as long as it is there to go back to."""
    migration = serving.marks.migration
    source = mine.get(migration.source) if migration and migration.source else None
    return source if source and has_served(source) else None


def _roll_back(desired: Desired, mine: Mine, serving: CollectionState, now: float) -> Decision | None:
    """Back to what served before: it is declined to have left it, or somebody asks for that now."""
    back, migration = retained_source(mine, serving), serving.marks.migration
    if back is None or migration is None:
        return None
    declined = back.marks.declined
    if declined and not declined.lifted and declined.wish == desired.wish:
        plan = make_plan(as_it_was(desired, back), serving, target=back.name, strategy=Strategy.SWITCH_BACK)
        return Decision(Do.SWITCH_BACK, plan, back.name, declined=declined)
    if desired.asked.rollback == migration.id and has_served(serving):
        why = f"{serving.name} was rolled back by the annotation teal.dev/rollback={migration.id}."
        declined = Declined(desired.wish, migration.plan_hash, migration.attempt, "RolledBack", why, now)
        return Decision(Do.DECLINE, _plan_nothing(desired), back.name, declined=declined)
    return None


def _outdated(desired: Desired, serving: CollectionState) -> Decision | None:
    """What was declined is not asked for any more: should it be once more, then that is another wish."""
    declined = serving.marks.declined
    if declined is None or declined.lifted:
        return None
    if declined.wish == desired.wish and not serving_revision(desired, serving):
        return None
    return Decision(Do.LIFT_DECLINE, _plan_nothing(desired), serving.name)


def _declined(
    desired: Desired, observed: Observed, mine: Mine, serving: CollectionState, now: float
) -> Decision | None:
    """The way from what serves to what is asked for was declined: put things in order and stay."""
    declined = serving.marks.declined
    if declined is None or declined.lifted:
        return None
    nothing = _plan_nothing(desired)
    if desired.asked.retry == declined.id:
        return Decision(Do.LIFT_DECLINE, nothing, serving.name, declined=declined)
    left = _unreplaced(mine, serving)
    if left:
        return Decision(Do.STAMP_REPLACED, nothing, left)
    if misplaced_aliases(desired, observed, mine, serving):
        return Decision(Do.SET_ALIASES, nothing, serving.name)
    plan = replace(nothing, source=serving.name)
    return _tidy(desired, mine, serving, now) or Decision(Do.STAY, plan, serving.name, declined=declined)


def misplaced_aliases(
    desired: Desired, observed: Observed, mine: Mine, serving: CollectionState
) -> dict[str, str | None]:
    """Our lesser aliases that are not where they belong: alias → collection, `None` where it has to go.

    Asked only while no migration is under way: `<alias>-<schemaVersion>` follows the serving revision, and
    `<alias>-next` means nothing, also where a switch back overtook its removal, except to an application that
    still writes to both. Names that somebody else uses are left alone.
    """
    version = version_alias(desired.alias, serving.schema.schema_version)
    preview = next_alias(desired.alias)
    found: dict[str, str | None] = {}
    at = observed.aliases.get(version)
    if at != serving.name and version not in observed.names and (at is None or at in mine):
        found[version] = serving.name
    if observed.aliases.get(preview) in mine and not desired.dual_write:
        found[preview] = None
    return found


def _in_place(desired: Desired, serving: CollectionState) -> InPlace:
    """What differs in Qdrant's configuration, and in what the collection tells clients about its encoder."""
    found = difference(desired.tuning, serving)
    encoder, told = desired.encoder, serving.marks.encoder
    if encoder and encoder != told:
        shown = Change("encoder", told.as_json() if told else None, encoder.as_json())
        return replace(found, changes=(*found.changes, shown))
    return found


def _unreplaced(mine: Mine, serving: CollectionState) -> str | None:
    """Another collection that has served and does not know yet that it no longer does."""
    for name, state in mine.items():
        if name != serving.name and has_served(state) and state.marks.replaced is None:
            return name
    return None


def _switch_back(desired: Desired, mine: Mine, serving: CollectionState, now: float) -> Decision | None:
    """The declared revision is still retained: go back to it instead of building it again."""
    target = next((s for s in mine.values() if serving_revision(desired, s) and has_served(s)), None)
    if target is None:
        return None
    plan = make_plan(desired, serving, target=target.name, strategy=Strategy.SWITCH_BACK)
    return _aborted(desired, plan, target, now) or Decision(Do.SWITCH_BACK, plan, target.name)


def _aborted(desired: Desired, plan: Plan, target: CollectionState | None, now: float) -> Decision | None:
    """Somebody asks for the migration that is under way to stop: that is remembered where it started from."""
    migration = target.marks.migration if target else None
    if migration is None or plan.source is None or desired.asked.abort != migration.id:
        return None
    if migration.stage in (Stage.WATCHING, Stage.READY):
        return None
    why = f"The migration to {plan.target} was stopped by the annotation teal.dev/abort={migration.id}."
    declined = Declined(desired.wish, migration.plan_hash, migration.attempt, "Aborted", why, now)
    return Decision(Do.DECLINE, plan, plan.source, declined=declined)


def _migrate(desired: Desired, observed: Observed, mine: Mine, serving: CollectionState, now: float) -> Decision:
    """Blue serves another revision than the declared one: build green beside it."""
    plan = make_plan(desired, serving)
    if desired.strategy == "InPlaceOnly":
        raise TerminalError(
            "NewCollectionNeeded",
            "spec.migration.strategy is InPlaceOnly, but these changes need a new collection: "
            + "; ".join(str(reason) for reason in plan.reasons),
        )
    aborted = _aborted(desired, plan, mine.get(plan.target), now)
    abandoned = aborted or _drop_abandoned(mine, plan, desired.target, serving.name)
    return abandoned or _provision_or_continue(desired, observed, mine, plan)


def _provision_or_continue(desired: Desired, observed: Observed, mine: Mine, plan: Plan) -> Decision:
    refuse_foreign_target(desired, observed, mine)
    if plan.target in mine:
        return Decision(Do.CONTINUE, plan, plan.target)
    return Decision(Do.PROVISION, plan, plan.target)


def _drop_abandoned(mine: Mine, plan: Plan, *keep: str) -> Decision | None:
    """Greens of plans that no longer hold: ours, and they have served nobody."""
    for name, state in mine.items():
        if name not in keep and not has_served(state):
            return Decision(Do.DROP_ABANDONED, plan, name)
    return None


def _retire(desired: Desired, mine: Mine, serving: CollectionState, now: float) -> Decision | None:
    for name, state in mine.items():
        replaced = state.marks.replaced
        if name != serving.name and replaced and now >= replaced.until(desired.keep_for):
            return Decision(Do.RETIRE, _plan_nothing(desired), name)
    return None


def _plan_nothing(desired: Desired) -> Plan:
    return Plan(Strategy.NOTHING, desired.target, None, Population.NONE, desired.schema, desired.tuning)
