"""An equal pair passes every check; one thing broken fails the check that is about it, and names who shows it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from teal.domain.quality import JudgedQuery
from teal.domain.verdict import Verdict, overall
from teal.migration.clock import Clock
from teal.migration.verification import apart, content, encoder, judged, latency, search, tenants, vectors
from teal.migration.verification.comparison import Comparison, Gates, Side, SideEncoders
from teal.qdrant import wire
from tests.integration.verification.support import (
    INDEXED,
    POINTS,
    SIZE,
    FakeEncoder,
    Pair,
    Tampered,
    checks,
    failed,
    payload_of,
    text_of,
    vector_of,
)
from tests.plugins.qdrant import Qdrant

ODD = [float("nan")] * SIZE
ZERO = [0.0] * SIZE
ENCODERS = SideEncoders(FakeEncoder(), FakeEncoder(), "text")


async def test_an_equal_pair_passes(pair: Pair) -> None:
    async def queries() -> list[JudgedQuery]:
        return [JudgedQuery(text_of(7), (7,), 10)]

    comparison = await pair.comparison(encoders=ENCODERS, judged=queries, gates=Gates(1.0, 0.9, 0.9, 1000.0))
    found = await checks(comparison)
    assert failed(found) == {}
    assert overall(found.values()) is Verdict.PASSED
    assert set(found) == {
        "IdParity", "Counts", "Tenants(tenant)", "Vectors", "VectorSanity", "Content", "Payloads", "Configuration",
        "PayloadIndexes", "Index", "SelfRecall", "Overlap", "Recall", "NDCG", "Encoder", "Latency",
    }  # fmt: skip
    assert found["Payloads"].message == f"0 of {POINTS} payloads differ (all {POINTS} points)"


# Ids and tenants


async def test_a_missing_point(pair: Pair) -> None:
    await pair.server.points.delete(pair.green, [wire.raw_id(7)])
    found = await checks(await pair.comparison())
    assert failed(found) == {"IdParity": ("7",), "Tenants(tenant)": ("t7",)}
    assert found["Tenants(tenant)"].message.endswith("t7: 50 on blue, 49 on green")


async def test_some_may_be_missing_where_the_spec_says_so(pair: Pair) -> None:
    await pair.server.points.delete(pair.green, [wire.raw_id(7)])
    assert failed(await checks(await pair.comparison(gates=Gates(min_coverage=0.99)))) == {}


async def test_a_point_too_many(pair: Pair) -> None:
    await pair.put(pair.green, {"id": 9999, "vector": [1.0] * SIZE, "payload": {}})
    assert failed(await checks(await pair.comparison())) == {"IdParity": ("9999",)}


async def test_a_missing_tenant(pair: Pair) -> None:
    tenant = {"filter": {"must": [{"key": "tenant", "match": {"value": "t3"}}]}}
    await pair.write("POST", pair.green, "points/delete", tenant)
    found = failed(await checks(await pair.comparison()))
    assert found == {"IdParity": tuple(str(n) for n in range(3, 83, 8)), "Tenants(tenant)": ("t3",)}


async def test_too_many_tenants_to_count_are_not_compared(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenants, "VALUES", 7)
    (found,) = await tenants.parity(await pair.comparison())
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "more than 7 values" in found.message


# Content


@pytest.mark.parametrize(
    "changes",
    [{"n": 0.5}, {"new": []}, {"nested": {"b": {"x": 1, "y": [1, {"p": 5, "q": 0}]}, "a": "z"}}],
    ids=["a value", "a field more", "deep inside"],
)
@pytest.mark.parametrize("sample", [1000, 0])
async def test_an_altered_payload(pair: Pair, changes: dict[str, Any], sample: int) -> None:
    await pair.write("POST", pair.green, "points/payload", {"payload": changes, "points": [5]})
    found = failed(await checks(await pair.comparison(sample=sample)))
    assert found == {"Payloads": ("5",)} | ({"Content": ("5",)} if sample else {})


async def test_the_order_of_maps_is_no_difference(pair: Pair) -> None:
    backwards = _reversed(payload_of(5))
    assert list(backwards["nested"]) == ["a", "b"]
    await pair.put(pair.green, {"id": 5, "vector": vector_of(text_of(5)).tolist(), "payload": backwards})
    assert failed(await checks(await pair.comparison())) == {}


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reversed(each) for key, each in reversed(value.items())}
    return [_reversed(each) for each in value] if isinstance(value, list) else value


async def test_large_collections_are_sampled_and_say_so(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "EVERY_POINT", 100)
    (found,) = await content.payloads(await pair.comparison())
    assert found.message == f"0 of 100 payloads differ (100 of {POINTS} points, sampled)"


async def test_an_altered_vector(pair: Pair) -> None:
    await pair.revector(pair.green, 5, vector_of("another text").tolist())
    assert failed(await checks(await pair.comparison())) == {"Content": ("5",)}


@pytest.mark.parametrize("row", [ODD, ZERO], ids=["not a number", "zero"])
@pytest.mark.parametrize("sample", [1000, 0])
async def test_a_vector_that_is_none(pair: Pair, row: list[float], sample: int) -> None:
    await pair.revector(pair.green, 5, row)
    found = failed(await checks(await pair.comparison(sample=sample)))
    assert found == {"VectorSanity": ("5",)} | ({"Content": ("5",)} if sample else {})


async def test_a_missing_vector(pair: Pair) -> None:
    await pair.revector(pair.green, 5, None)
    found = failed(await checks(await pair.comparison()))
    assert found == {"Vectors": ("5",), "Content": ("5",)}


async def test_a_zero_vector_that_was_copied_is_as_it_should_be(pair: Pair) -> None:
    for name in (pair.blue, pair.green):
        await pair.revector(name, 5, ZERO)
    (found,) = await vectors.sanity(await pair.comparison())
    assert found.verdict is Verdict.PASSED
    (found,) = await vectors.sanity(await pair.comparison(same_vectors=False))
    assert found.samples == ("5",)
    await pair.revector(pair.blue, 5, vector_of(text_of(5)).tolist())


async def test_vectors_of_length_1_are_nothing_in_uint8(pair: Pair, prefix: str) -> None:
    """Their elements are below 1, and Qdrant truncates them to zeros."""
    pair.green = f"{prefix}integers"
    await pair.create(pair.green, {"vectors": {"size": SIZE, "distance": "Dot", "datatype": "uint8"}})
    (found,) = await vectors.sanity(await pair.comparison())
    assert (found.verdict, found.observed) == (Verdict.FAILED, POINTS)


async def test_what_is_written_to_blue_meanwhile_is_no_difference(pair: Pair) -> None:
    comparison = await pair.comparison(encoders=ENCODERS)
    await pair.write("POST", pair.blue, "points/payload", {"payload": {"tenant": "t0"}, "points": [5, 6]})
    await pair.put(pair.blue, *({"id": 1000 + n, "vector": vector_of(f"new {n}").tolist()} for n in range(60)))
    await pair.server.points.delete(pair.blue, [wire.raw_id(n) for n in range(100, 110)])
    found = await checks(comparison)
    assert failed(found) == {}
    assert found["Payloads"].message.startswith(f"0 of {POINTS - 2} payloads differ")
    assert found["Tenants(tenant)"].observed == 1.0


async def test_what_is_written_to_blue_during_the_searches_is_no_difference(pair: Pair) -> None:
    comparison, added = await pair.comparison(), itertools.count(1000)

    async def busy(collection: str, vector: Any, limit: int, **options: Any) -> Any:
        await pair.put(pair.blue, *({"id": next(added), "vector": vector.tolist()} for _ in range(5)))
        return await pair.server.points.query(collection, vector, limit, **options)

    comparison.blue = Side(Tampered(pair.server, query=busy), comparison.blue.state)  # type: ignore[arg-type]
    (found,) = await search.overlap(comparison)
    assert found.verdict is Verdict.PASSED
    assert found.observed == 1.0


class Momentary:
    """A server on which points are born right before it is asked about a collection, and deleted right after."""

    def __init__(self, pair: Pair, name: str, **point: Any) -> None:
        self._pair, self._name, self._point = pair, name, point
        self._ids = itertools.count(1000)
        admin = {call: self._asked(getattr(pair.server.admin, call)) for call in ("facet", "count")}
        self.server: Any = Tampered(
            pair.server, admin, query=self._asked(pair.server.points.query), ids=self._listed
        )

    def _asked(self, real: Any) -> Any:
        async def ask(name: str, /, *given: Any, **options: Any) -> Any:
            near = given[0].tolist() if given and isinstance(given[0], np.ndarray) else None
            born = await self._born(near)
            answer = await real(name, *given, **options)
            await self._pair.server.points.delete(self._name, born)
            return answer

        return ask

    async def _listed(self, name: str, /, *given: Any, **options: Any) -> Any:
        born = await self._born(None)
        pages = [page async for page in self._pair.server.points.ids(name, *given, **options)]
        await self._pair.server.points.delete(self._name, born)
        for page in pages:
            yield page

    async def _born(self, near: Any) -> list[bytes]:
        """Five points, all of them where the search looks."""
        ids = [next(self._ids) for _ in range(5)]
        points = [{"vector": near or vector_of(f"new {n}").tolist(), **self._point, "id": n} for n in ids]
        await self._pair.put(self._name, *points)
        return [wire.raw_id(n) for n in ids]


async def test_what_lives_only_while_blue_is_searched_is_no_difference(pair: Pair) -> None:
    comparison = await pair.comparison()
    comparison.blue = Side(Momentary(pair, pair.blue).server, comparison.blue.state)
    (found,) = await search.overlap(comparison)
    assert (found.verdict, found.observed) == (Verdict.PASSED, 1.0), found.message


async def test_what_lives_only_while_tenants_are_counted_is_no_difference(pair: Pair) -> None:
    comparison = await pair.comparison()
    comparison.blue = Side(Momentary(pair, pair.blue).server, comparison.blue.state)
    (found,) = await tenants.parity(comparison)
    assert (found.verdict, found.observed) == (Verdict.PASSED, 1.0), found.message
    await pair.server.points.delete(pair.green, [wire.raw_id(7)])
    (found,) = await tenants.parity(comparison)
    assert (found.verdict, found.samples) == (Verdict.FAILED, ("t7",))


async def test_what_lives_only_while_vectors_are_counted_is_no_difference(pair: Pair) -> None:
    """With dual writes, green has it, too."""
    comparison = await pair.comparison()
    comparison.green = Side(Momentary(pair, pair.green, vector={}).server, comparison.green.state)
    (found,) = await vectors.presence(comparison)
    assert (found.verdict, found.observed) == (Verdict.PASSED, 0.0), found.message
    await pair.revector(pair.green, 5, None)
    (found,) = await vectors.presence(comparison)
    assert (found.verdict, found.observed, found.samples) == (Verdict.FAILED, 1.0, ("5",))


async def test_what_blue_loses_while_vectors_are_counted_is_no_difference(pair: Pair) -> None:
    """A point without its vector on both sides, which blue loses after the look at what has moved."""
    for name in (pair.blue, pair.green):
        await pair.revector(name, 5, None)
    comparison, told = await pair.comparison(), pair.server.admin.count

    async def count(name: str, **given: Any) -> int:
        if name == pair.blue:
            await pair.server.points.delete(pair.blue, [wire.raw_id(5)])
        return await told(name, **given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair.server.admin, "count", count)
        (found,) = await vectors.presence(comparison)
        assert found.verdict is Verdict.PASSED, found.message
        await pair.revector(pair.green, 6, None)
        (found,) = await vectors.presence(comparison)
    assert found.samples == ("6",)


@pytest.mark.parametrize("moved", [0, 1])
async def test_more_points_than_can_be_asked_about(
    pair: Pair, moved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has moved makes the others doubtful; if none has, it was no writer."""
    comparison = await pair.comparison()
    monkeypatch.setattr(apart, "CONFIRMED", 1)
    if moved:
        await pair.server.points.delete(pair.blue, [wire.raw_id(n) for n in range(40)])
    else:
        await pair.server.points.delete(pair.green, [wire.raw_id(n) for n in range(40)])
    (found,) = await tenants.parity(comparison)
    assert found.verdict is (Verdict.INCONCLUSIVE if moved else Verdict.FAILED), found.message


@pytest.mark.parametrize(
    ("stand_still", "verdict"), [(2, Verdict.PASSED), (4, Verdict.PASSED), (POINTS, Verdict.INCONCLUSIVE)]
)
async def test_most_of_blue_is_written_to_meanwhile(pair: Pair, stand_still: int, verdict: Verdict) -> None:
    """What has moved fills green's answers, and hides there what has not."""
    comparison = await pair.comparison()
    written = [n for n in range(POINTS) if n % stand_still]
    others = {n: vector_of(text_of(n), salt=1).tolist() for n in written}
    await pair.put(pair.blue, *({"id": n, "vector": v, "payload": {"n": -n}} for n, v in others.items()))
    (found,) = await search.overlap(comparison)
    assert found.verdict is verdict, found.message


# Indexes


async def test_a_missing_payload_index(pair: Pair) -> None:
    comparison = await pair.comparison()
    await pair.server.admin.delete_index(pair.green, "tenant")
    try:
        found = await checks(await pair.comparison(tuning=comparison.tuning))
    finally:
        await pair.server.admin.create_index(pair.green, "tenant", {"type": "keyword", "is_tenant": True})
    assert failed(found) == {"PayloadIndexes": ("tenant",)}
    assert found["Tenants(tenant)"].verdict is Verdict.INCONCLUSIVE


async def test_a_setting_that_is_not_as_planned(pair: Pair) -> None:
    comparison = await pair.comparison()
    sections = {**comparison.tuning.sections, "hnsw_config": {"m": 33}}
    comparison.tuning = type(comparison.tuning)(sections, comparison.tuning.indexes)
    found = await checks(comparison)
    assert failed(found) == {"Configuration": ()}
    assert found["Configuration"].message == "hnsw_config.m: 16 → 33"


async def test_an_index_that_was_never_built(pair: Pair, prefix: str) -> None:
    pair.green = f"{prefix}unindexed"
    await pair.create(pair.green, {**INDEXED, "optimizers_config": {"indexing_threshold": 0}})
    comparison = await pair.comparison()
    sections = {k: v for k, v in comparison.tuning.sections.items() if k != "optimizers_config"}
    comparison.tuning = type(comparison.tuning)(sections, comparison.tuning.indexes)
    assert failed(await checks(comparison)) == {"Index": ()}


# Searches


async def test_a_broken_graph(pair: Pair) -> None:
    real = pair.server.points

    async def query(*given: Any, exact: bool = False, **more: Any) -> Any:
        hits = await real.query(*given, exact=exact, **more)
        return hits if exact else hits[len(hits) // 2 :]

    comparison = await pair.comparison()
    comparison.green = Side(Tampered(pair.server, query=query), comparison.green.state)  # type: ignore[arg-type]
    found = await checks(comparison)
    assert set(failed(found)) == {"SelfRecall", "Overlap"}
    assert len(found["SelfRecall"].samples) == 10
    assert found["Overlap"].message.endswith("its index finds less than it holds")


async def test_other_vectors_find_other_points(pair: Pair, prefix: str) -> None:
    pair.green = f"{prefix}other"
    await pair.create(pair.green, salt=1)
    (found,) = await search.overlap(await pair.comparison())
    assert found.verdict is Verdict.FAILED
    assert found.message.endswith("it does not hold the same vectors")
    (found,) = await search.overlap(await pair.comparison(same_vectors=False))
    assert (found.name, found.verdict) == ("Drift", Verdict.PASSED)


@pytest.mark.parametrize(
    ("distance", "gate", "verdict"),
    [
        ("Dot", None, Verdict.PASSED),
        ("Euclid", 0.99, Verdict.PASSED),
        ("Manhattan", 0.99, Verdict.INCONCLUSIVE),
    ],
)
async def test_another_distance(
    pair: Pair, prefix: str, distance: str, gate: float | None, verdict: Verdict
) -> None:
    """Unit vectors rank the same by Cosine, Dot and Euclid; by Manhattan not, and nobody is to blame."""
    pair.green = f"{prefix}distance"
    await pair.create(pair.green, {**INDEXED, "vectors": {"size": SIZE, "distance": distance}})
    (found,) = await search.overlap(await pair.comparison(gates=Gates(min_overlap=gate)))
    assert found.verdict is verdict
    assert found.gate is (gate is not None)


async def test_too_few_points_to_search_by(pair: Pair) -> None:
    comparison = await pair.comparison(sample=2, gates=Gates(min_overlap=0.9))
    assert [c.verdict for c in await search.self_recall(comparison)] == [Verdict.INCONCLUSIVE]
    (found,) = await search.overlap(comparison)
    assert overall([found]) is Verdict.INCONCLUSIVE


# Encoders


async def test_an_encoder_that_has_become_another(pair: Pair) -> None:
    changed = SideEncoders(FakeEncoder(1), FakeEncoder(1), "text")
    found = await checks(await pair.comparison(encoders=changed))
    assert set(failed(found)) == {"Encoder"}
    assert len(found["Encoder"].samples) == 10
    anew = SideEncoders(FakeEncoder(1), FakeEncoder(), "text")
    found = await checks(await pair.comparison(encoders=anew, same_vectors=False))
    assert found["Encoder"].verdict is Verdict.INCONCLUSIVE
    assert found["Embeddings"].verdict is Verdict.PASSED
    assert overall(found.values()) is Verdict.PASSED


async def test_vectors_that_greens_encoder_does_not_make(pair: Pair) -> None:
    """One is enough: Teal made all of them a short time ago. What is written to blue meanwhile does not count."""
    encoders = SideEncoders(None, FakeEncoder(), "text")
    await pair.revector(pair.green, 5, vector_of("nonsense").tolist())
    comparison = await pair.comparison(encoders=encoders, same_vectors=False, sample=1000)

    async def some(count: int) -> list[bytes]:
        return [wire.raw_id(n) for n in range(1, count + 1)]

    comparison.known.sampled = some  # type: ignore[method-assign]
    (found,) = await encoder.remade(comparison)
    assert (found.verdict, found.samples) == (Verdict.FAILED, ("5",))
    await pair.write("POST", pair.blue, "points/payload", {"payload": {"text": "edited"}, "points": [5]})
    (found,) = await encoder.remade(comparison)
    assert found.verdict is Verdict.PASSED


async def test_judged_queries(pair: Pair) -> None:
    comparison = await pair.comparison(encoders=ENCODERS, gates=Gates(min_recall=0.9))

    def asking(*queries: JudgedQuery) -> Comparison:
        async def read() -> list[JudgedQuery]:
            return list(queries)

        comparison.judged = read
        return comparison

    good, bad = JudgedQuery(text_of(3), (3,), 1), JudgedQuery("nothing of the kind", (4,), 1)
    gone = JudgedQuery(text_of(5), (77_777,), 1)
    recall, ndcg = await judged.recall(asking(good, gone))
    assert (recall.verdict, recall.observed, ndcg.observed) == (Verdict.PASSED, 1.0, 1.0)
    assert recall.message.endswith("(1.000 on blue); 1 queries left out, their relevant points are gone")
    recall, _ = await judged.recall(asking(good, bad))
    assert (recall.verdict, recall.observed, recall.samples) == (Verdict.FAILED, 0.5, ("nothing of the kind",))
    (nothing,) = await judged.recall(asking(gone))
    assert overall([nothing]) is Verdict.INCONCLUSIVE


# Latency


class SetClock(Clock):
    """Time passes only where a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.mark.parametrize(
    ("blue", "green", "gate", "verdict"),
    [
        (0.004, 0.004, None, Verdict.PASSED),
        (0.004, 0.020, None, Verdict.FAILED),
        (0.004, 0.020, 10.0, Verdict.PASSED),
        (0.0005, 0.0035, 2.0, Verdict.INCONCLUSIVE),
        (0.0005, 0.0200, None, Verdict.FAILED),
    ],
)
async def test_a_slow_green(pair: Pair, blue: float, green: float, gate: float | None, verdict: Verdict) -> None:
    clock, real = SetClock(), pair.server.points

    def taking(seconds: float) -> Any:
        async def query(*given: Any, **more: Any) -> Any:
            clock.seconds += seconds
            return await real.query(*given, **more)

        return Tampered(pair.server, query=query)

    comparison = await pair.comparison(clock=clock, gates=Gates(max_latency_ratio=gate))
    comparison.blue = Side(taking(blue), comparison.blue.state)
    comparison.green = Side(taking(green), comparison.green.state)
    (found,) = await latency.ratio(comparison)
    assert found.verdict is verdict
    assert found.observed == pytest.approx(green / blue)
    assert overall([found]) is not Verdict.INCONCLUSIVE


# When Qdrant does not answer


async def test_a_question_without_an_answer_is_asked_again(pair: Pair, qdrant: Qdrant) -> None:
    faults, comparison = qdrant.need_faults(), await pair.comparison()
    faults.faults(match="POST /collections/.*/facet", status=500, error="out of order")
    found = await checks(comparison)
    assert failed(found) == {"Tenants": ()}
    assert found["Tenants"].verdict is Verdict.ERROR
    assert overall(found.values()) is Verdict.ERROR
