"""A session keeps one part of each type, drops with a plan what belongs to it, and every part has types."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from teal import migration
from teal.domain.change_field import Watermark
from teal.migration.copying.copy_pass import RunningPass
from teal.migration.copying.memory import CopyMemory
from teal.migration.copying.transform import ChangedTexts
from teal.migration.session import Part, Session
from teal.migration.steps.hooks import HookRequest
from teal.migration.steps.verify import VerifyMemory
from teal.migration.steps.watch import WatchMemory
from teal.migration.sync.memory import PairMemories
from teal.qdrant.pool import Endpoint, Server


def _parts() -> list[type[Part]]:
    for module in pkgutil.walk_packages(migration.__path__, "teal.migration."):
        importlib.import_module(module.name)
    return sorted((each for each in _subclasses(Part) if each.__module__.startswith("teal.")), key=_name)


def _subclasses(kind: type[Part]) -> Iterator[type[Part]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


def _name(kind: type) -> str:
    return kind.__name__


PARTS = _parts()
SURVIVES_PLAN = {
    "Between": False,
    "ChangedTexts": True,
    "CopyMemory": False,
    "Cost": False,
    "ErrorsNoted": True,
    "Freshness": True,
    "History": True,
    "HookRequest": False,
    "PairMemories": True,
    "IndexMemory": False,
    "LastCutover": False,
    "Looks": False,
    "Progress": False,
    "RunningPass": False,
    "VerifyMemory": False,
    "WaitMemory": False,
    "Warned": False,
    "WatchMemory": False,
    "Writes": False,
}


def test_which_parts_there_are_and_which_survive_a_new_plan() -> None:
    assert {kind.__name__: kind.survives_plan for kind in PARTS} == SURVIVES_PLAN


@pytest.mark.parametrize("kind", PARTS, ids=_name)
def test_a_new_plan_keeps_what_survives_alone(kind: type[Part]) -> None:
    session = Session()
    session.begin("one")
    before = session.part(kind)
    session.begin("one")
    assert session.part(kind) is before
    session.begin("two")
    assert (session.part(kind) is before) == SURVIVES_PLAN[kind.__name__]


@pytest.mark.parametrize("kind", PARTS, ids=_name)
def test_every_part_has_types(kind: type[Part]) -> None:
    assert is_dataclass(kind)
    hints = get_type_hints(kind)
    untyped = [field.name for field in fields(kind) if any(map(_says_nothing, _nested(hints[field.name])))]
    assert untyped == []


def _nested(hint: Any) -> Iterator[Any]:
    yield hint
    for each in get_args(hint):
        yield from _nested(each)


def _says_nothing(hint: Any) -> bool:
    bare = hint in (dict, list, set, tuple) and get_origin(hint) is None
    return hint is Any or hint is object or bare


@pytest.mark.parametrize("hint", [Any, list[Any], dict[str, Any] | None, dict, set | None])
def test_what_counts_as_untyped(hint: Any) -> None:
    assert any(map(_says_nothing, _nested(hint)))


class Stoppable:
    """What goes on between two steps: a pass, a comparison, a request."""

    def __init__(self) -> None:
        self.cancelled = 0

    def cancel(self) -> None:
        self.cancelled += 1

    stop = cancel


@pytest.mark.parametrize(
    ("kind", "attribute"), [(RunningPass, "current"), (VerifyMemory, "running"), (HookRequest, "task")]
)
@pytest.mark.parametrize("how", ["stop", "drop", "another plan", "afresh", "another server"])
def test_what_goes_on_is_cancelled_once(kind: type[Part], attribute: str, how: str) -> None:
    session, going_on = Session(), Stoppable()
    session.begin("plan")
    session.use(SERVERS[0])
    setattr(session.part(kind), attribute, going_on)
    match how:
        case "stop":
            session.stop()
        case "drop":
            session.drop(kind)
        case "another plan":
            session.begin("other")
        case "afresh":
            session.begin("plan", afresh=True)
        case "another server":
            session.use(SERVERS[1])
    session.stop()
    assert going_on.cancelled == 1
    assert getattr(session.part(kind), attribute) is None


def test_what_is_known_stays_when_what_goes_on_is_stopped() -> None:
    session = Session()
    session.part(CopyMemory).watermark = Watermark("updated_at", 7)
    session.part(VerifyMemory).unanswered = 3
    session.part(WatchMemory).nothing_left = True
    session.part(ChangedTexts).of("blue")
    session.stop()
    assert session.part(CopyMemory).watermark.highest == 7
    assert session.part(VerifyMemory).unanswered == 3
    assert session.part(WatchMemory).nothing_left


def test_with_other_connections_a_round_begins_again_and_its_pair_stays_known() -> None:
    session, a_round = Session(), Stoppable()
    session.use(SERVERS[0])
    memory = session.part(PairMemories).of("green", "blue")
    memory.round, memory.back = a_round, 5  # type: ignore[assignment]
    session.use(SERVERS[0])
    session.stop()
    assert memory.round is a_round
    session.use(SERVERS[1])
    assert (memory.round, memory.back) == (None, 5)
    assert session.part(PairMemories).newest is memory


def test_pairs_keep_their_order_and_their_memory() -> None:
    in_step = PairMemories()
    assert (in_step.newest, in_step.due) == (None, None)
    old = in_step.of("green", "blue")
    old.due = 9.0
    in_step.keep_only([("violet", "green"), ("green", "blue")])
    assert list(in_step.pairs) == [("violet", "green"), ("green", "blue")]
    assert in_step.newest is in_step.pairs["violet", "green"]
    assert in_step.pairs["green", "blue"] is old
    in_step.pairs["violet", "green"].due = 12.0
    assert in_step.due == 9.0
    in_step.keep_only([("violet", "green")])
    assert in_step.due == 12.0


class Kept(Part, survives_plan=True):
    stops = 0

    def stop(self) -> None:
        self.stops += 1


class Dropped(Part, survives_plan=False):
    stops = 0

    def stop(self) -> None:
        self.stops += 1


class Moving(Dropped, survives_plan=False):
    """Told of another server apart from being stopped."""

    moves = 0

    def server_changed(self) -> None:
        self.moves += 1


SERVERS = [Server(Endpoint(f"http://{name}:6333")) for name in ("one", "two")]


class Stories(RuleBasedStateMachine):
    """A session against a model of it: which part is there, and how often it was stopped."""

    kinds = st.sampled_from([Kept, Dropped, Moving])

    def __init__(self) -> None:
        super().__init__()
        self.session = Session()
        self.plan, self.server = "", -1
        self.there: dict[type[Any], Any] = {}
        self.gone: list[Any] = []
        self.stops: Counter[int] = Counter()
        self.moves: Counter[int] = Counter()

    @rule(kind=kinds)
    def ask(self, kind: type[Any]) -> None:
        part = self.session.part(kind)
        assert type(part) is kind
        assert part is self.there.setdefault(kind, part)
        assert part not in self.gone

    @rule(kind=kinds)
    def drop(self, kind: type[Any]) -> None:
        self.session.drop(kind)
        self._gone(kind)

    @rule(plan=st.sampled_from(["a", "b"]), afresh=st.booleans())
    def begin(self, plan: str, *, afresh: bool) -> None:
        self.session.begin(plan, afresh=afresh)
        if afresh or plan != self.plan:
            self.plan = plan
            for kind in (Dropped, Moving):
                self._gone(kind)

    def _gone(self, kind: type[Any]) -> None:
        part = self.there.pop(kind, None)
        if part is not None:
            self.stops[id(part)] += 1
            self.gone.append(part)

    @rule(server=st.sampled_from([0, 1]))
    def use(self, server: int) -> None:
        self.session.use(SERVERS[server])
        if self.server not in (-1, server):
            for kind, part in self.there.items():
                (self.moves if kind is Moving else self.stops)[id(part)] += 1
        self.server = server

    @rule()
    def stop(self) -> None:
        self.session.stop()
        for part in self.there.values():
            self.stops[id(part)] += 1

    @invariant()
    def everything_is_told_what_it_must_know_and_no_more(self) -> None:
        for part in [*self.there.values(), *self.gone]:
            assert part.stops == self.stops[id(part)]
            if isinstance(part, Moving):
                assert part.moves == self.moves[id(part)]


TestStories = Stories.TestCase
