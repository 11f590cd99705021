"""Deferred indexing: off while points are poured in, one PATCH to begin, and an end that can be waited for."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from tests.conformance.client import Rest

DIMENSIONS = 32
POINTS = 4_000  # 500 kB of vectors: above a threshold of 10 kB in each of up to eight segments
IDS = range(POINTS)


def vector(point: int) -> list[float]:
    """A vector that only this point has."""
    source = random.Random(point)
    return [round(source.uniform(-1, 1), 4) for _ in range(DIMENSIONS)]


def fill(rest: Rest, c: str) -> None:
    for start in range(0, POINTS, 1_000):
        points = [{"id": i, "vector": vector(i), "payload": {"n": i}} for i in range(start, start + 1_000)]
        rest.upsert(c, points)


def wait_until_idle(rest: Rest, c: str) -> None:
    """Until three looks in a row find nothing left to do; the test's own time limit ends it otherwise."""
    quiet = 0
    while quiet < 3:
        quiet = quiet + 1 if rest.is_idle(c) else 0
        time.sleep(0.1)


def test_nothing_is_indexed_until_it_is_asked_for_and_then_everything_stays_true(
    rest: Rest, new_collection: Callable[..., str]
) -> None:
    vectors = {"size": DIMENSIONS, "distance": "Cosine"}
    c = new_collection(vectors=vectors, optimizers_config={"indexing_threshold": 0})
    fill(rest, c)
    wait_until_idle(rest, c)
    assert rest.info(c)["indexed_vectors_count"] == 0
    versions = rest.versions(c, IDS, vector(0))
    queues = rest.update_queues(c)

    rest.patch(c, optimizers_config={"indexing_threshold": 10})
    while rest.info(c)["indexed_vectors_count"] == 0:
        time.sleep(0.1)
    wait_until_idle(rest, c)

    info = rest.info(c)
    assert info["config"]["optimizer_config"]["indexing_threshold"] == 10
    assert 0 < info["indexed_vectors_count"] <= POINTS
    assert info["optimizer_status"] == "ok"
    assert rest.count(c) == POINTS
    assert rest.versions(c, IDS, vector(0)) == versions
    assert rest.update_queues(c) == queues
    for i in (0, POINTS // 2, POINTS - 1):
        (nearest,) = rest.query(c, vector(i), limit=1)
        assert (nearest["id"], nearest["version"]) == (i, versions[i])


def test_changes_while_indexing_runs_are_seen(rest: Rest, new_collection: Callable[..., str]) -> None:
    vectors = {"size": DIMENSIONS, "distance": "Dot"}
    c = new_collection(vectors=vectors, optimizers_config={"indexing_threshold": 0})
    fill(rest, c)
    before = rest.versions(c, IDS, vector(0))

    rest.patch(c, optimizers_config={"indexing_threshold": 10})
    rest.upsert(c, [{"id": 5, "vector": vector(5), "payload": {"n": -5}}])
    rest.set_payload(c, [6], {"late": True})
    rest.delete(c, 7)
    wait_until_idle(rest, c)

    after = rest.versions(c, IDS, vector(0))
    assert {i for i in before if after.get(i) != before[i]} == {5, 6, 7}
    assert rest.count(c) == POINTS - 1


def test_the_next_setting_starts_the_optimizer_again(rest: Rest, new_collection: Callable[..., str]) -> None:
    vectors = {"size": DIMENSIONS, "distance": "Dot"}
    c = new_collection(vectors=vectors, optimizers_config={"indexing_threshold": 10})
    fill(rest, c)
    rest.patch(c, hnsw_config={"m": 8, "ef_construct": 32})
    wait_until_idle(rest, c)
    info = rest.info(c)
    assert (info["config"]["hnsw_config"]["m"], info["config"]["hnsw_config"]["ef_construct"]) == (8, 32)
    assert info["indexed_vectors_count"] > 0
    assert (
        rest.query(c, vector(9), limit=1, params={"exact": True})[0]["id"]
        == rest.query(c, vector(9), limit=1)[0]["id"]
    )
