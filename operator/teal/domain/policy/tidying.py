"""Rules for when no other collection is to serve: watch it, tune it, tidy up, rest."""

from __future__ import annotations

from dataclasses import replace

from teal.domain.ownership import has_served, stage_of
from teal.domain.plan import Plan, Population, Reason, Strategy
from teal.domain.policy.actions import Decision, Do
from teal.domain.policy.view import View
from teal.domain.transitions import Stage
from teal.domain.tuning import Change, InPlace, difference


def watch(view: View) -> Decision | None:
    """The declared revision serves and is in the stage Watching."""
    if view.serving is None or not view.serves_declared or stage_of(view.serving) is not Stage.WATCHING:
        return None
    return Decision(Do.WATCH, view.nothing, view.serving.name)


def apply_in_place(view: View) -> Decision | None:
    """Settings differ that Qdrant can change in place."""
    changes = _in_place(view)
    if view.serving is None or not changes:
        return None
    wanted = view.desired
    plan = Plan(
        Strategy.IN_PLACE, view.serving.name, None, Population.NONE, wanted.schema, wanted.tuning,
        reasons=tuple(Reason(c.path, c.old, c.new) for c in changes.changes),
    )  # fmt: skip
    return Decision(Do.APPLY_IN_PLACE, plan, view.serving.name, changes)


def _in_place(view: View) -> InPlace | None:
    """What differs in Qdrant's configuration, and in what the collection tells clients about its encoder.

    The mark of an encoder that has left the spec stays: it still made the vectors.
    """
    if view.serving is None or not view.serves_declared:
        return None
    changes = difference(view.desired.tuning, view.serving)
    encoder, told = view.desired.encoder, view.serving.marks.encoder
    if encoder and encoder != told:
        shown = Change("encoder", told.as_json() if told else None, encoder.as_json())
        return replace(changes, changes=(*changes.changes, shown))
    return changes


def drop_abandoned(view: View) -> Decision | None:
    """A green of a plan that no longer holds: ours, and it has never served."""
    for name, state in view.mine.items():
        if (view.serving is None or name != view.serving.name) and not has_served(state):
            return Decision(Do.DROP_ABANDONED, view.nothing, name)
    return None


def retire(view: View) -> Decision | None:
    """A replaced collection has been kept for as long as the spec says.

    The one that was replaced first goes first: what is written to it reaches what serves through the later ones.
    """
    if view.serving is None:
        return None
    replaced = [(s.marks.replaced, name) for name, s in view.mine.items() if name != view.serving.name]
    keep_for = view.desired.keep_for
    ended = [(mark.at, name) for mark, name in replaced if mark and view.now >= mark.until(keep_for)]
    return Decision(Do.RETIRE, view.nothing, min(ended)[1]) if ended else None


def rest(view: View) -> Decision | None:
    """Nothing to do; or stay, where the migration that the spec asks for is declined."""
    if view.serving is None:
        return None
    if view.declined is None:
        return Decision(Do.REST, view.nothing, view.serving.name)
    plan = replace(view.nothing, source=view.serving.name)
    return Decision(Do.STAY, plan, view.serving.name, declined=view.declined)
