"""Snapshots: what retirement takes before it deletes. Restoring one is part of the recordings."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conformance.client import Rest


@pytest.fixture
def filled(rest: Rest, new_collection: Callable[..., str]) -> str:
    c = new_collection()
    rest.upsert(c, [{"id": 1, "vector": [1, 2, 3, 4]}])
    return c


def test_a_snapshot_lives_until_it_is_deleted(rest: Rest, filled: str) -> None:
    path = f"/collections/{filled}/snapshots"
    assert rest.ok("GET", path) == []
    made = rest.ok("POST", f"{path}?wait=true")
    assert made["name"].startswith(f"{filled}-")
    assert made["size"] > 0
    assert len(made["checksum"]) == 64
    assert rest.ok("GET", path) == [made]
    assert rest.ok("DELETE", f"{path}/{made['name']}?wait=true") is True
    assert rest.ok("GET", path) == []


def test_a_snapshot_moves_nothing(rest: Rest, filled: str) -> None:
    before = rest.update_queues(filled), rest.versions(filled, [1], [1, 1, 1, 1])
    rest.ok("POST", f"/collections/{filled}/snapshots?wait=true")
    assert (rest.update_queues(filled), rest.versions(filled, [1], [1, 1, 1, 1])) == before


def test_a_missing_snapshot_is_not_deleted(rest: Rest, filled: str) -> None:
    assert rest.call("DELETE", f"/collections/{filled}/snapshots/none.snapshot?wait=true").status == 404


def test_a_missing_collection_has_no_snapshots(rest: Rest, filled: str) -> None:
    assert rest.call("POST", f"/collections/{filled}-none/snapshots?wait=true").status == 404
    assert rest.call("GET", f"/collections/{filled}-none/snapshots").status == 404
