"""Rules that only refuse: damaged marks, what belongs to somebody else, what may be the last copy."""

from __future__ import annotations

from teal.domain.errors import TerminalError, TransientError
from teal.domain.ownership import has_served, ours, owned, owner_text
from teal.domain.policy.view import View


def refuse_damaged(view: View) -> None:
    """Stop where the marks of a collection that matters are lost, or were written by a newer Teal."""
    desired, observed = view.desired, view.observed
    needed = {observed.aliases.get(desired.alias), desired.target, desired.adopt}
    for name, state in sorted(observed.states.items()):
        unowned = state.marks.owner is None and name in needed
        if state.marks.damaged and (unowned or ours(state, desired.identity)):
            raise TerminalError(
                "MarksDamaged",
                f"The collection {name!r} carries marks of Teal that cannot be read ({state.marks.damaged}), so "
                "nothing is done with it. If a newer Teal wrote them, run that one; otherwise repair or "
                "remove these keys of its metadata, or delete the collection if nothing needs it.",
            )


def refuse_foreign(view: View) -> None:
    """Stop before an alias that belongs to somebody else could be changed.

    Collections and aliases are listed one after the other, so a collection that appears or goes in between does
    not mean that it is somebody else's.
    """
    desired, observed = view.desired, view.observed
    alias = desired.alias
    if alias in observed.names:
        raise TerminalError(
            "AliasIsCollection",
            f"A collection is named {alias!r}, so Qdrant cannot have an alias of that name. Choose another "
            f"spec.alias (and set spec.adopt.collection: {alias} to take the collection over).",
        )
    serving = observed.aliases.get(alias)
    if serving and observed.state(serving) is None:
        raise TransientError(
            "CollectionChanging", f"{serving!r}, which {alias!r} points at, was not found; looking again."
        )
    if serving and not ours(observed.state(serving), desired.identity) and desired.adopt != serving:
        state = observed.state(serving)
        adopt = "" if owned(state) else f", or set spec.adopt.collection: {serving} to take it over"
        raise TerminalError(
            "AliasNotOwned",
            f"The alias {alias!r} points at {serving!r}, which {owner_text(state)}. "
            f"Choose another spec.alias{adopt}.",
        )


def refuse_new_collection(view: View) -> None:
    """Stop where the spec allows only changes in place, and needs a new collection."""
    if view.blue is None or view.desired.strategy != "InPlaceOnly":
        return
    raise TerminalError(
        "NewCollectionNeeded",
        "spec.migration.strategy is InPlaceOnly, but these changes need a new collection: "
        + "; ".join(str(reason) for reason in view.plan.reasons),
    )


def refuse_foreign_target(view: View) -> None:
    """Stop where green would need the name of a collection that belongs to somebody else."""
    if view.settled:
        return
    observed, target = view.observed, view.desired.target
    if target in observed.names and target not in view.mine:
        adoptable = not owned(observed.state(target)) and not any(map(has_served, view.mine.values()))
        adopt = f", or set spec.adopt.collection: {target}" if adoptable else ""
        raise TerminalError(
            "CollectionNotOwned",
            f"The collection {target!r} exists and {owner_text(observed.state(target))}. Teal never touches it; "
            f"remove it, or change spec.schemaVersion{adopt}.",
        )


def refuse_last_copy(view: View) -> None:
    """Stop where blue was deleted while green was populated from it: green may be the last copy."""
    if view.serving is not None:
        return
    for name, state in view.mine.items():
        source = state.marks.migration.source if state.marks.migration else None
        if state.points and source and source not in view.observed.names:
            raise TerminalError(
                "SourceGone",
                f"{source!r} was deleted while {name!r} was populated from it. Its {state.points:,} points may "
                "be the last copy, so nothing is done. Delete it to start empty; or remove the key teal.dev/owner "
                f"from its metadata and set spec.adopt.collection: {name} to serve it as it is.",
            )
