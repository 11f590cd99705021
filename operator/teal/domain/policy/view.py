"""What the rules look at: the inputs of a decision, and the facts about them that several rules ask for.

Facts only: a property answers a question about what is declared and observed, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from teal.domain.marks import Declined, Migration
from teal.domain.observed import CollectionState, Observed
from teal.domain.ownership import Mine, has_served, ours
from teal.domain.plan import Desired, Plan, Population, Strategy, make_plan


@dataclass(frozen=True)
class RoundTimes:
    """When a pair of live collections was last in step, and when a round is due next: seconds since the epoch."""

    last: float = 0.0
    due: float = 0.0


Rounds = Mapping[tuple[str, str], RoundTimes]
"""By the names of the newer and the retained collection. A pair that is not there has never been looked at."""


@dataclass(frozen=True)
class View:
    """The inputs. `rounds` is `None` for whoever only asks what is to be done, as `teal plan` does."""

    desired: Desired
    observed: Observed
    now: float
    rounds: Rounds | None = None

    @cached_property
    def mine(self) -> Mine:
        """The collections of this resource, by name, in the order of their names."""
        found = sorted(self.observed.states.items())
        return {name: state for name, state in found if ours(state, self.desired.identity)}

    @cached_property
    def serving(self) -> CollectionState | None:
        """What the alias points at, ours or not."""
        return self.observed.state(self.observed.aliases.get(self.desired.alias))

    @cached_property
    def nothing(self) -> Plan:
        """The plan of what is no migration."""
        wanted = self.desired
        return Plan(Strategy.NOTHING, wanted.target, None, Population.NONE, wanted.schema, wanted.tuning)

    @cached_property
    def serves_declared(self) -> bool:
        """Whether the alias points at the declared revision, finished or not."""
        return self.serving is not None and is_declared_revision(self.desired, self.serving)

    @cached_property
    def declined(self) -> Declined | None:
        """The mark on what serves by which the way from it to what the spec asks for is declined."""
        found = self.serving.marks.declined if self.serving else None
        return found if found and not found.lifted and not self.serves_declared else None

    @cached_property
    def settled(self) -> bool:
        """Whether no other collection is to serve: what serves is as declared, or the way from it is declined."""
        if self.serving is None:
            return False
        return has_served(self.serving) if self.serves_declared else self.declined is not None

    @cached_property
    def blue(self) -> CollectionState | None:
        """What serves and is to be replaced."""
        return None if self.settled or self.serves_declared else self.serving

    @cached_property
    def plan(self) -> Plan:
        """The plan of the migration to the declared revision.

        Raises:
            TerminalError: the points of the new revision cannot come from the old one as declared.
        """
        return make_plan(self.desired, self.blue)

    @cached_property
    def green(self) -> CollectionState | None:
        """The collection that is being made for the declared revision, if it is there and ours."""
        return None if self.settled else self.mine.get(self.plan.target)

    @cached_property
    def under_way(self) -> Migration | None:
        """The mark of the migration into `green`."""
        return self.green.marks.migration if self.green else None


def is_declared_revision(desired: Desired, state: CollectionState) -> bool:
    """Whether `state` was made for the revision that the spec declares."""
    return state.revision == desired.schema.revision


def retained_source(mine: Mine, serving: CollectionState) -> CollectionState | None:
    """What `serving` was made from, as long as it is there to go back to."""
    migration = serving.marks.migration
    source = mine.get(migration.source) if migration and migration.source else None
    return source if source and has_served(source) else None
