"""The work queue: examples of each promise, and all of them at once against a model in random order."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from teal.controller.queue import FOREGROUND_STREAK, KeyBackoff, WorkQueue


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue[str]:
    return WorkQueue(clock=clock, backoff=KeyBackoff(jitter=0.0))


def drain(queue: WorkQueue[str]) -> list[str]:
    """All keys that may run now, each done before the next is taken."""
    keys = []
    while taken := queue.take():
        keys.append(taken.key)
        queue.done(taken.key)
    return keys


def take_all(queue: WorkQueue[str]) -> list[str]:
    """All keys that may run at the same time now."""
    keys = []
    while taken := queue.take():
        keys.append(taken.key)
    return keys


def test_first_come_first_served_and_each_key_once(queue: WorkQueue[str]) -> None:
    for key in "abab":
        queue.add(key)
    assert queue.ready == 2
    assert drain(queue) == ["a", "b"]
    assert queue.wait() is None
    assert (queue.ready, queue.running, queue.scheduled) == (0, 0, 0)


def test_a_key_waits_until_its_time(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a", after=10)
    assert queue.take() is None
    assert queue.wait() == 10
    assert queue.scheduled == 1
    clock.now += 12
    taken = queue.take()
    assert taken == ("a", 2.0)


def test_the_earlier_wish_counts_in_either_order(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a", after=10)
    queue.add("a", after=3)
    queue.add("b", after=3)
    queue.add("b", after=10)
    assert queue.wait() == 3
    clock.now += 3
    assert drain(queue) == ["a", "b"]
    clock.now += 10
    assert drain(queue) == []


def test_a_key_is_not_run_twice_at_once_and_a_wish_meanwhile_is_kept(queue: WorkQueue[str]) -> None:
    queue.add("a")
    assert take_all(queue) == ["a"]
    queue.add("a")
    assert queue.take() is None
    queue.done("a", after=600)
    assert drain(queue) == ["a"]


def test_what_is_done_comes_back_when_asked_for(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    take_all(queue)
    queue.done("a", after=5)
    assert queue.wait() == 5
    clock.now += 5
    assert drain(queue) == ["a"]


def test_failures_wait_longer_each_time_and_success_starts_anew(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    delays = []
    for _ in range(4):
        assert take_all(queue) == ["a"]
        delays.append(queue.failed("a"))
        clock.now += delays[-1]
    assert delays == [1, 2, 4, 8]
    assert take_all(queue) == ["a"]
    queue.done("a", after=0)
    assert take_all(queue) == ["a"]
    assert queue.failed("a") == 1


def test_a_failing_key_that_is_asked_for_runs_at_once(queue: WorkQueue[str]) -> None:
    queue.add("a")
    take_all(queue)
    queue.failed("a")
    assert queue.take() is None
    queue.add("a")
    assert take_all(queue) == ["a"]


def test_backoff_ends_at_its_longest_and_jitter_only_shortens() -> None:
    backoff = KeyBackoff(first=1, longest=300, jitter=0.5)
    rng = random.Random(1)
    delays = [backoff.delay(failures, rng) for failures in (1, 5, 20, 5000)]
    for delay, full in zip(delays, (1, 16, 300, 300), strict=True):
        assert full / 2 <= delay <= full


def test_the_limit_counts_all_keys(clock: Clock) -> None:
    queue = WorkQueue[str](clock=clock, limit=2)
    for key in "abc":
        queue.add(key)
    assert take_all(queue) == ["a", "b"]
    queue.done("a")
    assert take_all(queue) == ["c"]


def test_an_endpoint_at_its_limit_lets_others_pass(clock: Clock) -> None:
    queue = WorkQueue[str](clock=clock, per_endpoint=1, endpoint_of=lambda key: key[0])
    for key in ("a1", "a2", "b1"):
        queue.add(key)
    assert take_all(queue) == ["a1", "b1"]
    queue.done("b1")
    assert queue.take() is None
    queue.done("a1")
    assert take_all(queue) == ["a2"]


def test_keys_without_an_endpoint_share_no_limit(clock: Clock) -> None:
    queue = WorkQueue[str](clock=clock, per_endpoint=1)
    for key in "abc":
        queue.add(key)
    assert take_all(queue) == ["a", "b", "c"]


def test_endpoints_take_turns(clock: Clock) -> None:
    queue = WorkQueue[str](clock=clock, endpoint_of=lambda key: key[0])
    for key in ("a1", "a2", "a3", "b1", "b2"):
        queue.add(key)
    assert drain(queue) == ["a1", "b1", "a2", "b2", "a3"]


def test_an_edit_overtakes_the_background(queue: WorkQueue[str]) -> None:
    for key in ("r1", "r2"):
        queue.add(key, background=True)
    queue.add("edit")
    queue.add("r2")  # asked for by somebody, so that it is background no more
    assert drain(queue) == ["edit", "r2", "r1"]


def test_the_background_is_not_starved(queue: WorkQueue[str]) -> None:
    queue.add("resync", background=True)
    order = []
    for number in range(2 * FOREGROUND_STREAK):
        queue.add(f"edit-{number}")
        taken = queue.take()
        assert taken
        order.append(taken.key)
        queue.done(taken.key)
    assert order.index("resync") == FOREGROUND_STREAK


def test_a_key_that_does_not_run_cannot_be_reported(queue: WorkQueue[str]) -> None:
    queue.add("a")
    with pytest.raises(ValueError, match="not running"):
        queue.done("a")
    with pytest.raises(KeyError):
        queue.failed("b")


def test_left_overs_do_not_pile_up(queue: WorkQueue[str]) -> None:
    """Each earlier wish leaves an entry behind: a resource that is edited all day must not cost memory."""

    def memory_of(rounds: int) -> int:
        tracemalloc.start()
        for _ in range(rounds):
            queue.add("a")
            take_all(queue)
            queue.done("a", after=600, background=True)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return held

    memory_of(500)
    assert memory_of(10_000) < 100_000


ENDPOINTS = 2
LIMIT, PER_ENDPOINT = 3, 1
keys = st.integers(0, 5)
seconds = st.sampled_from([0.0, 1.0, 5.0])


class Interleavings(RuleBasedStateMachine):
    """A model of what is due and what runs, against the queue, in any order of calls."""

    @initialize()
    def start(self) -> None:
        self.clock = Clock()
        self.queue = WorkQueue[int](
            clock=self.clock,
            limit=LIMIT,
            per_endpoint=PER_ENDPOINT,
            endpoint_of=lambda key: f"qdrant-{key % ENDPOINTS}",
            backoff=KeyBackoff(first=1, longest=8, jitter=0.0),
            rng=random.Random(0),
        )
        self.due: dict[int, float] = {}
        self.running: set[int] = set()
        self.failures: dict[int, int] = {}

    def wish(self, key: int, after: float) -> None:
        self.due[key] = min(self.due.get(key, float("inf")), self.clock.now + after)

    @rule(key=keys, after=seconds, background=st.booleans())
    def add(self, key: int, after: float, background: bool) -> None:
        self.queue.add(key, after, background=background)
        self.wish(key, after)

    @rule()
    def take_one(self) -> None:
        self.take()

    @rule()
    def take_all(self) -> None:
        while self.take():
            pass

    def take(self) -> bool:
        may_run = [key for key, due in self.due.items() if due <= self.clock.now and self.has_room(key)]
        taken = self.queue.take()
        if taken is None:
            assert not may_run
            return False
        assert taken.key in may_run
        assert taken.waited == self.clock.now - self.due.pop(taken.key)
        self.running.add(taken.key)
        return True

    @precondition(lambda self: self.running)
    @rule(data=st.data(), after=st.none() | seconds, background=st.booleans())
    def done(self, data: st.DataObject, after: float | None, background: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        self.queue.done(key, after, background=background)
        self.running.remove(key)
        self.failures.pop(key, None)
        if after is not None:
            self.wish(key, after)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def failed(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        self.failures[key] = self.failures.get(key, 0) + 1
        delay = self.queue.failed(key)
        assert delay == min(8, 2 ** (self.failures[key] - 1))
        self.running.remove(key)
        self.wish(key, delay)

    @rule(step=seconds)
    def pass_time(self, step: float) -> None:
        self.clock.now += step

    @rule()
    def sleep_as_told(self) -> None:
        """Nobody who sleeps for `wait()` seconds oversleeps."""
        wait = self.queue.wait()
        to_come = [due for key, due in self.due.items() if key not in self.running and due > self.clock.now]
        if to_come:
            assert wait is not None
            assert wait <= min(to_come) - self.clock.now
        if wait:
            self.clock.now += wait

    @invariant()
    def counts_agree(self) -> None:
        waiting = self.due.keys() - self.running
        assert self.queue.running == len(self.running) <= LIMIT
        assert self.queue.ready + self.queue.scheduled == len(waiting)

    def teardown(self) -> None:
        """Nothing is lost: whatever was asked for runs in the end."""
        for key in sorted(self.running):
            self.queue.done(key)
        self.clock.now += 1000
        ran = set()
        while taken := self.queue.take():
            ran.add(taken.key)
            self.queue.done(taken.key)
        assert ran == set(self.due)

    def has_room(self, key: int) -> bool:
        same = sum(other % ENDPOINTS == key % ENDPOINTS for other in self.running)
        return key not in self.running and len(self.running) < LIMIT and same < PER_ENDPOINT


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
