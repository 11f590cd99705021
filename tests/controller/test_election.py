"""The rules of the election, played by candidates whose clocks, letters and lives go wrong."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teal.controller.election import Elector, Place, Record, Timing

TIMING = Timing()
ME, OTHER = "me", "other"
FOREIGN = Record(OTHER, 15, "then", "then", 3)


@pytest.fixture
def elector() -> Elector:
    return Elector(ME, TIMING)


class TestPlace:
    def test_one_namespace_has_its_lease_in_it_wherever_its_operators_are(self) -> None:
        assert Place.of(["search"], "a") == Place.of(["search"], "b") == Place("search", "teal-operator")

    def test_all_namespaces_have_one_where_the_operator_is(self) -> None:
        assert str(Place.of([], "teal-system")) == "teal-system/teal-operator"

    def test_several_have_one_of_their_own_whatever_their_order(self) -> None:
        several = Place.of(["a", "b"], "x")
        assert several == Place.of(["b", "a", "b"], "x")
        assert len({several, Place.of(["a", "c"], "x"), Place.of([], "x")}) == 3


class TestRecord:
    def test_what_is_written_is_what_is_read(self) -> None:
        assert Record.parse({"spec": FOREIGN.as_spec()}) == FOREIGN

    @pytest.mark.parametrize("lease", [{}, {"spec": None}, {"spec": {"holderIdentity": None}}])
    def test_an_empty_lease_is_nobody_s(self, lease: dict[str, object]) -> None:
        assert Record.parse(lease) == Record()


class TestElector:
    def test_none_or_nobody_s_is_free_at_once(self, elector: Elector) -> None:
        for record in (None, Record()):
            elector.saw(record, None, 100.0)
            assert elector.is_free(100.0)

    def test_somebody_else_s_is_free_when_it_has_not_changed_for_as_long_as_it_says(
        self, elector: Elector
    ) -> None:
        elector.saw(FOREIGN, "1", 100.0)
        elector.saw(FOREIGN, "1", 114.9)
        assert not elector.is_free(114.9)
        assert elector.is_free(115.0)
        elector.saw(replace(FOREIGN, renewed="later"), "2", 115.0)
        assert not elector.is_free(129.9)

    def test_an_edit_of_something_else_is_no_renewal(self, elector: Elector) -> None:
        elector.saw(FOREIGN, "1", 100.0)
        elector.saw(FOREIGN, "2", 110.0)
        assert elector.is_free(115.0)
        assert elector.version == "2"

    def test_times_in_the_record_mean_nothing(self, elector: Elector) -> None:
        elector.saw(replace(FOREIGN, renewed="1970-01-01T00:00:00Z"), "1", 100.0)
        assert not elector.is_free(101.0)

    def test_a_lease_without_duration_lasts_as_long_as_ours(self, elector: Elector) -> None:
        elector.saw(replace(FOREIGN, seconds=0), "1", 100.0)
        assert not elector.is_free(114.9)
        assert elector.is_free(115.0)

    def test_it_is_held_from_the_moment_of_sending(self, elector: Elector) -> None:
        elector.wrote(elector.claim("now"), "1", 100.0)
        assert elector.held(109.9)
        assert not elector.held(110.0)

    def test_who_sees_another_holder_holds_nothing(self, elector: Elector) -> None:
        elector.wrote(elector.claim("now"), "1", 100.0)
        elector.saw(FOREIGN, "2", 101.0)
        assert elector.displaced
        assert not elector.held(101.0)

    def test_a_renewal_keeps_when_it_was_acquired(self, elector: Elector) -> None:
        elector.saw(FOREIGN, "1", 0.0)
        taken = elector.claim("t1")
        elector.wrote(taken, "2", 20.0)
        renewed = elector.claim("t2")
        assert (taken.acquired, taken.renewed, taken.transitions) == ("t1", "t1", 4)
        assert (renewed.acquired, renewed.renewed, renewed.transitions) == ("t1", "t2", 4)

    def test_the_first_holder_is_no_transition(self, elector: Elector) -> None:
        elector.saw(None, None, 0.0)
        assert elector.claim("now").transitions == 0

    def test_what_is_released_is_free_for_others_and_not_held(self, elector: Elector) -> None:
        elector.wrote(elector.claim("t1"), "1", 100.0)
        released = elector.release("t2")
        elector.wrote(released, "2", 101.0)
        assert not elector.held(101.0)
        other = Elector(OTHER, TIMING)
        other.saw(released, "2", 0.0)
        assert other.is_free(0.0)


def test_the_holder_gives_up_well_before_others_may_take_over() -> None:
    assert TIMING.renew < TIMING.deadline < TIMING.end < TIMING.duration
    assert TIMING.retry < TIMING.deadline / 2


class Server:
    """One Lease, which takes a write only from who has read its version."""

    def __init__(self) -> None:
        self.lease: Record | None = None
        self.version: str | None = None

    def write(self, record: Record, expected: str | None) -> str | None:
        """The new version; `None`: a conflict."""
        if expected != self.version:
            return None
        self.lease, self.version = record, str(int(self.version or 0) + 1)
        return self.version


class Move(NamedTuple):
    """One attempt of a candidate, in true seconds: how long its letters travel, and the pause after it."""

    request: float
    answer: float
    pause: float
    lost: bool
    """The answer to the write never comes."""


class Period(NamedTuple):
    """From the moment when it knew that it held the lease until the last moment of its process."""

    begin: float
    end: float
    holder: str


class Candidate:
    """Lives through its moves, on a clock of its own."""

    def __init__(self, name: str, offset: float, rate: float, moves: list[Move]) -> None:
        self._elector = Elector(name, TIMING)
        self._offset, self._rate, self._moves = offset, rate, moves
        self.time = 0.0
        self.periods: list[Period] = []

    def life(self, server: Server) -> Iterator[float]:
        """Yields seconds to wait; whoever runs it sets `time` before it goes on."""
        elector = self._elector
        for move in self._moves:
            yield move.request
            shown = server.lease, server.version
            yield move.answer
            elector.saw(*shown, self._now())
            if elector.is_free(self._now()):
                sent, record, expected = self._now(), elector.claim(f"{self.time}"), elector.version
                yield move.request
                version = server.write(record, expected)
                yield move.answer
                if version is not None and not move.lost:
                    elector.wrote(record, version, sent)
                    self._note_period()
            yield move.pause

    def _now(self) -> float:
        return self._offset + self.time * self._rate

    def _note_period(self) -> None:
        end = self._elector.until + TIMING.end - TIMING.deadline
        if self._elector.held(self._now()):
            self.periods.append(Period(self.time, (end - self._offset) / self._rate, self._elector.me))


def play(candidates: list[Candidate]) -> list[Period]:
    """All lives at once, on one server; who held the lease when."""
    server = Server()
    waiting = [(0.0, number, each, each.life(server)) for number, each in enumerate(candidates)]
    while waiting:
        time, number, each, life = heapq.heappop(waiting)
        each.time = time
        if (seconds := next(life, None)) is not None:
            heapq.heappush(waiting, (time + seconds, number, each, life))
    return sorted(period for each in candidates for period in each.periods)


TRAVEL = st.sampled_from([0.0, 0.01, 0.01, 0.01, 1.0, 4.0, 12.0])
PAUSE = st.sampled_from([0.5, 2.0, 2.0, 5.0, 5.0, 5.0, 9.0, 12.5, 16.0, 40.0]) | st.floats(0, 20)
MOVES = st.lists(st.builds(Move, TRAVEL, TRAVEL, PAUSE, st.booleans()), min_size=5, max_size=30)
CANDIDATE = st.tuples(st.floats(-1e6, 1e6), st.sampled_from([0.95, 1.0, 1.05]), MOVES)


@settings(max_examples=200, deadline=None)
@given(st.lists(CANDIDATE, min_size=2, max_size=3))
def test_never_two_at_a_time(drawn: list[tuple[float, float, list[Move]]]) -> None:
    """Whatever is late, lost or stopped, and with clocks that are anywhere and run 5 % too fast or too slow."""
    periods = play([Candidate(name, *each) for name, each in zip("abc", drawn, strict=False)])
    for one, next_one in itertools.pairwise(periods):
        assert one.holder == next_one.holder or one.end <= next_one.begin


@settings(max_examples=100, deadline=None)
@given(
    rates=st.tuples(*2 * [st.sampled_from([0.95, 1.0, 1.05])]),
    renewals=st.integers(1, 5),
    looks=st.lists(st.floats(0, 2), min_size=60, max_size=60),
)
def test_who_renews_stays_and_who_stops_is_followed_late_enough(
    rates: tuple[float, float], renewals: int, looks: list[float]
) -> None:
    holder = Candidate("a", 0, rates[0], [Move(0.0, 0.0, 5.0, lost=False)] * renewals)
    looking = [Move(0.001, 0.0, pause, lost=False) for pause in looks]
    periods = play([holder, Candidate("b", 5e5, rates[1], looking)])
    assert [each.holder for each in periods[:renewals]] == ["a"] * renewals
    assert all(holder.periods[-1].end <= each.begin for each in periods[renewals:])


def test_the_play_has_successions() -> None:
    """So that the test above is about something: the first holder stops, the second takes over, and back."""
    quick = [Move(0.01, 0.01, 2.0, lost=False)]
    stopped = [*quick * 3, Move(0.01, 0.01, 60.0, lost=False), *quick * 20]
    periods = play(
        [Candidate("a", 0, 1, stopped), Candidate("b", 5e5, 1, [*quick * 25, quick[0]._replace(pause=60)])]
    )
    assert [holder for holder, _ in itertools.groupby(each.holder for each in periods)] == ["a", "b", "a"]
