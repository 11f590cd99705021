"""Holding a lease, with an API server in memory and a loop in which seconds pass at once."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Mapping
from typing import Any

import pytest

from teal.controller.election import Place, Timing
from teal.controller.kube import ApiServerError, ConflictError
from teal.controller.lease import Lease, LeaseLostError
from tests.controller.fakes import until
from tests.unit.migration.swift_loop import SwiftLoop

pytestmark = pytest.mark.loop(factory=SwiftLoop)

TIMING = Timing()
PLACE = Place("teal-system")


class FakeLeases:
    """One Lease. While `broken` every call fails, while `silent` none is answered."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.writes = 0
        self.looks: list[float] = []
        """When (on the loop's clock) it was asked for."""
        self.broken = self.silent = False
        self._versions = itertools.count(1)

    @property
    def holder(self) -> str:
        return str(self.lease["spec"]["holderIdentity"]) if self.lease else ""

    def pauses(self) -> list[float]:
        """Seconds between the times when it was asked for."""
        return [after - before for before, after in itertools.pairwise(self.looks)]

    async def read_lease(self, *_: str) -> Mapping[str, Any] | None:
        self.looks.append(loop_time())
        await self._reach()
        return self.lease

    async def write_lease(
        self, _namespace: str, _name: str, spec: Mapping[str, Any], version: str | None
    ) -> Mapping[str, Any]:
        await self._reach()
        if version != (self.lease["metadata"]["resourceVersion"] if self.lease else None):
            raise ConflictError("another version", 409)
        self.writes += 1
        self.lease = {"metadata": {"resourceVersion": str(next(self._versions))}, "spec": dict(spec)}
        return self.lease

    async def _reach(self) -> None:
        if self.broken:
            raise ApiServerError("no answer")
        if self.silent:
            await asyncio.Event().wait()
        await asyncio.sleep(0)


def loop_time() -> float:
    return asyncio.get_running_loop().time()


def lease_of(api: FakeLeases, **options: Any) -> Lease:
    """As a process has it, but for its clock."""
    return Lease(api, PLACE, timing=TIMING, **{"clock": loop_time, **options})


class Candidate:
    """A process that stands for election; its work is to wait for its end."""

    def __init__(self, api: FakeLeases, name: str) -> None:
        self.ended: list[str] = []
        self.lease = lease_of(api, me=name, end=lambda: self.ended.append("at once"))
        self.stop = asyncio.Event()
        self.working = False
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        if await self.lease.acquire():
            await self.lease.hold(self._work, self.stop)

    async def _work(self, over: asyncio.Event) -> None:
        self.working = True
        await over.wait()
        self.ended.append("held" if self.lease.held() else "lost")
        self.working = False


@pytest.fixture
def api() -> FakeLeases:
    return FakeLeases()


async def test_one_works_and_the_other_stands_by(api: FakeLeases) -> None:
    one = Candidate(api, "one")
    await until(lambda: one.working)
    other = Candidate(api, "other")
    await until(lambda: other.lease.stands_by)
    writes = api.writes
    await until(lambda: api.writes > writes + 3)
    assert (one.working, other.working) == (True, False)
    assert (one.lease.held(), other.lease.held(), one.lease.stands_by) == (True, False, False)
    assert api.holder == "one"
    one.stop.set()
    await one.task
    assert one.ended == ["held"]
    await until(lambda: other.working)
    assert api.holder == "other"
    assert api.lease is not None
    assert api.lease["spec"]["leaseTransitions"] == 1
    other.stop.set()
    await other.task
    assert api.holder == ""


async def test_of_two_at_the_same_time_one_wins(api: FakeLeases) -> None:
    both = [Candidate(api, name) for name in ("one", "other")]
    await until(lambda: all(each.working or each.lease.stands_by for each in both))
    assert sorted(each.working for each in both) == [False, True]
    for each in sorted(both, key=lambda each: not each.working):
        await until(lambda each=each: each.working)
        each.stop.set()
        await each.task


async def test_the_lease_of_one_that_vanished_is_taken_over(api: FakeLeases) -> None:
    api.lease = {
        "metadata": {"resourceVersion": "0"},
        "spec": {"holderIdentity": "gone", "leaseDurationSeconds": 1, "renewTime": "2999-01-01T00:00:00Z"},
    }
    one = Candidate(api, "one")
    await until(lambda: one.lease.stands_by)
    assert not one.working
    await until(lambda: one.working)
    one.stop.set()
    await one.task


@pytest.mark.parametrize("how", ["broken", "silent"])
async def test_who_cannot_renew_ends(api: FakeLeases, how: str) -> None:
    one = Candidate(api, "one")
    await until(lambda: one.working)
    setattr(api, how, True)
    with pytest.raises(LeaseLostError):
        await one.task
    assert one.ended == ["lost"]
    assert not one.lease.held()


async def test_a_short_trouble_costs_nothing(api: FakeLeases) -> None:
    one = Candidate(api, "one")
    await until(lambda: one.working)
    api.broken = True
    await asyncio.sleep(TIMING.deadline / 4)
    api.broken = False
    writes = api.writes
    await until(lambda: api.writes > writes + 3)
    assert one.working
    one.stop.set()
    await one.task


async def test_a_renewal_that_fails_is_repeated_sooner_than_the_next_would_be(api: FakeLeases) -> None:
    one = Candidate(api, "one")
    await until(lambda: len(api.looks) == 4)
    assert api.pauses() == pytest.approx([TIMING.renew] * 3)
    api.broken = True
    del api.looks[:-1]
    await until(lambda: len(api.looks) == 3)
    assert api.pauses() == pytest.approx([TIMING.renew, TIMING.retry])
    one.stop.set()
    await one.task


async def test_who_lost_it_leaves_the_lease_to_the_next_one(api: FakeLeases) -> None:
    """Its time is over when the API server is back: the Lease may be somebody else's any moment."""
    one = Candidate(api, "one")
    await until(lambda: one.working)
    api.broken = True
    await until(lambda: not one.lease.held())
    api.broken, found = False, api.lease
    with pytest.raises(LeaseLostError):
        await one.task
    assert api.lease == found


async def test_who_is_displaced_ends_at_once(api: FakeLeases) -> None:
    """Only by hand, or by a clock that is very wrong."""
    one = Candidate(api, "one")
    await until(lambda: one.working)
    assert api.lease is not None
    api.lease = {"metadata": {"resourceVersion": "x"}, "spec": {"holderIdentity": "other"}}
    with pytest.raises(LeaseLostError):
        await one.task
    assert one.ended == ["at once", "lost"]
    assert (api.holder, api.lease["metadata"]["resourceVersion"]) == ("other", "x")


async def test_work_that_does_not_end_in_time_is_cut_off(api: FakeLeases) -> None:
    cut_off = asyncio.Event()
    lease = lease_of(api, end=cut_off.set)
    await lease.acquire()
    holding = asyncio.create_task(lease.hold(lambda _: asyncio.Event().wait(), asyncio.Event()))
    api.broken = True
    await cut_off.wait()
    assert not holding.done()
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding


class StoppableLoop(asyncio.SelectorEventLoop):
    """A real one, with real sockets, whose clock says how long the process was stopped."""

    stopped_for = 0.0

    def time(self) -> float:
        return super().time() + self.stopped_for


@pytest.mark.loop(factory=StoppableLoop)
async def test_a_stopped_process_ends_before_a_step_goes_on(api: FakeLeases) -> None:
    """The answer that the step waits for has come while nothing ran."""
    happened: list[str] = []
    loop = asyncio.get_running_loop()
    assert isinstance(loop, StoppableLoop)
    lease = lease_of(api, end=lambda: happened.append("end"))
    await lease.acquire()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    async def step() -> None:
        await loop.sock_recv(ours, 1)
        happened.append("step")

    async def work(over: asyncio.Event) -> None:
        going_on = asyncio.create_task(step())
        await asyncio.sleep(0)
        theirs.send(b"x")
        loop.stopped_for = 3600.0  # as by SIGSTOP, and then SIGCONT
        await going_on
        await over.wait()

    with ours, theirs, pytest.raises(LeaseLostError):
        await lease.hold(work, asyncio.Event())
    assert happened[0] == "end"
    assert "step" in happened


async def test_work_that_fails_lets_go(api: FakeLeases) -> None:
    lease = lease_of(api)
    await lease.acquire()

    async def work(_: asyncio.Event) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await lease.hold(work, asyncio.Event())
    assert api.holder == ""
