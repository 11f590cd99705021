"""Two operators, as two pods of a Deployment: one migrates, and when it is gone the other goes on from there."""

from __future__ import annotations

import os
import signal

import httpx
import pytest
from kubernetes.client import CoordinationV1Api

from devkit.clients import Ledger
from devkit.control_plane import ControlPlane
from devkit.teal import Operator
from teal.controller.election import NAME
from teal.controller.lease import LOST_EXIT_CODE
from tests.e2e.gate import Gate, named
from tests.e2e.support import COMPARED, IN_FLIGHT, LARGE, PROBES, Docs, few, texts
from tests.plugins.operator import StartOperator

MAX_FENCE = 5.0
TAKE_OVER_SECONDS = 30.0
"""A promise, and not a figure of this machine: the Lease runs 15 s, and a candidate looks every 2 s."""


@pytest.fixture
def pair(docs: Docs, operator: StartOperator) -> tuple[Operator, Operator]:
    """Who leads and who stands by; the documents are served."""
    docs.declare()
    first = operator()
    docs.wait_ready()
    return first, operator()


def metric(operator: Operator, name: str) -> float:
    text = httpx.get(f"{operator.url}/metrics").raise_for_status().text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{")))


def leads(operator: Operator) -> bool:
    return metric(operator, "teal_leader") == 1


def filled(docs: Docs) -> int:
    """How many points are durably on green."""
    return docs.count(docs.version("v2"))


def half_embedded(docs: Docs) -> Ledger:
    """A re-embedding in its midst that is slow, and of which a part was done."""
    ledger = docs.load()
    docs.encoders.faults({"kind": "hang", "agent": "teal", "times": None, "seconds": 2.0})
    docs.apply(embedding_set={"schemaVersion": "v2", **LARGE})
    docs.wait_phase("Populating")
    docs.until(lambda: filled(docs) > len(texts()) // 2, "half done")
    return ledger


def goes_on(docs: Docs, operator: Operator) -> None:
    docs.until(lambda: leads(operator), "taken over", TAKE_OVER_SECONDS)


def ended_right(docs: Docs, ledger: Ledger, done: int, embedded: int) -> None:
    """All is served; after the first `embedded` texts, those of the `done` points were not embedded again."""
    docs.encoders.faults()
    docs.wait_ready()
    assert docs.audit(ledger).ok
    assert docs.encoders.calls("teal").texts - embedded <= len(texts()) - done + IN_FLIGHT + COMPARED + PROBES


@pytest.mark.fault(9)
def test_a_killed_holder_is_followed(docs: Docs, pair: tuple[Operator, Operator]) -> None:
    first, second = pair
    assert (leads(first), leads(second)) == (True, False)
    ledger = half_embedded(docs)
    first.kill()
    done, embedded = filled(docs), docs.encoders.calls("teal").texts
    docs.operators.remove(first)
    goes_on(docs, second)
    ended_right(docs, ledger, done, embedded)


@pytest.mark.fault(1)
@pytest.mark.fault(9)
def test_writers_that_a_killed_holder_had_fenced_are_let_go(docs: Docs, operator: StartOperator) -> None:
    """They wait for the other operator, and for no longer than a fence of its own."""
    with Gate(docs.qdrant, docs.alias) as gate:
        docs.through(gate.url, gate.grpc_port)
        docs.edit(collection={"migration": {"promotion": {"quietWait": "0s", "maxFence": f"{MAX_FENCE:g}s"}}})
        docs.declare()
        first = operator()
        docs.wait_ready()
        second = operator()
        with docs.clients(docs.load(few()), readers=1) as clients:
            gate.shut_at(named("after patch v1 strict_mode_config to 1"))
            docs.apply(embedding_set={"schemaVersion": "v2", **LARGE})
            assert gate.wait_shut(alive=docs.operator_runs), docs.story()
            first.kill()
            docs.operators.remove(first)
            gate.abandon()
            goes_on(docs, second)
            docs.wait_ready()
        counts = clients.counts()
        assert counts.failures == 0, counts
        assert 1000 < counts.longest_stall_millis < (TAKE_OVER_SECONDS + MAX_FENCE) * 1000
        docs.no_fence()
        assert docs.audit(clients.ledger).ok


@pytest.mark.fault(8)
@pytest.mark.fault(9)
def test_a_holder_that_was_stopped_wakes_up_and_writes_nothing(
    docs: Docs, pair: tuple[Operator, Operator]
) -> None:
    """As a machine that hangs: stopped in the midst of a batch, whose vectors wait for it when it wakes up."""
    first, second = pair
    ledger = half_embedded(docs)
    os.kill(first.process.pid, signal.SIGSTOP)
    done, embedded = filled(docs), docs.encoders.calls("teal").texts
    docs.operators.remove(first)
    try:
        goes_on(docs, second)
        ended_right(docs, ledger, done, embedded)
        then, written = docs.truth(), docs.resource()
        requests = docs.encoders.calls("teal").requests
    finally:
        os.kill(first.process.pid, signal.SIGCONT)
    assert first.process.popen.wait() == LOST_EXIT_CODE
    assert docs.truth() == then
    assert docs.resource() == written
    assert docs.encoders.calls("teal").requests == requests
    assert leads(second)


@pytest.mark.fault(9)
def test_a_holder_that_is_told_to_end_hands_over(
    control_plane: ControlPlane, docs: Docs, pair: tuple[Operator, Operator]
) -> None:
    """In the midst of a migration, and without waiting for the Lease to run out."""
    first, second = pair
    ledger = half_embedded(docs)
    first.process.popen.send_signal(signal.SIGTERM)
    assert first.process.popen.wait() == 0
    done, embedded = filled(docs), docs.encoders.calls("teal").texts
    docs.operators.remove(first)
    with control_plane.api_client() as client:
        lease = CoordinationV1Api(client).read_namespaced_lease(NAME, docs.cluster.namespace)
        assert str(first.process.pid) not in (lease.spec.holder_identity or "")
    goes_on(docs, second)
    ended_right(docs, ledger, done, embedded)
