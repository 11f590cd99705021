"""`retry` after a failed verification makes all vectors again, and pays for each once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from teal.domain.marks import StoredVerdict
from teal.qdrant import wire
from tests.unit.migration import world as worlds
from tests.unit.migration.world import Trouble, World

MANUAL = {"promotion": {"mode": "Manual"}}


@pytest.fixture
def world() -> Iterator[World]:
    made = World(embeds=True)
    yield made
    made.close()


def held_with_wrong_vectors(world: World, monkeypatch: pytest.MonkeyPatch) -> str:
    """Green, every vector of which has nothing to do with its text."""
    right = worlds.encode

    def wrong(model: str, size: int, text: str) -> object:
        random = np.random.default_rng(world.calls)
        return random.normal(size=size).astype(np.float32) if world.calls else right(model, size, text)

    world.edit(migration=MANUAL)
    with monkeypatch.context() as patch:
        patch.setattr(worlds, "encode", wrong)
        world.encode_by(schemaVersion="v2")
        assert world.until("Held", 80)
    assert "Embeddings" in world.migration["lastError"]
    return str(world.migration["target"])


def wrong_on(world: World, green: str) -> list[object]:
    model = world.embedding_set["spec"]["model"] if world.embedding_set else ""
    return [
        wire.plain_id(point)
        for point, stored in world.server.points(green).items()
        if not np.allclose(
            wire.read_dense(stored.vectors, ""),  # type: ignore[arg-type]
            worlds.encode(model, 4, wire.payload_value(stored.payload, "text")),
            atol=1e-4,
        )
    ]


def test_nonsense_is_held_and_made_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    green = held_with_wrong_vectors(world, monkeypatch)
    assert len(wrong_on(world, green)) == len(world.server.points(green))
    world.restart()
    world.annotate("retry")
    assert world.until("AwaitingPromotion", 80)
    assert wrong_on(world, green) == []
    marks = world.state(green).marks
    assert marks.migration
    assert not marks.migration.anew, "what has passed is paid for"


def test_it_is_remembered_over_a_crash(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    green = held_with_wrong_vectors(world, monkeypatch)
    world.annotate("retry")
    world.reconcile([Trouble("upsert", "crash after")])
    world.reconcile([Trouble("upsert", "crash before")])
    assert world.until("AwaitingPromotion", 80)
    assert wrong_on(world, green) == []
    assert StoredVerdict.KEY in world.server.model.collections[green].config["metadata"]
