"""The dispatcher: every key that was taken is reported, and stopping is orderly."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from teal.controller.dispatcher import Dispatcher, Next
from teal.controller.metrics import Metrics
from teal.controller.queue import KeyBackoff, WorkQueue
from tests.controller.fakes import until
from tests.unit.migration.swift_loop import SwiftLoop

pytestmark = pytest.mark.loop(factory=SwiftLoop)


def loop_time() -> float:
    return asyncio.get_running_loop().time()


class Work:
    """Answers from a script for each key, and lets a test wait for what ran."""

    def __init__(self) -> None:
        self.ran: asyncio.Queue[str] = asyncio.Queue()
        self.answers: dict[str, list[Next | Exception]] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.cancelled: list[str] = []

    async def process(self, key: str) -> Next:
        await self.ran.put(key)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(key)
            raise
        answer = self.answers[key].pop(0) if self.answers.get(key) else Next()
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def queue() -> WorkQueue[str]:
    return WorkQueue(clock=loop_time, limit=2, backoff=KeyBackoff(jitter=0.0))


@pytest.fixture
async def dispatcher(queue: WorkQueue[str], work: Work) -> AsyncIterator[Dispatcher[str]]:
    dispatcher = Dispatcher(queue, work.process, Metrics())
    yield dispatcher
    work.gate.set()
    await dispatcher.stop(grace=5)


async def test_keys_run_again_when_they_ask_for_it(dispatcher: Dispatcher[str], work: Work) -> None:
    work.answers["a"] = [Next(after=600), Next(failed=True), RuntimeError("a bug"), Next()]
    dispatcher.add("a")
    dispatcher.start()
    assert [await work.ran.get() for _ in range(4)] == ["a"] * 4


async def test_a_key_at_rest_costs_no_task(dispatcher: Dispatcher[str], queue: WorkQueue[str], work: Work) -> None:
    dispatcher.start()
    for number in range(200):
        work.answers[str(number)] = [Next(after=600)]
        dispatcher.add(str(number))
    await until(lambda: queue.scheduled == 200)
    assert len(asyncio.all_tasks()) <= 3  # this test, pytest's runner, the dispatcher


async def test_a_key_added_while_all_sleep_runs_at_once(dispatcher: Dispatcher[str], work: Work) -> None:
    dispatcher.add("later", after=3600)
    dispatcher.start()
    await asyncio.sleep(60)
    assert work.ran.empty()
    dispatcher.add("now")
    assert await work.ran.get() == "now"
    assert loop_time() == 60


async def test_no_more_run_at_once_than_the_queue_allows(
    dispatcher: Dispatcher[str], queue: WorkQueue[str], work: Work
) -> None:
    work.gate.clear()
    for key in "abc":
        dispatcher.add(key)
    dispatcher.start()
    assert {await work.ran.get(), await work.ran.get()} == {"a", "b"}
    assert (queue.running, queue.ready) == (2, 1)
    work.gate.set()
    assert await work.ran.get() == "c"


async def test_stopping_lets_steps_finish_and_begins_none(
    dispatcher: Dispatcher[str], queue: WorkQueue[str], work: Work
) -> None:
    work.gate.clear()
    for key in "abc":
        dispatcher.add(key)
    dispatcher.start()
    await work.ran.get()
    await work.ran.get()
    stopping = asyncio.create_task(dispatcher.stop(grace=30))
    await asyncio.sleep(29)
    assert not stopping.done()
    work.gate.set()
    await stopping
    assert work.ran.empty()
    assert (queue.running, queue.ready) == (0, 1)


async def test_who_does_not_finish_in_time_is_cancelled(dispatcher: Dispatcher[str], work: Work) -> None:
    work.gate.clear()
    dispatcher.add("a")
    dispatcher.start()
    await work.ran.get()
    await dispatcher.stop(grace=30)
    assert loop_time() == 30
    assert work.cancelled == ["a"]


async def test_stopping_before_the_start_is_harmless(queue: WorkQueue[str], work: Work) -> None:
    await Dispatcher(queue, work.process, Metrics()).stop(grace=1)
    assert work.ran.empty()
