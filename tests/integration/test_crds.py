"""The definitions in a real API server: what the models accept it accepts, what they refuse it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

import pytest
from kubernetes.client import ApiClient, ApiException, CustomObjectsApi

from devkit.control_plane import ControlPlane
from teal.api.common import GROUP, VERSION
from teal.api.manifest import parse
from teal.api.vector_collection import VectorCollection
from tests.unit.api.manifests import BAD, EDITS, GOOD, PLURALS, Bad, Edit, Manifest, collection, embeddings


class Cluster:
    """Creates, edits and reads our objects in one namespace."""

    def __init__(self, client: ApiClient, namespace: str) -> None:
        self._api = CustomObjectsApi(client)
        self._namespace = namespace

    def create(self, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        """Create as strictly as kubectl does: a field that would be pruned is an error."""
        created = self._api.create_namespaced_custom_object(
            *self._where(manifest), manifest, field_validation="Strict", dry_run="All" if dry_run else None
        )
        return cast("Manifest", created)

    def replace(self, stored: Manifest, spec: Manifest) -> Manifest:
        replaced = self._api.replace_namespaced_custom_object(
            *self._where(stored), stored["metadata"]["name"], {**stored, "spec": spec}
        )
        return cast("Manifest", replaced)

    def replace_status(self, stored: Manifest, status: Manifest) -> Manifest:
        replaced = self._api.replace_namespaced_custom_object_status(
            *self._where(stored), stored["metadata"]["name"], {**stored, "status": status}
        )
        return cast("Manifest", replaced)

    def table(self, kind: str) -> Manifest:
        """What `kubectl get` prints: `columnDefinitions` and `rows`."""
        table = self._api.list_namespaced_custom_object(
            *self._where({"kind": kind}), _headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
        )
        return cast("Manifest", table)

    def _where(self, manifest: Manifest) -> tuple[str, str, str, str]:
        return GROUP, VERSION, self._namespace, PLURALS[manifest["kind"]]


@pytest.fixture
def cluster(control_plane: ControlPlane, namespace: str) -> Iterator[Cluster]:
    with control_plane.api_client() as client:
        yield Cluster(client, namespace)


def refusal(error: ApiException) -> dict[str, str]:
    """Why the server refuses: the path of each field with what is said of it; an object's own path is `<nil>`."""
    causes = json.loads(error.body or "")["details"]["causes"]
    return {cause["field"]: cause["message"] for cause in causes}


def test_good_manifests_are_accepted_with_the_same_meaning(cluster: Cluster) -> None:
    """Defaults that the API server fills in are those that the models have, and nothing is pruned."""
    for name, manifest in GOOD.items():
        stored = cluster.create(manifest, dry_run=True)
        mine = parse(manifest)
        assert parse(stored).spec == mine.spec, name
        assert parse(stored).spec.dump() == mine.spec.dump(), name
        assert filled_in(stored["spec"]) == filled_in(mine.spec.dump()), name


def filled_in(value: Any) -> Any:
    """`value` without what says nothing: nulls are pruned by the server, and models do not write empty lists."""
    if isinstance(value, dict):
        return {key: filled_in(each) for key, each in value.items() if each not in (None, [])}
    return [filled_in(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.why)
def test_bad_manifests_are_refused_at_the_field(cluster: Cluster, bad: Bad) -> None:
    with pytest.raises(ApiException) as raised:
        cluster.create(bad.manifest, dry_run=True)
    said = [words for field, words in refusal(raised.value).items() if field.startswith(bad.path or "<nil>")]
    assert any(bad.message in words for words in said), refusal(raised.value)


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.what)
def test_edits(cluster: Cluster, edit: Edit) -> None:
    stored = cluster.create(edit.before)
    if not edit.message:
        assert cluster.replace(stored, edit.after["spec"])["metadata"]["generation"] == 2
        return
    with pytest.raises(ApiException) as raised:
        cluster.replace(stored, edit.after["spec"])
    assert edit.message in refusal(raised.value)["<nil>"]


def test_a_typo_is_refused_by_strict_validation(cluster: Cluster) -> None:
    with pytest.raises(ApiException) as raised:
        cluster.create(collection(hnsw={"efConstrct": 3}), dry_run=True)
    assert 'unknown field "spec.hnsw.efConstrct"' in json.loads(raised.value.body or "")["message"]


def test_a_new_object_is_not_current_before_it_was_seen(cluster: Cluster) -> None:
    for manifest in (collection(), embeddings()):
        assert cluster.create(manifest)["status"] == {"observedGeneration": -1}


CONDITION = {
    "type": "Ready",
    "status": "False",
    "observedGeneration": 1,
    "lastTransitionTime": "2024-05-01T12:00:00Z",
    "reason": "MigrationInProgress",
    "message": "Populating docs-v2-0a1b2c3d",
}
STATUS = {
    "observedGeneration": 1,
    "phase": "Populating",
    "alias": "docs",
    "active": {
        "collection": "docs-v1-00000000",
        "schemaVersion": "v1",
        "revision": "00000000",
        "dimensions": 384,
        "distance": "Cosine",
        "points": 2000,
        "since": "2024-05-01T12:00:00Z",
    },
    "migration": {
        "id": "m1",
        "planHash": "abc",
        "strategy": "BlueGreen",
        "reasons": ["distance: Cosine → Dot"],
        "source": "docs-v1-00000000",
        "target": "docs-v2-0a1b2c3d",
        "phase": "Populating",
        "startedAt": "2024-05-01T12:00:00Z",
        "progress": {
            "pointsDone": 840,
            "pointsTotal": 2000,
            "percent": 42,
            "pointsPerSecond": 512.5,
            "etaSeconds": 3,
            "throttled": True,
            "throttleReason": "reads take 250 ms",
        },
        "attempts": 1,
        "verification": {
            "verdict": "Failed",
            "checks": [
                {
                    "name": "ids",
                    "verdict": "Failed",
                    "observed": "1999",
                    "threshold": "2000",
                    "message": "one is missing",
                    "samples": ["17"],
                }
            ],
        },
        "writes": {"mode": "CatchUp", "guarantee": "none lost", "passes": 2, "proof": "op_num 14"},
        "lastError": "none",
    },
    "retained": [
        {
            "collection": "docs-v0-ffffffff",
            "schemaVersion": "v0",
            "revision": "ffffffff",
            "retainUntil": "2024-05-03T12:00:00Z",
            "snapshot": "docs-v0.snapshot",
        }
    ],
    "history": [
        {
            "from": "docs-v0-ffffffff",
            "to": "docs-v1-00000000",
            "outcome": "Completed",
            "points": 2000,
            "duration": "1m30s",
            "finishedAt": "2024-05-01T12:00:00Z",
            "message": "all well",
        }
    ],
    "forecast": {"points": 2000, "bytes": 3072000, "seconds": 4, "embeddingTokens": 0},
    "conditions": [CONDITION],
}  # fmt: skip


def test_a_status_is_stored_whole_and_shown_in_columns(cluster: Cluster) -> None:
    stored = cluster.replace_status(cluster.create(collection()), STATUS)
    assert stored["status"] == STATUS
    parsed = VectorCollection.model_validate(stored)
    assert parsed.status is not None
    assert parsed.status.dump() == STATUS

    table = cluster.table("VectorCollection")
    (row,) = table["rows"]
    shown = {
        column["name"]: (cell, column["priority"])
        for column, cell in zip(table["columnDefinitions"], row["cells"], strict=True)
    }
    del shown["Age"]
    assert shown == {
        "Name": ("docs", 0),
        "Ready": ("False", 0),
        "Phase": ("Populating", 0),
        "Progress": (42, 0),
        "Active": ("docs-v1-00000000", 0),
        "Dim": (384, 0),
        "Distance": ("Cosine", 0),
        "Schema": ("v1", 0),
        "Points": (2000, 1),
        "ETA": (3, 1),
        "Target": ("docs-v2-0a1b2c3d", 1),
    }


def test_the_status_of_an_embedding_set_is_stored_whole(cluster: Cluster) -> None:
    status = {
        "observedGeneration": 1,
        "conditions": [CONDITION],
        "probedDimensions": 384,
        "fingerprint": "f00d",
        "usedBy": ["docs"],
    }
    stored = cluster.replace_status(cluster.create(embeddings()), status)
    assert stored["status"] == status
    reread = parse(stored).status
    assert reread is not None
    assert reread.dump() == status
