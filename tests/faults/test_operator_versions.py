"""Another version of Teal had the migration in hand: what this one cannot read, it does not touch.

What it can read, it goes on with, though it may have written it differently itself.
"""

from __future__ import annotations

from typing import Any

import pytest

from devkit.embeddings import EmbeddingServer
from tests.e2e.gate import Gate, named
from tests.e2e.support import LARGE, PROBES, Docs, condition, texts, unharmed
from tests.plugins.operator import StartOperator

OLD_OWNER = ("uid", "cluster", "namespace", "name", "collection", "revision", "schemaVersion")
OLD_MIGRATION = ("planHash", "dataHash", "stage", "source", "startedAt")


def mark(docs: Docs, collection: str, **marks: Any) -> None:
    """Write marks as they are; `None` removes one."""
    metadata = {f"teal.dev/{name.replace('_', '-')}": value for name, value in marks.items()}
    with docs.http() as http:
        http.patch(f"/collections/{collection}", json={"metadata": metadata}).raise_for_status()


def paid(encoders: EmbeddingServer) -> int:
    return encoders.calls("teal").texts


@pytest.mark.fault(3)
def test_a_downgrade_and_an_upgrade_in_the_midst_of_a_copy(
    docs: Docs, operator: StartOperator, encoders: EmbeddingServer
) -> None:
    with Gate(docs.qdrant, docs.alias) as gate:
        docs.through(gate.url, gate.grpc_port)
        docs.declare()
        first = operator("--no-lease")
        docs.wait_ready()
        ledger = docs.load()
        gate.shut_at(named("after patch v2 checkpoint stale"))
        docs.apply(embedding_set={**LARGE, "schemaVersion": "v2"})
        assert gate.wait_shut(alive=docs.operator_runs), docs.story()
        first.kill()
        gate.abandon()
        green, spent = docs.version("v2"), paid(encoders)
        ours = docs.marks(green)
        assert ours["checkpoint"]

        # A newer Teal went on, and is replaced by this one.
        mark(docs, green, migration={**ours["migration"], "stage": "Distilling", "teacher": "v1"})
        done, before = gate.applied(), docs.truth()
        with unharmed(docs):
            operator("--no-lease", "--resync", "2")
            found = docs.wait_condition("Stalled", "MarksDamaged")
            message = condition(found, "Stalled")["message"]  # type: ignore[index]
            assert "stage" in message
            assert "If a newer Teal wrote them, run that one" in message
            docs.look_again()
            assert docs.truth() == before
            assert gate.applied() == done
        assert paid(encoders) <= spent + PROBES

        # An older one, which knew fewer keys, has it in hand for a while.
        older = {key: ours["migration"][key] for key in OLD_MIGRATION}
        mark(docs, green, migration=older, owner={key: ours["owner"][key] for key in OLD_OWNER})
        status = docs.wait_ready()
        assert status["active"]["collection"] == green
        assert docs.audit(ledger).ok
        assert gate.applied().count("create v2") == 1
        assert paid(encoders) - spent < len(texts())
        docs.no_fence()
