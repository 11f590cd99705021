"""What the rules look at: the inputs of a decision, and the facts about them that several rules ask for.

Only facts: a property derives something from what is declared and observed, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from teal.domain.marks import Declined, Migration
from teal.domain.observed import CollectionState, Observed
from teal.domain.ownership import Mine, has_served, mine
from teal.domain.plan import Desired, Plan, Population, Strategy, make_plan


@dataclass(frozen=True)
class RoundTimes:
    """When a pair of live collections was last in step, and when a round is due next: seconds since the epoch."""

    last: float = 0.0
    due: float = 0.0


Rounds = Mapping[tuple[str, str], RoundTimes]
"""By the names of the newer and the retained collection. A pair that is missing has had no round yet."""


@dataclass(frozen=True)
class View:
    """The inputs. `rounds` is `None` where rounds do not matter, as in `teal plan`."""

    desired: Desired
    observed: Observed
    now: float
    rounds: Rounds | None = None

    @cached_property
    def mine(self) -> Mine:
        """The collections of this resource, by name, in the order of their names."""
        return mine(self.observed, self.desired.identity)

    @cached_property
    def serving(self) -> CollectionState | None:
        """The collection that the alias points at, ours or not."""
        return self.observed.state(self.observed.aliases.get(self.desired.alias))

    @cached_property
    def nothing(self) -> Plan:
        """The plan of every action that is not part of a migration."""
        wanted = self.desired
        return Plan(Strategy.NOTHING, wanted.target, None, Population.NONE, wanted.schema, wanted.tuning)

    @cached_property
    def serves_declared(self) -> bool:
        """Whether the alias points at the declared revision, finished or not."""
        return self.serving is not None and is_declared_revision(self.desired, self.serving)

    @cached_property
    def declined(self) -> Declined | None:
        """The mark on the serving collection that declines the migration which the spec asks for."""
        mark = self.serving.marks.declined if self.serving else None
        return mark if mark and not mark.lifted and not self.serves_declared else None

    @cached_property
    def settled(self) -> bool:
        """Whether the serving collection is to stay: it is the declared revision, or the migration is declined."""
        if self.serving is None:
            return False
        return has_served(self.serving) if self.serves_declared else self.declined is not None

    @cached_property
    def blue(self) -> CollectionState | None:
        """The serving collection, if it is to be replaced."""
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


def retained_source(collections: Mine, serving: CollectionState) -> CollectionState | None:
    """The source of `serving`, as long as it is retained for a rollback."""
    migration = serving.marks.migration
    source = collections.get(migration.source) if migration and migration.source else None
    return source if source and has_served(source) else None
