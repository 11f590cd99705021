"""However much there is to say, the API server takes the status: what is too long is cut.

One that it refuses would be the worst of reports: nobody would learn what is wrong, nor ever anything else.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from devkit.cluster import Cluster
from teal.api.crd import KINDS, object_schema
from teal.api.fit import fitted
from teal.controller.reconciler import USERS_SHOWN
from tests.e2e.support import Docs, condition, few, is_true

ETCD_BYTES = 1_500_000
"""What etcd takes in one request, all of an object."""
TOO_LONG = 100_000
LONG_NAME = 63
"""Of an object, as people name them."""
BY_FORMAT = {"date-time": "2026-01-01T00:00:00Z"}
SPECS: dict[str, dict[str, Any]] = {
    "EmbeddingSet": {"dimensions": 4, "distance": "Dot", "schemaVersion": "v1", "model": "m"},
    "VectorCollection": {"qdrant": {"url": "http://qdrant:6333"}, "embeddingSetRef": {"name": "docs"}},
}


def excess(schema: dict[str, Any], nth: int = 0) -> Any:
    """More than `schema` allows: every text too long, every list too full, all fields there."""
    if "enum" in schema:
        return schema["enum"][nth % len(schema["enum"])]
    match schema.get("type"):
        case "object":
            return {name: excess(each, nth) for name, each in schema["properties"].items()}
        case "array":
            number = schema["maxItems"] + (schema.get("x-kubernetes-list-type") != "map")
            return [excess(schema["items"], n) for n in range(number)]
        case "string" if schema.get("format") in BY_FORMAT:
            return BY_FORMAT[schema["format"]]
        case "string" if "pattern" in schema:
            return f"A{nth}" if "A-Z" in schema["pattern"] else "1h"
        case "string":
            return f"{nth} " + "x" * schema.get("maxLength", TOO_LONG)
        case "integer" | "number":
            return schema.get("maximum", 2**53)
        case "boolean":
            return True
    raise LookupError(schema)


@pytest.mark.fault(26)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_all_that_a_status_can_hold(cluster: Cluster, kind: Any) -> None:
    manifest = {
        "apiVersion": "teal.dev/v1alpha1",
        "kind": kind.name,
        "metadata": {"name": "docs"},
        "spec": SPECS[kind.name],
    }
    cluster.apply([manifest])
    status = excess(object_schema(kind.model)["properties"]["status"])
    if "usedBy" in status:
        status["usedBy"] = [f"{n:0{LONG_NAME}}" for n in range(USERS_SHOWN + 1)]
    status = fitted(kind.name, status)
    assert len(json.dumps(status)) < ETCD_BYTES
    written = cluster.patch(kind.name, "docs", {"status": status}, status=True)
    assert written["status"] == status
    assert fitted(kind.name, status) == status


@pytest.mark.fault(26)
def test_errors_and_annotations_without_end(blue: Docs) -> None:
    server = blue.qdrant.need_faults()
    server.faults(
        match=f"PATCH /collections/{blue.aliases()[blue.alias]}", status=500, error="x" * TOO_LONG, times=0
    )
    blue.annotate(abort="y" * TOO_LONG)
    blue.apply(collection={"hnsw": {"m": 12}})
    found = blue.wait_condition("Reconciling", "QdrantFailed")
    assert len(condition(found, "Ready")["message"]) < TOO_LONG  # type: ignore[index]
    blue.wait_for(lambda found: "refusedActions" in found["status"], what="refusing the annotation")
    server.faults()
    ready = blue.wait_ready()
    assert is_true(blue.resource(), "Ready")
    assert ready["active"]["points"] == len(few())
    (refused,) = ready["refusedActions"]
    assert refused["value"].startswith("yyy")
