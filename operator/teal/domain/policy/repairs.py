"""Rules that repair what a crash, another resource or a manual change left behind."""

from __future__ import annotations

from teal.domain.errors import TerminalError
from teal.domain.observed import CollectionState
from teal.domain.ownership import has_served, owner_text, stage_of
from teal.domain.policy.actions import Decision, Do
from teal.domain.policy.view import View
from teal.domain.schema import next_alias, version_alias
from teal.domain.transitions import Stage


def lift_left_fence(view: View) -> Decision | None:
    """A fence mark that is observed between two steps was left by a crash: a step lifts its own fence."""
    for name, state in view.mine.items():
        if state.marks.fence:
            return Decision(Do.LIFT_FENCE, view.nothing, name)
    return None


def adopt(view: View) -> Decision | None:
    """Take over the collection that the spec names, unless that has been done before."""
    name, serving = view.desired.adopt, view.serving
    if not name or name in view.mine or (serving and serving.name in view.mine):
        return None
    if serving is None and any(map(has_served, view.mine.values())):
        return None
    state = view.observed.state(name)
    if state is None:
        raise TerminalError(
            "AdoptNotFound", f"spec.adopt.collection names {name!r}, which does not exist in this Qdrant."
        )
    if state.marks.owner:
        raise TerminalError(
            "CollectionNotOwned", f"The collection {name!r} {owner_text(state)} and cannot be adopted."
        )
    return Decision(Do.ADOPT, view.nothing, name)


def claim(view: View) -> Decision | None:
    """The owner mark of our collections names the present UID, and the alias, which older marks lack."""
    identity = view.desired.identity
    for name, state in view.mine.items():
        owner = state.marks.owner
        if owner and (owner.uid, owner.alias) != (identity.uid, identity.alias):
            return Decision(Do.CLAIM, view.nothing, name)
    return None


def restore_alias(view: View) -> Decision | None:
    """The alias is gone, or somebody pointed it at an unfinished green: back to a collection that has served.

    The serving collection is the source of every copy, so one that lacks the latest writes must never serve. Of
    several that have served, take the one without the mark `replaced`. Right after a cut-over the old side has no
    such mark yet, so take the one whose stage is the newest.

    Where a cut-over was not finished, the alias may have moved before it went, so it is given to the new side:
    that has all of the last pass, and what came late is copied to it when the cut-over is finished.
    """
    serving = view.serving
    if serving is not None and (has_served(serving) or _cut_over_by_teal(serving)):
        return None
    begun = [state for state in view.mine.values() if _in_mid_cutover(state)]
    if serving is None and begun:
        return Decision(Do.RESTORE_ALIAS, view.nothing, max(begun, key=lambda s: (_since(s), s.name)).name)
    served = [state for state in view.mine.values() if has_served(state)]
    if not served:
        return None
    target = view.desired.target
    best = max(served, key=lambda s: (s.marks.replaced is None, _since(s), s.name == target, s.name))
    return Decision(Do.RESTORE_ALIAS, view.nothing, best.name)


def finish_cutover(view: View) -> Decision | None:
    """The alias has moved, but the marks of the collection that it points at do not say so yet."""
    serving = view.serving
    if serving is None or not (has_served(serving) or _cut_over_by_teal(serving)):
        return None
    if stage_of(serving) not in (Stage.WATCHING, Stage.READY) or serving.marks.replaced:
        return Decision(Do.FINISH_CUTOVER, view.nothing, serving.name)
    return None


def _cut_over_by_teal(serving: CollectionState) -> bool:
    """Whether Teal itself moved the alias: with a blue, it writes the mark `cutover-begun` before."""
    migration = serving.marks.migration
    if migration is None or migration.stage is not Stage.PROMOTING:
        return False
    return serving.marks.cutover_begun is not None or migration.source is None


def _in_mid_cutover(state: CollectionState) -> bool:
    """Whether a cut-over to this collection has begun, and its end is not noted."""
    stage = stage_of(state)
    return state.marks.cutover_begun is not None and stage in (Stage.PROMOTING, Stage.ROLLING_BACK)


def _since(state: CollectionState) -> float:
    return state.marks.migration.stage_since if state.marks.migration else 0.0


def stamp_replaced(view: View) -> Decision | None:
    """Another collection has served and lacks the mark `replaced`.

    This is also done where the spec asks for a third revision by now: else the third one would be noted as what
    replaced it, and these two have never been in step.
    """
    serving = view.serving
    if serving is None:
        return None
    for name, state in view.mine.items():
        if name != serving.name and has_served(state) and state.marks.replaced is None:
            return Decision(Do.STAMP_REPLACED, view.nothing, name)
    return None


def set_aliases(view: View) -> Decision | None:
    """A secondary alias of ours does not point where it should."""
    if view.serving is None or not view.settled or not misplaced_aliases(view):
        return None
    return Decision(Do.SET_ALIASES, view.nothing, view.serving.name)


def misplaced_aliases(view: View) -> dict[str, str | None]:
    """Our secondary aliases that do not point where they should: alias → collection, `None` to remove the alias.

    Only called while no migration is under way: `<alias>-<schemaVersion>` points at the serving revision, and
    `<alias>-next` is removed unless the application writes to both collections (DualWrite). Names that somebody
    else uses are left alone.
    """
    serving, observed = view.serving, view.observed
    if serving is None:
        return {}
    version = version_alias(view.desired.alias, serving.schema.schema_version)
    preview = next_alias(view.desired.alias)
    misplaced: dict[str, str | None] = {}
    at = observed.aliases.get(version)
    if at != serving.name and version not in observed.names and (at is None or at in view.mine):
        misplaced[version] = serving.name
    if observed.aliases.get(preview) in view.mine and not view.desired.dual_write:
        misplaced[preview] = None
    return misplaced
