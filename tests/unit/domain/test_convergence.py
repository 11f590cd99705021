"""Whatever is found, whoever crashes, however often the spec changes: it ends well, and nothing is lost.

A run carries out decisions on a model of Qdrant, cuts some off between two effects, edits the spec in between, and
lets an application write through the alias all the while.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field, replace

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from teal.domain.errors import TerminalError
from teal.domain.ownership import has_served, ours, stage_of
from teal.domain.plan import Desired
from teal.domain.policy import Decision, Do, decide
from teal.domain.transitions import Stage
from tests.unit.domain.builders import ALIAS, DAY, ME, NOW
from tests.unit.domain.executor import Execution, Stuck
from tests.unit.domain.qdrant_model import Collection, Qdrant
from tests.unit.domain.worlds import POINTS, declarations, worlds

BOUND = 60
"""Decisions until rest. Five collections to claim, free, stamp and drop, and one migration, take about forty."""


@dataclass
class Run:
    """A world, what is declared of it, and what the application was told is stored."""

    server: Qdrant
    wanted: Desired
    now: float = NOW
    stored: dict[int, int] | None = None
    writes: int = 0
    decisions: list[str] = field(default_factory=list)

    def decide(self) -> Decision:
        observed = self.server.observe(self.wanted.alias, self.wanted.adopt)
        decision = decide(self.wanted, observed, self.now)
        shuffled = replace(observed, states=dict(reversed(observed.states.items())))
        assert decision == decide(self.wanted, shuffled, self.now), "the same, in whatever order it is seen"
        self.decisions.append(f"{decision.do} {decision.subject}")
        return decision

    def step(self, decision: Decision, effects: int | None, fails: bool = False) -> None:
        """Carry out a decision, or only its first `effects`, with a write after each."""
        execution = Execution(self.server, self.wanted, decision, self.now, lambda _: fails)
        for number, _ in enumerate(execution.run()):
            self.write()
            if number == effects:
                break
        self.now += 1.0

    def write(self) -> None:
        """Through the alias, the application changes, adds and deletes a point, if a finished one serves."""
        serving = self.serving
        if serving is None or not ours(self.server.state(serving), ME) or self.unfinished(serving):
            return
        points = self.server.collections[serving].points
        if self.stored is None:
            self.stored = dict(points)
        self.writes += 1
        for change in (points, self.stored):
            change[0] = change[100 + self.writes] = self.writes
            change.pop(100 + self.writes - 3, None)

    @property
    def serving(self) -> str | None:
        return self.server.aliases.get(ALIAS)

    def unfinished(self, name: str) -> bool:
        state = self.server.state(name)
        return not has_served(state) and stage_of(state) is not Stage.PROMOTING

    def rest(self) -> bool:
        """Go on undisturbed until nothing is left to do; false if a person is needed."""
        for _ in range(BOUND):
            try:
                decision = self.decide()
                if decision.do is Do.REST:
                    return True
                self.step(decision, None)
            except (TerminalError, Stuck) as end:
                event(getattr(end, "reason", "Stuck"))
                return False
        raise AssertionError(f"no rest after {BOUND} decisions: {self.decisions}")


def foreign(server: Qdrant, wanted: Desired) -> dict[str, Collection]:
    """What must not be touched."""
    kept = {n: c for n, c in server.collections.items() if not ours(server.state(n), ME) and n != wanted.adopt}
    return deepcopy(kept)


def foreign_aliases(server: Qdrant, untouchable: dict[str, Collection]) -> dict[str, str]:
    return {alias: target for alias, target in server.aliases.items() if target in untouchable}


interruptions = st.lists(
    st.tuples(st.sampled_from(["crash", "crash", "fail", "edit", "go on"]), st.integers(0, 2), declarations),
    max_size=25,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds(), declarations, interruptions)
def test_every_world_comes_to_rest(
    server: Qdrant, wanted: Desired, interrupted: list[tuple[str, int, Desired]]
) -> None:
    run = Run(server, wanted)
    others = foreign(server, replace(wanted, adopt="legacy"))
    theirs = foreign_aliases(server, others)
    truth = any(has_served(s) for s in server.observe(ALIAS, wanted.adopt).states.values() if ours(s, ME))

    for what, effects, edited in interrupted:
        if what == "edit":
            run.wanted = replace(edited, adopt=wanted.adopt)
            continue
        try:
            decision = run.decide()
            if decision.do is not Do.REST:
                run.step(decision, effects if what == "crash" else None, fails=what == "fail")
        except (TerminalError, Stuck):
            break

    rested = run.rest()
    assert foreign(server, replace(wanted, adopt="legacy")) == others
    assert foreign_aliases(server, others) == theirs
    if not rested:
        return
    serving = run.serving
    assert serving is not None
    state = server.state(serving)
    assert state.revision == run.wanted.schema.revision
    assert stage_of(state) is Stage.READY
    assert not state.marks.replaced
    if run.stored is not None:
        assert server.collections[serving].points == run.stored
    elif truth:
        assert server.collections[serving].points == POINTS

    mine = [s for s in server.observe(ALIAS, wanted.adopt).states.values() if ours(s, ME)]
    assert all(s.marks.replaced and has_served(s) for s in mine if s.name != serving), "the others are retained"
    run.now += 10 * DAY
    assert run.rest()
    mine = [s for s in server.observe(ALIAS, wanted.adopt).states.values() if ours(s, ME)]
    assert [s.name for s in mine] == [serving], "after their retention they are gone"
    assert run.decide().do is Do.REST
