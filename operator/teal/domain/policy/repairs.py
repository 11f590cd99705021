"""Rules that put in order what a crash, another resource or somebody's hand left behind."""

from __future__ import annotations

from teal.domain.errors import TerminalError
from teal.domain.observed import CollectionState
from teal.domain.ownership import has_served, owner_text, stage_of
from teal.domain.policy.actions import Decision, Do
from teal.domain.policy.view import View
from teal.domain.schema import next_alias, version_alias
from teal.domain.transitions import Stage


def lift_fence(view: View) -> Decision | None:
    """A fence that is found, rather than held by the running step, was left by a crash."""
    for name, state in view.mine.items():
        if state.marks.fence:
            return Decision(Do.LIFT_FENCE, view.nothing, name)
    return None


def adopt(view: View) -> Decision | None:
    """Take over the collection that the spec names, unless that has been done: then `adopt` is history."""
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
    """Collections of the same resource under an older UID get the present one."""
    for name, state in view.mine.items():
        if state.marks.owner and state.marks.owner.uid != view.desired.identity.uid:
            return Decision(Do.CLAIM, view.nothing, name)
    return None


def restore_alias(view: View) -> Decision | None:
    """The alias is gone, or somebody pointed it at an unfinished green: back to what has served, if anything has.

    Everything is copied from the serving collection. One that lacks what was written last must not become
    anybody's source. Of several that have served, the one that was not replaced is taken; right after a cut-over
    the old side does not know yet that it was, so then the one that has served since last.
    """
    serving = view.serving
    if serving is not None and (has_served(serving) or _cut_over_by_teal(serving)):
        return None
    served = [state for state in view.mine.values() if has_served(state)]
    if not served:
        return None
    target = view.desired.target
    best = max(served, key=lambda s: (s.marks.replaced is None, _since(s), s.name == target, s.name))
    return Decision(Do.RESTORE_ALIAS, view.nothing, best.name)


def finish_cutover(view: View) -> Decision | None:
    """The alias has moved, and the marks of what it points at do not say so yet."""
    serving = view.serving
    if serving is None or not (has_served(serving) or _cut_over_by_teal(serving)):
        return None
    if stage_of(serving) not in (Stage.WATCHING, Stage.READY) or serving.marks.replaced:
        return Decision(Do.FINISH_CUTOVER, view.nothing, serving.name)
    return None


def _cut_over_by_teal(serving: CollectionState) -> bool:
    """Whether Teal itself pointed the alias there: it leaves a mark right before, unless there is no blue."""
    migration = serving.marks.migration
    if migration is None or migration.stage is not Stage.PROMOTING:
        return False
    return serving.marks.cutover_begun is not None or migration.source is None


def _since(state: CollectionState) -> float:
    return state.marks.migration.stage_since if state.marks.migration else 0.0


def stamp_replaced(view: View) -> Decision | None:
    """Another collection that has served does not know yet that it no longer does.

    Also where the spec asks for a third one by now: that one would else be noted as what has replaced it, and the
    two have never been in step.
    """
    serving = view.serving
    if serving is None:
        return None
    for name, state in view.mine.items():
        if name != serving.name and has_served(state) and state.marks.replaced is None:
            return Decision(Do.STAMP_REPLACED, view.nothing, name)
    return None


def set_aliases(view: View) -> Decision | None:
    """A lesser alias of ours is not where it belongs."""
    if view.serving is None or not view.settled or not misplaced_aliases(view):
        return None
    return Decision(Do.SET_ALIASES, view.nothing, view.serving.name)


def misplaced_aliases(view: View) -> dict[str, str | None]:
    """Our lesser aliases that are not where they belong: alias → collection, `None` where it has to go.

    Asked only while no migration is under way: `<alias>-<schemaVersion>` follows the serving revision, and
    `<alias>-next` means nothing, also where a rollback overtook its removal, except to an application that still
    writes to both. Names that somebody else uses are left alone.
    """
    serving, observed = view.serving, view.observed
    if serving is None:
        return {}
    version = version_alias(view.desired.alias, serving.schema.schema_version)
    preview = next_alias(view.desired.alias)
    found: dict[str, str | None] = {}
    at = observed.aliases.get(version)
    if at != serving.name and version not in observed.names and (at is None or at in view.mine):
        found[version] = serving.name
    if observed.aliases.get(preview) in view.mine and not view.desired.dual_write:
        found[preview] = None
    return found
