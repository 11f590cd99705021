"""The checks of verification on two collections in memory: what must not count against green, and what must.

A test may change a collection between two calls of a check, as an application does that goes on writing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from teal.domain.tuning import Tuning
from teal.domain.verdict import Check, Verdict
from teal.migration.copying.scratch import Scratch
from teal.migration.verification import content, ids, indexes, search, vectors
from teal.migration.verification.comparison import Comparison, Side
from teal.migration.verification.known import listed
from teal.qdrant import wire
from teal.qdrant.endpoint import Endpoint
from teal.qdrant.points import Hit
from teal.qdrant.pool import Server
from teal.qdrant.wire import RawId
from tests.unit.migration.fake_qdrant import Effect, FakeQdrant, Stored, server_of
from tests.unit.qdrant.test_wire import entries

BLUE, GREEN = "blue", "green"
SIDES = (BLUE, GREEN)
SIZE = 4
ROW = (0.5, 0.5, 0.5, 0.5)
SCRATCH = Scratch()

Meanwhile = Callable[[str, int], None]
"""Called with the name of a call and how often it was made before, right before the server answers it."""


def stored(row: tuple[float, ...] | None = ROW, **payload: Any) -> Stored:
    vector = wire.dense_vectors([row])[0] if row else wire.NO_VECTORS
    return Stored(tuple(entries(payload)), vector)


class Pair:
    """Blue and green, both empty at first, and what happens while they are compared."""

    def __init__(self, distance: str = "Cosine", datatype: str = "float32") -> None:
        self.qdrant = FakeQdrant(lambda: 0.0)
        self.meanwhile: Meanwhile = lambda *_: None
        self._calls: dict[str, int] = {}
        body = {"vectors": {"size": SIZE, "distance": distance, "datatype": datatype}}
        for name in SIDES:
            self.qdrant._create(name, body)
        make = server_of(self.qdrant, self._carry, lambda: 0.0)
        self.server: Server = make(Endpoint("http://qdrant:6333"))

    async def _carry(self, kind: str, _: bool, effect: Effect[Any]) -> Any:
        before = self._calls.get(kind, 0)
        self._calls[kind] = before + 1
        self.meanwhile(kind, before)
        return effect()

    def put(self, *names: str, **points: Stored | None) -> None:
        """Write points `p1`, `p2`, …; None deletes one. In that order, so that each has a version of its own."""
        for name in names:
            for point, each in points.items():
                self.qdrant.write(name, {raw(int(point[1:])): each})

    async def comparison(self, **changes: Any) -> Comparison:
        """What is compared after a copy. Only what happens afterwards is `meanwhile`."""
        blue, green = (Side(self.server, self.qdrant.state(name)) for name in SIDES)
        known = await listed(self.server, blue.state, SCRATCH)
        self._calls.clear()
        return Comparison(**{"blue": blue, "green": green, "known": known, "same_vectors": True, **changes})


def raw(point: int) -> RawId:
    return wire.raw_id(point)


def one(found: list[Check], name: str) -> Check:
    return next(check for check in found if check.name == name)


# Content


async def test_points_that_are_all_being_written_decide_nothing() -> None:
    pair = Pair()
    pair.put(*SIDES, p1=stored(n=1), p2=stored(n=2))
    comparison = await pair.comparison()
    pair.put(BLUE, p1=stored(n=-1), p2=stored(n=-2))
    for found in (await content.content(comparison), await content.payloads(comparison)):
        assert [check.verdict for check in found] == [Verdict.ERROR]
        assert "comparing again" in found[0].message


async def test_what_is_written_before_or_during_the_second_look_is_left_out() -> None:
    pair = Pair()
    pair.put(*SIDES, p1=stored(n=1), p2=stored(n=2), p3=stored(n=3), p4=stored(n=4))
    pair.put(GREEN, p2=stored(n=-2), p3=stored(n=-3))
    comparison = await pair.comparison()
    pair.put(BLUE, p1=stored(n=-1))

    def during_the_second_look(kind: str, before: int) -> None:
        if (kind, before) == ("get", 2):
            pair.put(BLUE, p2=stored(n=-20))

    pair.meanwhile = during_the_second_look
    (found,) = await content.payloads(comparison)
    assert (found.verdict, found.samples) == (Verdict.FAILED, ("3",))
    assert found.message.startswith("1 of 2 payloads differ")


# Counts


@pytest.mark.parametrize("writes", [1, 100], ids=["once", "all the time"])
async def test_a_writer_makes_no_count_wrong(writes: int) -> None:
    """With dual writes, points come to green between its listing and its count."""
    pair = Pair()
    pair.put(*SIDES, p1=stored(), p2=stored())
    comparison = await pair.comparison()

    def between_listing_and_count(kind: str, before: int) -> None:
        if kind == "count" and before < writes:
            pair.put(*SIDES, **{f"p{10 + before}": stored()})

    pair.meanwhile = between_listing_and_count
    found = one(await ids.parity(comparison), "Counts")
    assert found.verdict is Verdict.PASSED, found.message


async def test_points_that_live_only_while_ids_are_listed_make_no_count_wrong() -> None:
    pair = Pair()
    pair.put(*SIDES, p1=stored(), p2=stored())
    comparison = await pair.comparison()

    def in_the_first_listing(kind: str, before: int) -> None:
        if (kind, before) == ("versions", 0):
            pair.put(GREEN, p3=stored(), p4=stored(), p5=stored())
        if (kind, before) == ("count", 1):
            pair.put(GREEN, p3=None, p4=None, p5=None)

    pair.meanwhile = in_the_first_listing
    found = one(await ids.parity(comparison), "Counts")
    assert found.verdict is Verdict.PASSED, found.message


async def test_a_server_that_lists_less_than_it_counts_is_found_out() -> None:
    pair = Pair()
    pair.put(*SIDES, p1=stored(), p2=stored())
    comparison = await pair.comparison()
    told = comparison.green.admin.count

    async def one_more(name: str, **given: Any) -> int:
        return await told(name, **given) + 1

    comparison.green.admin.count = one_more  # type: ignore[method-assign]
    found = one(await ids.parity(comparison), "Counts")
    assert (found.verdict, found.observed, found.threshold) == (Verdict.FAILED, 3.0, 2.0)


# Indexes


@pytest.mark.parametrize(
    ("declared", "verdict"), [({}, Verdict.FAILED), ({"indexing_threshold": 0}, Verdict.PASSED)]
)
async def test_no_index_is_as_declared_or_was_never_switched_on(
    declared: dict[str, int], verdict: Verdict
) -> None:
    pair = Pair()
    pair.put(*SIDES, p1=stored())
    pair.qdrant.model.patch(GREEN, {"optimizers_config": {"indexing_threshold": 0}})
    comparison = await pair.comparison(tuning=Tuning({"optimizers_config": declared}, {}))
    comparison.blue = replace(comparison.blue, state=replace(comparison.blue.state, indexed_vectors=1))
    (found,) = await indexes.completeness(comparison)
    assert found.verdict is verdict


# Searches


def index_without(pair: Pair, hidden: dict[str, set[int]]) -> None:
    """Both indexes lose points: only an exact search finds those."""
    real = pair.server.points.query

    async def query(collection: str, row: Any, limit: int, *, exact: bool = False, **options: Any) -> list[Hit]:
        hits = await real(collection, row, limit, exact=exact, **options)
        lost = set() if exact else {raw(each) for each in hidden[collection]}
        return [hit for hit in hits if hit.id not in lost]

    pair.server.points.query = query  # type: ignore[method-assign, assignment]


def scattered(count: int) -> dict[str, Stored]:
    """Unit vectors in directions of their own."""
    rows = np.random.default_rng(1).normal(size=(count, SIZE))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return {f"p{n}": stored(tuple(row.tolist())) for n, row in enumerate(rows)}


@pytest.mark.parametrize(
    ("lost_by_blue", "verdict", "on_blue"),
    [
        (range(5), Verdict.PASSED, "75%"),
        (range(4), Verdict.PASSED, "80%"),
        (range(3), Verdict.FAILED, "85%"),
        ((), Verdict.FAILED, "100%"),
    ],
)
async def test_an_index_needs_to_be_no_better_than_blues(
    lost_by_blue: range, verdict: Verdict, on_blue: str
) -> None:
    """By the margin: green's finds three quarters of its points."""
    pair = Pair()
    pair.put(*SIDES, **scattered(20))
    index_without(pair, {GREEN: set(range(5)), BLUE: set(lost_by_blue)})
    (found,) = await search.self_recall(await pair.comparison())
    assert found.verdict is verdict
    assert (
        found.message == f"15 of 20 sampled points are among the first 10 for their own vector; {on_blue} on blue"
    )


@pytest.mark.parametrize(("points", "usable"), [(14, 10), (12, 10), (10, 10)])
async def test_points_that_no_search_can_find_are_no_queries(points: int, usable: int) -> None:
    """By Dot, longer vectors are nearer to a vector than the vector is to itself."""
    pair = Pair("Dot")
    pair.put(*SIDES, **{f"p{n}": stored((float(n), 0.0, 0.0, 0.0)) for n in range(1, points + 1)})
    (found,) = await search.self_recall(await pair.comparison())
    assert found.verdict is Verdict.PASSED
    assert found.message.startswith(f"{usable} of {usable} sampled points")


# Vectors


async def test_a_point_without_a_vector_that_blue_has_lost_meanwhile_is_not_missing_one() -> None:
    pair = Pair()
    pair.put(*SIDES, p1=stored(), p2=stored(None))
    comparison = await pair.comparison()
    pair.put(BLUE, p2=None)
    (found,) = await vectors.presence(comparison)
    assert (found.verdict, found.observed, found.threshold) == (Verdict.PASSED, 0.0, 0.0)
    pair.put(GREEN, p1=stored(None))
    (found,) = await vectors.presence(comparison)
    assert (found.verdict, found.samples) == (Verdict.FAILED, ("1",))


@pytest.mark.parametrize("datatype", ["float32", "uint8"])
@pytest.mark.parametrize("distance", ["Cosine", "Dot"])
async def test_a_zero_vector_is_found_in_every_datatype(distance: str, datatype: str) -> None:
    """A server turns the query into integers too, so one of fractions would be zero and score nothing else."""
    pair = Pair(distance, datatype)
    pair.put(*SIDES, p1=stored((3.0, 0.0, 0.0, 0.0)), p2=stored((0.0, 0.0, 0.0, 1.0)))
    pair.put(GREEN, p2=stored((0.0, 0.0, 0.0, 0.0)))
    read: list[RawId] = []
    comparison = await pair.comparison()
    fetch = pair.server.points.fetch

    async def watched(name: str, ids: Any, **options: Any) -> Any:
        read.extend(ids)
        return await fetch(name, ids, **options)

    pair.server.points.fetch = watched  # type: ignore[method-assign]
    (found,) = await vectors.sanity(comparison)
    assert (found.verdict, found.samples) == (Verdict.FAILED, ("2",))
    assert set(read) == {raw(2)}
