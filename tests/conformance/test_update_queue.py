"""The proof of quiet that a cut-over stands on: `op_num` moves with every write and with nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.client import Rest
from tests.conformance.test_point_versions import CHANGES, IDS, PROBE, Write, post

WRITES: dict[str, Write] = {
    **{name: write for name, (write, _) in CHANGES.items()},
    "delete": post("/points/delete", {"points": [1]}),
    "create an index": lambda rest, c: rest.index(c, "n", "integer"),
    "drop an index": lambda rest, c: rest.drop_index(c, "n"),
}

READS: dict[str, Write] = {
    "scroll": lambda rest, c: rest.scroll(c, limit=5, with_vector=True),
    "retrieve": lambda rest, c: rest.retrieve(c, 1, 2),
    "count": lambda rest, c: rest.count(c),
    "query": lambda rest, c: rest.versions(c, IDS, PROBE),
    "collection info": lambda rest, c: rest.info(c),
    "telemetry": lambda rest, c: rest.update_queues(c),
    "metadata": lambda rest, c: rest.patch(c, metadata={"seen": True}),
    "strict mode": lambda rest, c: rest.patch(c, strict_mode_config={"enabled": False}),
}


@pytest.fixture(scope="module", params=[1, 2], ids=["one shard", "two shards"])
def filled(request: Any, rest: Rest, new_shared_collection: Callable[..., str]) -> str:
    c = new_shared_collection(shard_number=request.param)
    points = [{"id": i, "vector": [i, 1, 0, 2], "payload": {"n": i, "parity": "even"}} for i in IDS]
    rest.upsert(c, points)
    assert len(rest.update_queues(c)) == request.param
    return c


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_every_write_moves_op_num(rest: Rest, filled: str, write: Write) -> None:
    before = rest.update_queues(filled)
    write(rest, filled)
    after = rest.update_queues(filled)
    assert after != before
    assert all(new >= old for (new, _), (old, _) in zip(after, before, strict=True))
    assert all(length == 0 for _, length in after)


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_nothing_else_moves_op_num(rest: Rest, filled: str, read: Write) -> None:
    before = rest.update_queues(filled)
    read(rest, filled)
    assert rest.update_queues(filled) == before


BARRIER = {"filter": {"must": [{"has_id": ["7f5e9d6c-0000-4000-8000-000000000000"]}]}}
"""A deletion of nothing: by filter, so it is sent to every shard."""


def test_a_barrier_moves_op_num_of_every_shard_by_one(rest: Rest, filled: str) -> None:
    before = rest.update_queues(filled)
    answer = rest.call("POST", f"/collections/{filled}/points/delete?wait=true", BARRIER)
    assert (answer.status, answer.result["status"]) == (200, "completed")
    assert [number for number, _ in rest.update_queues(filled)] == [number + 1 for number, _ in before]


def test_a_barrier_uses_up_what_a_limit_on_writes_still_allows(
    rest: Rest, new_collection: Callable[..., str]
) -> None:
    c = new_collection(shard_number=2)
    # The very first write to a shard is tried twice by the server, and pays twice.
    assert rest.call("POST", f"/collections/{c}/points/delete?wait=true", BARRIER).status == 200
    rest.patch(c, strict_mode_config={"enabled": True, "write_rate_limit": 1})
    assert rest.call("POST", f"/collections/{c}/points/delete?wait=true", BARRIER).status == 200
    before = rest.update_queues(c)
    assert rest.call("POST", f"/collections/{c}/points/delete?wait=true", BARRIER).status == 429
    points = [{"id": i, "vector": [i, 0, 0, 1]} for i in range(1, 9)]
    assert {rest.try_upsert(c, [point]).status for point in points} == {429}
    assert rest.update_queues(c) == before


def test_a_version_is_a_number_of_the_points_own_shard(rest: Rest, new_collection: Callable[..., str]) -> None:
    """So it is never above the `op_num` of the shard that has come furthest."""
    c, ids = new_collection(shard_number=2), range(1, 25)
    for i in ids:
        rest.upsert(c, [{"id": i, "vector": [i, 0, 0, 1]}])
    versions = rest.versions(c, ids, PROBE)
    assert versions.keys() == {*ids}
    assert max(versions.values()) <= max(number for number, _ in rest.update_queues(c)) < len(ids)
