"""Two live revisions: what is written to either reaches the other, as long as blue is retained.

Clients of kind (a) use `<alias>-<schemaVersion>`, and move when their own deployment moves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest

from devkit.embeddings import EmbeddingServer
from tests.integration.migration.encoders import NEW, OLD, embed
from tests.integration.migration.support import EngineHarness, Json, some_points
from tests.plugins.qdrant import Qdrant


@pytest.fixture
async def engine(qdrant: Qdrant, prefix: str) -> AsyncIterator[EngineHarness]:
    async with EngineHarness.start(qdrant, f"{prefix}docs", spec={"schemaVersion": "v1"}) as harness:
        yield harness


async def both_live(engine: EngineHarness, points: int = 60) -> tuple[str, str]:
    """Blue, which clients of v1 use, and green, which serves."""
    blue = await engine.declare(points)
    engine.edit(schemaVersion="v2")
    await engine.until_ready()
    await in_step(engine)
    assert engine.aliases()[f"{engine.alias}-v1"] == blue
    return blue, engine.serving()


async def in_step(engine: EngineHarness) -> Json:
    """A round later; what the status says of it."""
    engine.clock.advance(120)
    await engine.rest(3)
    found: Json = engine.migration["writes"]["inStep"]
    return found


def point(number: int, text: str) -> Json:
    (made,) = some_points(1, start=number, text=text)
    return made


async def test_what_is_written_to_one_reaches_the_other(engine: EngineHarness) -> None:
    blue, green = await both_live(engine)
    engine.put([point(1, "by v1"), point(101, "new by v1")], f"{engine.alias}-v1")
    engine.put([point(2, "by v2"), point(102, "new by v2")], f"{engine.alias}-v2")
    engine.delete([3], f"{engine.alias}-v1")
    engine.delete([4], f"{engine.alias}-v2")
    said = await in_step(engine)
    assert said == {
        "collection": blue,
        "lagSeconds": 0,
        "toServing": 3,
        "toRetained": 3,
        "conflicts": 0,
        "leftBehind": 0,
    }
    found = engine.payloads(green)
    assert engine.payloads(blue) == found
    assert {n: found[n]["text"] for n in (1, 2, 101, 102)} == {
        1: "by v1", 2: "by v2", 101: "new by v1", 102: "new by v2",
    }  # fmt: skip
    assert set(found) == {*range(1, 61), 101, 102} - {3, 4}


async def test_a_payload_that_changes_alone_goes_over_too(engine: EngineHarness) -> None:
    blue, green = await both_live(engine)
    path = f"/collections/{engine.alias}-v1/points/payload?wait=true"
    engine.call("POST", path, {"payload": {"seen": True}, "points": [7]})
    await in_step(engine)
    assert engine.points(green)[7]["payload"] == {**some_points(7)[6]["payload"], "seen": True}
    assert engine.points(green)[7]["vector"] == pytest.approx(engine.points(blue)[7]["vector"])


async def test_of_a_conflict_the_serving_side_wins_and_it_is_shown(engine: EngineHarness) -> None:
    blue, green = await both_live(engine)
    engine.put([point(5, "by v1")], f"{engine.alias}-v1")
    engine.put([point(5, "by v2")], f"{engine.alias}-v2")
    engine.put([point(6, "by v1")], f"{engine.alias}-v1")
    engine.delete([6], f"{engine.alias}-v2")
    said = await in_step(engine)
    assert (said["conflicts"], sorted(said["samples"])) == (2, ["5", "6"])
    assert engine.payloads(blue) == engine.payloads(green)
    assert engine.payloads(green)[5]["text"] == "by v2"
    assert 6 not in engine.payloads(green)


async def test_what_each_side_was_written_while_nobody_looked_meets_on_both(engine: EngineHarness) -> None:
    """After a restart only marks tell what both sides were: every write to either must survive it."""
    blue, green = await both_live(engine)
    for number in range(1, 31):
        engine.put([point(number, f"by v{number % 2 + 1}")], f"{engine.alias}-v{number % 2 + 1}")
    engine.delete([41], f"{engine.alias}-v1")
    engine.delete([42], f"{engine.alias}-v2")
    await engine.restart()
    said = await in_step(engine)
    assert said["conflicts"] == 0
    found = engine.payloads(green)
    assert engine.payloads(blue) == found
    assert [found[n]["text"] for n in range(1, 31)] == [f"by v{n % 2 + 1}" for n in range(1, 31)]
    assert found.keys() == {*range(1, 61)} - {41, 42}


async def test_a_rollback_leaves_both_in_step(engine: EngineHarness) -> None:
    blue, green = await both_live(engine)
    engine.put([point(1, "by v1")], f"{engine.alias}-v1")
    engine.put([point(2, "by v2")], f"{engine.alias}-v2")
    engine.delete([3], f"{engine.alias}-v1")
    engine.delete([4], f"{engine.alias}-v2")
    engine.annotate("rollback", engine.migration["id"])
    await engine.until_phase("Held")
    assert engine.serving() == blue
    assert [engine.payloads()[n]["text"] for n in (1, 2)] == ["by v1", "by v2"]
    await in_step(engine)
    assert engine.payloads(green) == engine.payloads(blue)
    assert engine.payloads(green).keys() == {*range(1, 61)} - {3, 4}


async def test_three_revisions_are_a_chain(engine: EngineHarness) -> None:
    """Who writes by the oldest is heard by the newest, and the other way round, deletions included."""
    blue, green = await both_live(engine)
    engine.edit(schemaVersion="v3")
    await engine.until_ready()
    for number in (1, 2, 3):
        engine.put([point(number, f"by v{number}"), point(100 + number, "new")], f"{engine.alias}-v{number}")
    engine.delete([11], f"{engine.alias}-v1")
    engine.delete([13], f"{engine.alias}-v3")
    await in_step(engine)
    await in_step(engine)
    found = engine.payloads()
    assert engine.serving() not in (blue, green)
    assert engine.payloads(blue) == engine.payloads(green) == found
    assert found.keys() == {*range(1, 61), 101, 102, 103} - {11, 13}
    assert [found[n]["text"] for n in (1, 2, 3)] == ["by v1", "by v2", "by v3"]


async def test_old_clients_are_heard_while_the_next_revision_is_made(engine: EngineHarness) -> None:
    blue, green = await both_live(engine)
    engine.edit(schemaVersion="v3", migration={"promotion": {"mode": "Manual"}})
    await engine.until_phase("AwaitingPromotion")
    engine.put([point(1, "by v1")], f"{engine.alias}-v1")
    engine.delete([2], f"{engine.alias}-v1")
    engine.clock.advance(30)
    await engine.until(lambda: engine.payloads(green) == engine.payloads(blue))
    engine.annotate("promote", engine.migration["planHash"])
    await engine.until_ready()
    assert engine.serving() not in (blue, green)
    assert engine.payloads() == engine.payloads(blue)
    assert engine.payloads()[1]["text"] == "by v1"
    assert 2 not in engine.payloads()


async def test_rest_costs_nothing(engine: EngineHarness) -> None:
    """Two sides at rest are not read again, whatever time passes."""
    _, green = await both_live(engine)
    marked = engine.marks(green)
    for _ in range(5):
        said = await in_step(engine)
    assert (said["toServing"], said["toRetained"]) == (0, 0)
    assert engine.marks(green) == marked


async def test_each_side_gets_the_vector_of_its_own_encoder(
    encoding: EngineHarness, encoders: EmbeddingServer
) -> None:
    await encoding.until_ready()
    texts = {n: f"a text about the number {n}" for n in range(1, 21)}
    vectors = embed(encoders, OLD, *texts.values())
    encoding.put(
        {"id": n, "vector": vector, "payload": {"text": texts[n]}}
        for n, vector in zip(texts, vectors, strict=True)
    )
    blue = encoding.serving()
    encoding.edit_embedding_set(schemaVersion="v2", dimensions=24, model=NEW)
    await encoding.until_ready()
    green = encoding.serving()
    (old,), (new,) = embed(encoders, OLD, "said by v1"), embed(encoders, NEW, "said by v2")
    encoding.put([{"id": 1, "vector": old, "payload": {"text": "said by v1"}}], f"{encoding.alias}-v1")
    encoding.put([{"id": 2, "vector": new, "payload": {"text": "said by v2"}}], f"{encoding.alias}-v2")
    said = await in_step(encoding)
    assert (said["toServing"], said["toRetained"], said["conflicts"]) == (1, 1, 0)
    assert encoding.payloads(blue) == encoding.payloads(green)
    (there,) = embed(encoders, NEW, "said by v1")
    (here,) = embed(encoders, OLD, "said by v2")
    assert encoding.points(green)[1]["vector"] == pytest.approx(there, abs=1e-4)
    assert encoding.points(blue)[2]["vector"] == pytest.approx(here, abs=1e-4)


@pytest.mark.parametrize("restarts", [True, False])
async def test_a_vector_of_another_length_goes_back(qdrant: Qdrant, prefix: str, restarts: bool) -> None:
    """By Dot it is another vector: it ranks higher."""
    spec = {"distance": "Dot", "schemaVersion": "v1"}
    async with EngineHarness.start(qdrant, f"{prefix}docs", spec=spec) as engine:
        blue = await engine.declare(40)
        engine.edit(schemaVersion="v2")
        await engine.until_ready()
        engine.clock.advance(120)
        await engine.rest(4)
        longer = [7 * value for value in engine.points(blue)[5]["vector"]]
        body = {"points": [{"id": 5, "vector": longer}]}
        engine.call("PUT", f"/collections/{engine.alias}/points/vectors?wait=true", body)
        if restarts:
            await engine.restart()
            engine.clock.advance(120)
            await engine.rest(4)
        engine.annotate("rollback", engine.migration["id"])
        await engine.until_phase("Held")
        assert engine.serving() == blue
        assert engine.points()[5]["vector"] == pytest.approx(longer)


async def test_a_multivector_with_more_rows_goes_over(qdrant: Qdrant, prefix: str) -> None:
    rows = {"name": "c", "dimensions": 4, "distance": "Cosine", "multivector": {"comparator": "max_sim"}}
    spec = {"dimensions": None, "distance": None, "schemaVersion": "v1", "vectors": [rows]}
    random = np.random.default_rng(1)

    def point(number: int, count: int) -> Json:
        return {"id": number, "vector": {"c": random.normal(size=(count, 4)).tolist()}, "payload": {"n": number}}

    async with EngineHarness.start(qdrant, f"{prefix}docs", spec=spec) as engine:
        await engine.until_ready()
        engine.put(point(number, 3) for number in range(1, 31))
        blue = engine.serving()
        engine.edit(schemaVersion="v2")
        await engine.until_ready()
        engine.clock.advance(120)
        await engine.rest(4)
        engine.put([point(1, 5)])
        await engine.restart()
        engine.clock.advance(120)
        await engine.rest(4)
        assert len(engine.points(blue)[1]["vector"]["c"]) == 5
