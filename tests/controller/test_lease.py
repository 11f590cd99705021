"""Holding a lease, with an API server in memory and seconds that are shorter than real ones."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from teal.controller.election import Place, Timing
from teal.controller.kube import ApiServerError, ConflictError
from teal.controller.lease import Lease, LeaseLostError
from tests.controller.fakes import until

TIMING = Timing(renew=0.05, retry=0.02, deadline=0.4, end=0.6, duration=1)
PLACE = Place("teal-system")


class FakeLeases:
    """One Lease. While `broken` every call fails, while `silent` none is answered."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.writes = 0
        self.broken = self.silent = False
        self._versions = itertools.count(1)

    @property
    def holder(self) -> str:
        return str(self.lease["spec"]["holderIdentity"]) if self.lease else ""

    async def read_lease(self, *_: str) -> Mapping[str, Any] | None:
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


class Candidate:
    """A process that stands for election; its work is to wait for its end."""

    def __init__(self, api: FakeLeases, name: str) -> None:
        self.ended: list[str] = []
        self.lease = Lease(api, PLACE, me=name, timing=TIMING, end=lambda: self.ended.append("at once"))
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


async def test_who_is_displaced_ends_at_once(api: FakeLeases) -> None:
    """Only by hand, or by a clock that is very wrong."""
    one = Candidate(api, "one")
    await until(lambda: one.working)
    assert api.lease is not None
    api.lease = {"metadata": {"resourceVersion": "x"}, "spec": {"holderIdentity": "other"}}
    with pytest.raises(LeaseLostError):
        await one.task
    assert one.ended == ["at once", "lost"]


async def test_work_that_does_not_end_in_time_is_cut_off(api: FakeLeases) -> None:
    cut_off = asyncio.Event()
    lease = Lease(api, PLACE, timing=TIMING, end=cut_off.set)
    await lease.acquire()
    holding = asyncio.create_task(lease.hold(lambda _: asyncio.Event().wait(), asyncio.Event()))
    api.broken = True
    await cut_off.wait()
    assert not holding.done()
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding


async def test_a_stopped_process_ends_before_a_step_goes_on(api: FakeLeases) -> None:
    """The answer that the step waits for has come while nothing ran."""
    happened: list[str] = []
    lease = Lease(api, PLACE, timing=TIMING, end=lambda: happened.append("end"))
    await lease.acquire()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    async def step() -> None:
        await asyncio.get_running_loop().sock_recv(ours, 1)
        happened.append("step")

    async def work(over: asyncio.Event) -> None:
        going_on = asyncio.create_task(step())
        await asyncio.sleep(0.1)
        threading.Timer(0.2, theirs.send, [b"x"]).start()
        time.sleep(1.5)  # noqa: ASYNC251 - as SIGSTOP does
        await going_on
        await over.wait()

    with ours, theirs, pytest.raises(LeaseLostError):
        await lease.hold(work, asyncio.Event())
    assert happened[0] == "end"
    assert "step" in happened


async def test_work_that_fails_lets_go(api: FakeLeases) -> None:
    lease = Lease(api, PLACE, timing=TIMING)
    await lease.acquire()

    async def work(_: asyncio.Event) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await lease.hold(work, asyncio.Event())
    assert api.holder == ""
