"""What the steps do to Qdrant, reduced to their durable effects: each `yield` is a place for a crash.

It follows the modules of `teal.migration` effect by effect. And it watches: an effect on a collection that is not
ours, on what serves, or before its time fails the test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from teal.domain.carry import create_body
from teal.domain.marks import Declared, InStep, Migration, Owner, Replaced
from teal.domain.observed import CollectionState, Observed
from teal.domain.ownership import has_served, ours
from teal.domain.plan import Desired, Population, Strategy
from teal.domain.policy import Decision, Do
from teal.domain.schema import next_alias
from teal.domain.transitions import Event, Stage, advance
from teal.domain.tuning import difference
from teal.migration.steps.adopt import as_declared
from tests.unit.domain.builders import migration, owner
from tests.unit.domain.qdrant_model import Qdrant

Effects = Iterator[None]


class Stuck(Exception):  # noqa: N818 - an end, not an error
    """The migration waits for a person: the alias was put by hand on a green that has to go."""


class Execution:
    """One decision, about to be carried out at `now`. `fails` says whether a stage ends in failure."""

    def __init__(
        self, server: Qdrant, wanted: Desired, decision: Decision, now: float, fails: Callable[[Stage], bool]
    ) -> None:
        self.server, self.wanted, self.decision, self.now, self.fails = server, wanted, decision, now, fails
        self.observed: Observed = server.observe(wanted.alias, wanted.adopt)
        self.name = decision.subject or wanted.target
        state = self.observed.state(self.name)
        if decision.do is Do.ADOPT:
            assert self.name == wanted.adopt
            assert state
            assert state.marks.owner is None
        elif decision.do is Do.PROVISION:
            assert self.name not in server.collections
        else:
            assert ours(state, wanted.identity), f"{decision.do} of {self.name}, which is not ours"
        if decision.do in (Do.DROP_ABANDONED, Do.RETIRE, Do.STAMP_REPLACED):
            assert server.aliases.get(wanted.alias) != self.name, f"{decision.do} of {self.name}, which serves"

    @property
    def state(self) -> CollectionState:
        return self.server.state(self.name)

    def run(self) -> Effects:
        steps: dict[Do, Callable[[], Effects]] = {
            Do.ADOPT: self.adopt,
            Do.CLAIM: self.claim,
            Do.LIFT_FENCE: self.lift_fence,
            Do.PROVISION: self.provision,
            Do.CONTINUE: self.go_on,
            Do.FINISH_CUTOVER: self.finish_cutover,
            Do.RESTORE_ALIAS: self.restore_alias,
            Do.ROLL_BACK: self.roll_back,
            Do.APPLY_IN_PLACE: self.apply_in_place,
            Do.SET_ALIASES: self.set_aliases,
            Do.DROP_ABANDONED: self.drop_abandoned,
            Do.STAMP_REPLACED: self.stamp_replaced,
            Do.RETIRE: self.retire,
        }
        return steps[self.decision.do]()

    def mark(self, **values: object) -> None:
        self.server.mark(self.name, {f"teal.dev/{name}": value for name, value in values.items()})

    def adopt(self) -> Effects:
        found = as_declared(self.state, self.wanted)
        taken = owner(self.name, found, self.wanted.identity, adopted=True)
        self.mark(owner=taken.as_json(), migration=migration(Stage.READY, stage_since=self.now).as_json())
        yield
        self.server.point_alias(self.wanted.alias, self.name)
        yield

    def claim(self) -> Effects:
        found = self.state.marks.owner
        assert found
        self.mark(owner=replace(found, uid=self.wanted.identity.uid).as_json())
        yield

    def lift_fence(self) -> Effects:
        self.server.patch(self.name, {"strict_mode_config": {"enabled": False}})
        yield
        self.mark(fence=None)
        yield

    def provision(self) -> Effects:
        plan = self.decision.plan
        stage = advance(Stage.PROVISIONING, Event.PROVISIONED)
        begun = Migration(plan.hash, plan.data_hash, stage, plan.source, self.now, stage_since=self.now)
        metadata = {
            Owner.KEY: owner(plan.target, plan.schema, self.wanted.identity).as_json(),
            Migration.KEY: begun.as_json(),
            Declared.KEY: self.wanted.tuning.declared().as_json(),
        }
        body = create_body(plan.schema, plan.tuning, metadata, defer=plan.source is not None)
        assert self.server.create(plan.target, body)
        yield

    def go_on(self) -> Effects:
        found, plan = self.state.marks.migration, self.decision.plan
        assert found
        if found.stage is not Stage.WATCHING:
            if found.data_hash != plan.data_hash:
                yield from self.drop_abandoned()
                return
            if found.plan_hash != plan.hash:
                edited = replace(found, plan_hash=plan.hash)
                self.enter(edited, Event.EDITED)
                yield
                return
        if found.stage is Stage.HELD:
            self.enter(replace(found, attempt=found.attempt + 1), Event.RETRIED)
            yield
            return
        if found.stage is not Stage.WATCHING and self.fails(found.stage):
            self.enter(found, Event.FAILED)
            yield
            return
        event, work = {
            Stage.POPULATING: (Event.POPULATED, self.catch_up),
            Stage.CATCHING_UP: (Event.CAUGHT_UP, self.catch_up),
            Stage.INDEXING: (Event.INDEXED, self.configure),
            Stage.VERIFYING: (Event.VERIFIED, self.verify),
            Stage.AWAITING_PROMOTION: (Event.APPROVED, self.nothing),
            Stage.PROMOTING: (Event.CUT_OVER, self.cut_over),
            Stage.WATCHING: (Event.WATCHED, self.nothing),
        }[found.stage]
        yield from work()
        self.enter(found, event)
        yield

    def enter(self, found: Migration, event: Event) -> None:
        self.mark(migration=found.at(advance(found.stage, event), self.now).as_json())

    def nothing(self) -> Effects:
        yield

    def catch_up(self) -> Effects:
        """Green becomes what blue is, point by point and in any order: a crash may leave it half-way."""
        source = self.decision.plan.source
        if source is None:
            return
        self.assert_sound(source)
        blue, green = (self.server.collections[name].points for name in (source, self.name))
        for point in [p for p in green if p not in blue]:
            del green[point]
        yield
        green.update(blue)
        yield

    def assert_sound(self, source: str) -> None:
        """Points may only come from a collection whose own population ended, if there is any."""
        state = self.server.state(source)
        assert ours(state, self.wanted.identity)
        others = [s for s in self.observed.states.values() if ours(s, self.wanted.identity) and has_served(s)]
        assert has_served(state) or not others, f"{source} is unfinished and would become {self.name}'s source"

    def configure(self) -> Effects:
        missing = difference(self.decision.plan.tuning, self.state)
        for path in missing.drop_indexes:
            self.server.delete_index(self.name, path)
        for path, index in missing.create_indexes.items():
            self.server.create_index(self.name, path, index)
        if missing.patch:
            self.server.patch(self.name, missing.patch)
        yield
        self.mark(declared=self.wanted.tuning.declared().as_json())
        yield

    def verify(self) -> Effects:
        yield from self.catch_up()
        assert not difference(self.decision.plan.tuning, self.state)

    def cut_over(self) -> Effects:
        """The last pass and the alias are one moment: that is what the cut-over is for."""
        source = self.decision.plan.source
        if source is None:
            self.server.point_alias(self.wanted.alias, self.name)
            yield
            return
        yield from self.catch_up()
        self.server.mark(self.name, {InStep.about(source): {}})
        yield
        assert self.server.aliases.get(self.wanted.alias) == source
        for _ in self.catch_up():
            pass
        self.server.point_alias(self.wanted.alias, self.name)
        yield

    def finish_cutover(self) -> Effects:
        found = self.state.marks.migration
        assert found
        ending = {Stage.PROMOTING: Event.CUT_OVER, Stage.ROLLING_BACK: Event.ROLLED_BACK}.get(found.stage)
        if ending:
            found = found.at(advance(found.stage, ending), self.now)
        self.mark(replaced=None, checkpoint=None, migration=found.as_json())
        yield

    def restore_alias(self) -> Effects:
        assert has_served(self.state)
        self.server.point_alias(self.wanted.alias, self.name)
        yield

    def roll_back(self) -> Effects:
        found, plan = self.state.marks.migration, self.decision.plan
        assert found
        assert plan.source
        assert plan.strategy is Strategy.ROLLBACK
        if found.stage is not Stage.ROLLING_BACK:
            stage = advance(found.stage, Event.REVERTED)
            begun = Migration(plan.hash, plan.data_hash, stage, plan.source, self.now, found.attempt, self.now)
            self.mark(migration=begun.as_json())
            yield
            return
        if plan.population is not Population.NONE:
            yield from self.catch_up()
            for _ in self.catch_up():
                pass
        self.server.point_alias(self.wanted.alias, self.name)
        yield

    def apply_in_place(self) -> Effects:
        found = self.decision.in_place
        assert self.server.aliases[self.wanted.alias] == self.name
        for path in found.drop_indexes:
            self.server.delete_index(self.name, path)
            yield
        for path, index in found.create_indexes.items():
            self.server.create_index(self.name, path, index)
            yield
        self.server.patch(self.name, found.patch)
        yield
        self.mark(declared=self.wanted.tuning.declared().as_json())
        if self.wanted.encoder:
            self.mark(encoder=self.wanted.encoder.as_json())
        yield

    def set_aliases(self) -> Effects:
        mine = {n: s for n, s in self.observed.states.items() if ours(s, self.wanted.identity)}
        for alias, target in misplaced_aliases(self.wanted, self.observed, mine, self.state).items():
            assert alias != self.wanted.alias
            assert self.server.aliases.get(alias) in {None, *mine}
            if target is None:
                del self.server.aliases[alias]
            else:
                self.server.point_alias(alias, target)
            yield

    def drop_abandoned(self) -> Effects:
        assert not has_served(self.state)
        if self.server.aliases.get(self.wanted.alias) == self.name:
            raise Stuck(self.name)
        preview = next_alias(self.wanted.alias)
        if self.server.aliases.get(preview) == self.name:
            del self.server.aliases[preview]
            yield
        self.server.delete(self.name)
        yield

    def stamp_replaced(self) -> Effects:
        serving = self.server.aliases[self.wanted.alias]
        since = self.server.state(serving).marks.migration
        self.mark(replaced=Replaced(serving, since.stage_since if since else self.now).as_json())
        yield

    def retire(self) -> Effects:
        replaced = self.state.marks.replaced
        assert replaced
        assert replaced.at + self.wanted.keep_for <= self.now
        self.server.delete(self.name)
        yield
