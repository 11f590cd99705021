"""The change feed that catch-up stands on: a scored query's `version` moves with each change of that very point.

If a change did not move a version, a migration would lose a write; if something else moved it, catch-up would
never come to an end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.client import Rest

Json = Any
Write = Callable[[Rest, str], Any]

IDS = list(range(1, 21))
PROBE = [1, 1, 1, 1]
EVEN = {"must": [{"key": "parity", "match": {"value": "even"}}]}
EVENS = {i for i in IDS if i % 2 == 0}


def post(path: str, body: Json) -> Write:
    """A write by POST, as a function of caller and collection."""
    return lambda rest, c: rest.ok("POST", f"/collections/{c}{path}?wait=true", body)


def put(path: str, body: Json) -> Write:
    """A write by PUT, as a function of caller and collection."""
    return lambda rest, c: rest.ok("PUT", f"/collections/{c}{path}?wait=true", body)


# What is written, and which points that changes (deleted points: see below).
CHANGES: dict[str, tuple[Write, set[int]]] = {
    "upsert": (put("/points", {"points": [{"id": 3, "vector": [9, 9, 9, 9]}]}), {3}),
    "upsert of the same content": (
        put("/points", {"points": [{"id": 4, "vector": [4, 1, 0, 2], "payload": {"n": 4, "parity": "even"}}]}),
        {4},
    ),
    "upsert as a batch": (
        put("/points", {"batch": {"ids": [5, 6], "vectors": [[1, 0, 0, 0], [0, 1, 0, 0]]}}),
        {5, 6},
    ),
    "set payload": (post("/points/payload", {"payload": {"x": 1}, "points": [7, 8]}), {7, 8}),
    "set payload by filter": (post("/points/payload", {"payload": {"x": 1}, "filter": EVEN}), EVENS),
    "set payload at a key": (post("/points/payload", {"payload": {"y": 1}, "points": [7], "key": "deep"}), {7}),
    "overwrite payload": (put("/points/payload", {"payload": {"x": 1}, "points": [9]}), {9}),
    "delete payload": (post("/points/payload/delete", {"keys": ["n"], "points": [10]}), {10}),
    "clear payload": (post("/points/payload/clear", {"points": [11]}), {11}),
    "update vectors": (put("/points/vectors", {"points": [{"id": 12, "vector": [1, 2, 3, 4]}]}), {12}),
    "several operations": (
        post(
            "/points/batch",
            {
                "operations": [
                    {"set_payload": {"payload": {"x": 2}, "points": [13]}},
                    {"upsert": {"points": [{"id": 14, "vector": [1, 1, 1, 1]}]}},
                ]
            },
        ),
        {13, 14},
    ),
}


@pytest.fixture(scope="module", params=[1, 3], ids=["one shard", "three shards"])
def shared(request: Any, new_shared_collection: Callable[..., str]) -> str:
    return new_shared_collection(shard_number=request.param)


@pytest.fixture
def filled(rest: Rest, shared: str) -> str:
    """Twenty points: `n` is the id, `parity` even or odd."""
    rest.empty(shared)
    points = [
        {"id": i, "vector": [i, 1, 0, 2], "payload": {"n": i, "parity": "odd" if i % 2 else "even"}} for i in IDS
    ]
    rest.upsert(shared, points)
    return shared


@pytest.mark.parametrize(("write", "changed"), CHANGES.values(), ids=CHANGES)
def test_a_change_moves_the_version_of_exactly_the_changed_points(
    rest: Rest, filled: str, write: Write, changed: set[int]
) -> None:
    before = rest.versions(filled, IDS, PROBE)
    write(rest, filled)
    after = rest.versions(filled, IDS, PROBE)
    assert {i for i in IDS if after[i] != before[i]} == changed
    assert all(after[i] > before[i] for i in changed)


@pytest.mark.parametrize(
    ("selector", "gone"),
    [({"points": [2, 5]}, {2, 5}), ({"filter": EVEN}, EVENS)],
    ids=["by id", "by filter"],
)
def test_a_deleted_point_is_gone_and_the_others_stay_as_they_were(
    rest: Rest, filled: str, selector: Json, gone: set[int]
) -> None:
    before = rest.versions(filled, IDS, PROBE)
    post("/points/delete", selector)(rest, filled)
    assert rest.versions(filled, IDS, PROBE) == {i: v for i, v in before.items() if i not in gone}


def test_a_point_deleted_and_written_again_has_a_new_version(rest: Rest, filled: str) -> None:
    before = rest.versions(filled, [2], PROBE)
    rest.delete(filled, 2)
    rest.upsert(filled, [{"id": 2, "vector": [2, 1, 0, 2], "payload": {"n": 2, "parity": "even"}}])
    assert rest.versions(filled, [2], PROBE)[2] > before[2]


def test_deleting_a_named_vector_moves_the_version(rest: Rest, new_collection: Callable[..., str]) -> None:
    vectors = {"kept": {"size": 2, "distance": "Dot"}, "dropped": {"size": 2, "distance": "Dot"}}
    c = new_collection(vectors=vectors)
    rest.upsert(c, [{"id": i, "vector": {"kept": [1, i], "dropped": [i, 1]}} for i in (1, 2)])
    before = rest.versions(c, [1, 2], [1, 1], using="kept")
    post("/points/vectors/delete", {"points": [1], "vector": ["dropped"]})(rest, c)
    after = rest.versions(c, [1, 2], [1, 1], using="kept")
    assert after[1] > before[1]
    assert after[2] == before[2]


@pytest.mark.parametrize(
    "options",
    [{"update_mode": "insert_only"}, {"update_filter": {"must": [{"key": "n", "match": {"value": -1}}]}}],
    ids=["insert_only", "update_filter"],
)
def test_a_point_that_a_condition_skipped_keeps_its_version(rest: Rest, filled: str, options: Json) -> None:
    before = rest.versions(filled, IDS, PROBE)
    rest.upsert(filled, [{"id": i, "vector": [5, 5, 5, 5]} for i in (1, 99)], **options)
    after = rest.versions(filled, [*IDS, 99], PROBE)
    assert after.pop(99) > 0
    assert after == before


def test_reads_and_settings_move_nothing(rest: Rest, filled: str) -> None:
    before = rest.versions(filled, IDS, PROBE)
    rest.scroll(filled, limit=5, with_vector=True)
    rest.index(filled, "parity", "keyword")
    rest.patch(filled, metadata={"seen": True}, hnsw_config={"m": 8})
    assert rest.versions(filled, IDS, PROBE) == before


def test_a_page_of_ids_answers_exactly_that_page(rest: Rest, filled: str) -> None:
    """Absent ids are absent from the answer, and nothing else comes with it."""
    assert rest.versions(filled, [1, 3, 777], PROBE).keys() == {1, 3}


def test_a_query_that_scores_nothing_gives_no_version(rest: Rest, filled: str) -> None:
    scrolled = rest.ok("POST", f"/collections/{filled}/points/query", {"limit": 3})["points"]
    assert [point["version"] for point in scrolled] == [0, 0, 0]
