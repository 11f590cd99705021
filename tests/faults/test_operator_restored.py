"""A resource that comes back without its status, or as another one of the same name, goes on where it was."""

from __future__ import annotations

import pytest

from devkit.clients import Ledger
from tests.e2e.gate import Gate, named
from tests.e2e.support import COMPARED, LARGE, PROBES, Docs, ended_once, texts

pytestmark = pytest.mark.fault(22)
MOMENTS = (
    "after create v2",
    "before upsert v2 in Populating",
    "after patch v2 migration Verifying",
    "after alias create alias v2",
)


@pytest.fixture
def migrating(gate: Gate, tenant: Docs) -> Ledger:
    """What `tenant` was loaded with; another encoder is declared, and its migration about to begin."""
    tenant.declare()
    tenant.wait_ready()
    ledger = tenant.load()
    gate.shut_at(named("before create v2"))
    tenant.apply(embedding_set={**LARGE, "schemaVersion": "v2"})
    assert gate.wait_shut(alive=tenant.operator_runs), tenant.story()
    return ledger


def stop_at(docs: Docs, gate: Gate, name: str) -> None:
    """Let the migration go on to `name` ("before create v2"), and hold it there."""
    gate.go_on(named(name))
    assert gate.wait_shut(alive=docs.operator_runs), docs.story()


def test_a_status_that_is_wiped_time_and_again(tenant: Docs, gate: Gate, migrating: Ledger) -> None:
    for moment in MOMENTS:
        stop_at(tenant, gate, moment)
        tenant.wipe_status()
    gate.go_on()
    ended_once(tenant, gate.applied(), migrating)
    assert len(tenant.events("MigrationStarted")) == 1
    assert len(tenant.events("CutoverCompleted")) == 1


def test_deleted_and_applied_again(tenant: Docs, gate: Gate, migrating: Ledger) -> None:
    """The new resource has another UID; it goes on with what it finds, and pays for nothing again."""
    paid = tenant.encoders.calls("teal").texts
    uid = tenant.resource()["metadata"]["uid"]
    stop_at(tenant, gate, "before patch v2 migration CatchingUp")
    tenant.cluster.delete("VectorCollection", tenant.name)
    tenant.apply()
    assert tenant.resource()["metadata"]["uid"] != uid
    gate.go_on()
    ended_once(tenant, gate.applied(), migrating)
    assert tenant.encoders.calls("teal").texts - paid <= len(texts()) + PROBES + COMPARED
    for collection in tenant.collections():
        assert tenant.marks(collection)["owner"]["uid"] == tenant.resource()["metadata"]["uid"]
