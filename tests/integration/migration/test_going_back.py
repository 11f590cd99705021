"""Rolling back across encoders: writes go back by blue's own encoder, and what cannot go back is counted."""

from __future__ import annotations

from typing import Any

import pytest

from devkit.embeddings import EmbeddingServer
from tests.integration.migration.encoders import NEW, OLD, embed
from tests.integration.migration.support import EngineHarness

TEXTS = {f"p{n}": f"a text about the number {n}" for n in range(1, 21)}


@pytest.fixture
def engine(encoding: EngineHarness) -> EngineHarness:
    return encoding


def write(engine: EngineHarness, encoders: EmbeddingServer, model: str, **texts: str) -> None:
    """Points as the application writes them: id in the name (`p7`), vector of the text by `model`."""
    vectors = embed(encoders, model, *texts.values())
    engine.put(
        {"id": int(name[1:]), "vector": vector, "payload": {"text": text}}
        for (name, text), vector in zip(texts.items(), vectors, strict=True)
    )


def set_payload(engine: EngineHarness, points: list[int], **payload: Any) -> None:
    """As the application does it, without the vector."""
    body = {"points": points, "payload": payload}
    engine.call("POST", f"/collections/{engine.alias}/points/payload?wait=true", body)


def put_vector(engine: EngineHarness, point: int, vector: list[float]) -> None:
    """As the application does it, without the text."""
    body = {"points": [{"id": point, "vector": vector}]}
    engine.call("PUT", f"/collections/{engine.alias}/points/vectors?wait=true", body)


async def moved(engine: EngineHarness, encoders: EmbeddingServer, **new: Any) -> tuple[str, str]:
    """Blue by the old encoder and green by the new one, which serves."""
    await engine.until_ready()
    write(engine, encoders, OLD, **TEXTS)
    blue = engine.serving()
    engine.edit_embedding_set(schemaVersion="v2", dimensions=24, model=NEW, **new)
    await engine.until_ready()
    assert len(engine.payloads()) == 20
    return blue, engine.serving()


async def verified(engine: EngineHarness, encoders: EmbeddingServer) -> str:
    """Blue by the old encoder, which serves; green by the new one awaits promotion."""
    await engine.until_ready()
    write(engine, encoders, OLD, **TEXTS)
    engine.edit(migration={"promotion": {"mode": "Manual"}})
    engine.edit_embedding_set(schemaVersion="v2", dimensions=24, model=NEW)
    await engine.until_phase("AwaitingPromotion")
    return engine.serving()


async def test_writes_go_back_by_blues_own_encoder(engine: EngineHarness, encoders: EmbeddingServer) -> None:
    blue, green = await moved(engine, encoders)
    write(engine, encoders, NEW, p3="another text", p99="a new text")
    engine.delete([5])
    engine.annotate("rollback", engine.migration["id"])
    await engine.until_phase("Held")
    assert engine.serving() == blue
    found = engine.points()
    assert set(found) == {*range(1, 21), 99} - {5}
    assert found[3]["payload"]["text"] == "another text"
    wanted = embed(encoders, OLD, "another text", "a new text")
    for point, vector in zip((3, 99), wanted, strict=True):
        assert found[point]["vector"] == pytest.approx(vector, abs=1e-4)
    assert "could not" not in engine.told("MigrationRolledBack")
    assert green in engine.collections()


async def test_what_has_no_text_stays_behind_and_is_counted(
    engine: EngineHarness, encoders: EmbeddingServer
) -> None:
    blue, _ = await moved(engine, encoders)
    write(engine, encoders, NEW, p98="a new text")
    (vector,) = embed(encoders, NEW, "nothing")
    engine.put([{"id": 99, "vector": vector, "payload": {"text": ""}}])
    engine.annotate("rollback", engine.migration["id"])
    await engine.until_phase("Held")
    assert engine.serving() == blue
    assert set(engine.payloads()) == {*range(1, 21), 98}
    assert "1 could not be" in engine.told("MigrationRolledBack")


async def test_an_embedder_that_is_down_does_not_keep_a_rollback(
    engine: EngineHarness, encoders: EmbeddingServer
) -> None:
    blue, green = await moved(engine, encoders)
    write(engine, encoders, NEW, p98="a new text", p99="another new text")
    encoders.faults({"kind": "bad-key", "times": None, "agent": "teal"})
    engine.annotate("rollback", engine.migration["id"])
    await engine.until_phase("Held")
    assert engine.serving() == blue
    assert set(engine.payloads()) == set(range(1, 21))
    assert "2 could not be" in engine.told("MigrationRolledBack")
    assert set(engine.payloads(green)) == {*range(1, 21), 98, 99}


async def test_another_url_is_not_asked(engine: EngineHarness, encoders: EmbeddingServer) -> None:
    elsewhere = encoders.url.replace("127.0.0.1", "localhost")
    blue, green = await moved(engine, encoders, embedder={"openAI": {"url": elsewhere}})
    write(engine, encoders, NEW, p99="a new text")
    engine.annotate("rollback", engine.migration["id"])
    await engine.until_phase("Held")
    assert engine.serving() == blue
    assert 99 not in engine.payloads()
    assert 99 in engine.payloads(green)
    assert "1 could not be" in engine.told("MigrationRolledBack")


@pytest.mark.parametrize("restarted", [False, True], ids=["going-on", "restarted"])
async def test_a_text_before_the_cutover_and_its_vector_after_it(
    engine: EngineHarness, encoders: EmbeddingServer, restarted: bool
) -> None:
    """An application's two requests, and the cut-over between them: the old side has the text alone."""
    blue = await verified(engine, encoders)
    set_payload(engine, [3], text="another text")
    engine.annotate("promote", engine.migration["planHash"])
    await engine.until_ready()
    if restarted:
        await engine.restart()
    assert engine.serving() != blue
    (vector,) = embed(encoders, NEW, "another text")
    put_vector(engine, 3, vector)
    engine.annotate("rollback", engine.migration["id"])
    await engine.until_phase("Held")
    assert engine.serving() == blue
    (wanted,) = embed(encoders, OLD, "another text")
    assert engine.points()[3]["vector"] == pytest.approx(wanted, abs=1e-4)


async def test_a_text_before_going_back_and_its_vector_after_it(
    engine: EngineHarness, encoders: EmbeddingServer
) -> None:
    """The same on the way back, and green has the vector of its new text when it serves again."""
    blue, green = await moved(engine, encoders)
    set_payload(engine, [3], text="another text")
    engine.annotate("rollback", engine.migration["id"])
    await engine.until_phase("Held")
    assert engine.serving() == blue
    (vector,) = embed(encoders, OLD, "another text")
    put_vector(engine, 3, vector)
    engine.annotate("retry", engine.migration["id"])
    await engine.until(lambda: engine.serving() == green)
    await engine.until_ready()
    (wanted,) = embed(encoders, NEW, "another text")
    assert engine.points()[3]["vector"] == pytest.approx(wanted, abs=1e-4)


async def test_a_payload_that_changes_without_its_text_is_not_embedded_again(
    engine: EngineHarness, encoders: EmbeddingServer
) -> None:
    blue, _ = await moved(engine, encoders)
    before = encoders.calls("teal").texts
    set_payload(engine, list(range(1, 21)), seen=True)
    write(engine, encoders, NEW, p99="a new text")
    engine.annotate("rollback", engine.migration["id"])
    await engine.until_phase("Held")
    assert engine.serving() == blue
    assert all(held["payload"].get("seen") for point, held in engine.points().items() if point != 99)
    assert encoders.calls("teal").texts - before == 1


async def test_a_vector_of_its_own_stays_where_only_the_payload_changes(
    engine: EngineHarness, encoders: EmbeddingServer
) -> None:
    """Written before the cut-over, of another text than the payload's: that has not changed since."""
    blue = await verified(engine, encoders)
    (own,) = embed(encoders, OLD, "something else")
    put_vector(engine, 3, own)
    engine.annotate("promote", engine.migration["planHash"])
    await engine.until_ready()
    set_payload(engine, [3], seen=True)
    engine.annotate("rollback", engine.migration["id"])
    await engine.until_phase("Held")
    assert engine.serving() == blue
    assert engine.points()[3]["payload"]["seen"] is True
    assert engine.points()[3]["vector"] == pytest.approx(own, abs=1e-4)
